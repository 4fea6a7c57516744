//! Real traffic between two namespaces: iperf3, curl, ping, and a few frames that are no IP.

use std::path::Path;

use nta_tests::netns::{Namespace, run};

use nta_tests::process::Process;

const IPERF_PORT: u16 = 5201;
const HTTP_PORT: u16 = 8000;
/// Size of the document that curl fetches.
const DOCUMENT_BYTES: usize = 300_000;

/// Frames that are no IP: two ARP requests to nobody and an LLDP frame.
const ODD_FRAMES: &str = r#"
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
mac = s.getsockname()[4]
arp = bytes.fromhex("0001080006040001") + mac + bytes([10, 77, 1, 250]) + bytes(6) + bytes([10, 77, 1, 251])
for _ in range(2):
    s.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)
s.send(bytes.fromhex("0180c200000e") + mac + b"\x88\xcc" + bytes(46))
"#;

/// Servers in one namespace, to be used from another.
pub(crate) struct Servers {
    _iperf: Process,
    _http: Process,
}

impl Servers {
    /// Returns when all of them listen.
    pub(crate) fn start(namespace: &Namespace, folder: &Path) -> Self {
        let site = folder.join("site");
        std::fs::create_dir_all(&site).expect("a folder");
        std::fs::write(site.join("document"), vec![b'x'; DOCUMENT_BYTES]).expect("a document");
        let mut iperf = Process::start(namespace.command("iperf3").arg("-s"), folder, "iperf3.log");
        let mut server = namespace.command("python3");
        server.args(["-m", "http.server", "--bind", "::", "--directory"]).arg(site).arg(HTTP_PORT.to_string());
        let mut http = Process::start(&mut server, folder, "http.log");
        iperf.wait_listening(IPERF_PORT);
        http.wait_listening(HTTP_PORT);
        Self { _iperf: iperf, _http: http }
    }
}

/// Talks to the servers over both IP versions, in bulk and in small; some 800 packets a megabyte.
pub(crate) fn everything(client: &Namespace, v4: &str, v6: &str, megabytes: u32) {
    bulk(client, v4, v6, megabytes);
    for url in [format!("http://{v4}:{HTTP_PORT}/document"), format!("http://[{v6}]:{HTTP_PORT}/document")] {
        client.run(&format!("curl -s -f -o /dev/null -m 10 {url}"));
    }
    pings(client, v4, v6);
}

/// TCP over several connections at once and both ways, UDP at a fixed rate.
fn bulk(client: &Namespace, v4: &str, v6: &str, megabytes: u32) {
    client.run(&format!("iperf3 -c {v4} -n {}M -P 4", megabytes * 2 / 3));
    client.run(&format!("iperf3 -6 -c {v6} -n {}M -R", megabytes / 4));
    client.run(&format!("iperf3 -c {v4} -u -b 60M -n {}M -l 1400", megabytes / 12));
}

/// Echoes over both IP versions.
pub(crate) fn pings(client: &Namespace, v4: &str, v6: &str) {
    for address in [v4, v6] {
        client.run(&format!("ping -q -c 20 -i 0.01 -W 2 {address}"));
    }
}

/// Sends frames that are no IP.
pub(crate) fn odd_frames(sender: &Namespace, interface: &str) {
    run(sender.command("python3").args(["-c", ODD_FRAMES, interface]));
}
