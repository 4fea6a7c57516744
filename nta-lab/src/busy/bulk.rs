//! Much data: back-ups, software updates, speed tests, video.

use super::super::benign::{CURL, Load, Maker, SSH, Who};
use super::{addresses, forever, load, server, words};

/// rsync to a server on the LAN and to one outside, an image of a disk once, a daemon that is asked every few minutes.
pub(super) fn backups(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let (victim, host) = (site.victim.address, site.servers[2]);
    let rsync = format!("rsync -a -e 'ssh {SSH} -i $S/key'");
    // Three hundred files of which some change between two runs.
    let change = "for n in $(shuf -i 1-300 -n 40); do head -c $((n * 100)) /dev/urandom >$W/home/$n; done";
    let home = format!(
        "mkdir -p $W/home $W/copy $W/far\nfor n in $(seq 300); do head -c $((n * 100)) /dev/urandom >$W/home/$n; done\nsleep 3\n\
         while :; do\n{rsync} $W/home/ root@{victim}:$W/copy/\n{rsync} --bwlimit=1000 $W/home/ root@{host}:$W/far/\nsleep 60\n{change}\ndone\n"
    );
    let megabytes = maker.rng.u32(40..90);
    let image = format!(
        "sleep {}\nhead -c {megabytes}000000 /dev/urandom | ssh {SSH} -i $S/key root@{host} 'cat >/dev/null'\nsleep 200\n\
         head -c {megabytes}000000 /dev/urandom | ssh {SSH} -i $S/key root@{victim} 'cat >/dev/null'\n",
        maker.rng.u32(20..60)
    );
    let daemon = "printf 'use chroot = no\\nuid = root\\n[pages]\\npath = %s/www\\n' $S >$W/rsyncd.conf\n\
                  rsync --daemon --no-detach --config=$W/rsyncd.conf";
    let mirror = format!("rm -rf $W/mirror; rsync -a rsync://{victim}/pages/ $W/mirror/");
    vec![
        server("rsyncd", Who::Victim, daemon),
        load("home", Who::Client(0), home),
        load("image", Who::Client(1), image),
        load("mirror", Who::Client(2), forever(150, &mirror)),
        load("web", Who::Client(2), maker.script("web")),
    ]
}

/// All stations fetch the same at once: lists, then hundreds of packages over a few kept connections to mirrors.
pub(super) fn updates(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let dns = site.servers[3];
    let each = |n: usize| {
        let mut sizes: Vec<u32> = vec![300, 2_000, 8_000, 8_000, 20_000, 20_000, 60_000, 150_000, 400_000];
        maker.rng.shuffle(&mut sizes);
        let mirrors: Vec<_> = (0..3).map(|_| maker.pick(&site.far)).collect();
        let lists: String = mirrors.iter().map(|mirror| format!("{CURL} http://{mirror}/f60000; ")).collect();
        let packages: Vec<String> =
            (0..60).map(|n| format!("-o /dev/null http://{}/f{}", mirrors[n % 3], sizes[n % sizes.len()])).collect();
        // Parts of large files, as delivery of updates by ranges does it.
        let ranges: String = (0..20)
            .map(|n| format!("{CURL} -r {}-{} http://{}/f4000000; ", n * 100_000, n * 100_000 + 99_999, mirrors[0]))
            .collect();
        let names = words(site.domains.iter().take(6).map(|domain| format!("mirror{n}.{domain}")));
        let (start, pause) = (maker.rng.u32(3..15), maker.rng.u32(200..500));
        let script = format!(
            "sleep {start}\nwhile :; do\ndig +short +tries=1 @{dns} {names} >/dev/null\n{lists}\n\
             curl -sS --no-progress-meter -m 300 --limit-rate 400k -Z --parallel-max 4 {}\n{}\nsleep {pause}\ndone\n",
            packages.join(" "),
            if n.is_multiple_of(2) { ranges.as_str() } else { "true" }
        );
        load("updates", Who::Client(n), script)
    };
    let mut loads: Vec<Load> = (0..site.clients.len()).map(each).collect();
    loads.push(load("web", Who::Client(0), maker.script("web")));
    loads
}

/// A speed test each few minutes: answers' times, several connections down and up, then datagrams.
pub(super) fn speedtest(maker: &mut Maker<'_>) -> Vec<Load> {
    let site = maker.site;
    let host = site.servers[2];
    let latency: String = site
        .far
        .iter()
        .map(|far| format!("for n in 1 2 3 4 5 6 7 8 9 10; do {CURL} http://{far}/f300; done\n"))
        .collect();
    let test = format!(
        "{latency}iperf3 -c {host} -P 4 -t 5 -R >/dev/null\niperf3 -c {host} -P 4 -t 5 >/dev/null\n\
         iperf3 -c {host} -u -b 8M -l 1200 -t 5 >/dev/null\niperf3 -c {host} -u -b 8M -l 1200 -t 5 -R >/dev/null"
    );
    vec![
        load("speedtest", Who::Client(0), forever(maker.rng.u32(200..320), &test)),
        load("web", Who::Client(1), maker.script("web")),
        load("voice", Who::Client(1), maker.script("voice")),
    ]
}

/// Films in pieces, cameras that send to a recorder, television to a group, a film over datagrams from outside.
pub(super) fn video(maker: &mut Maker<'_>) -> Vec<Load> {
    let (cameras, own) = addresses(maker, 4);
    let (site, seconds) = (maker.site, maker.seconds);
    let recorder = site.victim.address;
    let film = |maker: &mut Maker<'_>| {
        let server = maker.pick(&site.far);
        let (size, pause) = (maker.pick(&[150_000, 400_000]), maker.rng.u32(3..7));
        forever(pause, &format!("{CURL} --limit-rate 2M http://{server}/f{size}; {CURL} http://{server}/f20000"))
    };
    let mut camera = format!("{own}sleep 2\n");
    for n in 0..cameras.len() {
        let (rate, port) = ([100, 150, 400, 800][n], 5_100 + 2 * n);
        camera += &format!("python3 $S/calls.py stream {recorder} {port} {seconds} {rate} 1100 {} &\n", rate + 60);
    }
    camera += "wait\n";
    let far = site.far[0];
    let down =
        format!("sleep 20\npython3 $S/calls.py stream {} 51820 {seconds} 250 1180 400\n", site.clients[0].address);
    let receive = "python3 -c 'import socket, threading\nfor p in (5100, 5102, 5104, 5106, 51820):\n w = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n \
                   w.bind((\"0.0.0.0\", p))\n threading.Thread(target=lambda w=w: [w.recv(2048) for _ in iter(int, 1)], daemon=True).start()\nthreading.Event().wait()'";
    vec![
        server("recorder", Who::Victim, receive),
        server("player", Who::Client(0), receive),
        load("film", Who::Client(0), film(maker)),
        load("film", Who::Client(1), film(maker)),
        load("film", Who::Client(2), film(maker)),
        load("cameras", Who::Client(3), camera),
        load(
            "television",
            Who::Client(4),
            format!("sleep 30\npython3 $S/calls.py stream 239.77.1.1 5004 {seconds} 120 1316 500\n"),
        ),
        load("datagrams", Who::Outside, down),
        load("ping", Who::Client(1), forever(15, &format!("ping -q -c 3 {far}"))),
    ]
}
