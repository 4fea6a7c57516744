//! A gateway ships to a server and is cut off: pages of both say so, and that all is there once the line is back.

use std::path::Path;
use std::time::Duration;

use nta_tests::browser::{self, Spoken};
use nta_tests::daemon;
use nta_tests::netns::alone;
use nta_tests::process::Process;
use serde_json::Value;

use crate::net::{INTERFACE, LISTEN, Live, Network, can_run};

/// Where the server listens, and what lies between it and the gateway.
const SERVER: &str = "127.0.0.1:5001";
const LINE_PORT: u16 = 5002;

#[test]
fn a_gateway_that_is_cut_off_lags_on_the_pages_and_is_complete_once_it_is_back() {
    let test = "a_gateway_that_is_cut_off_lags_on_the_pages_and_is_complete_once_it_is_back";
    if !can_run(test, &["ping"]) || !browser::can_run(test) {
        return;
    }
    let _alone = alone();
    let [at_server, at_gateway] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let network = Network::new();
    let inside = &network.victim.inside;
    // The server has an interface of its own, on which nothing happens.
    inside.ip("link add quiet0 type veth peer name quiet1");
    inside.ip("link set quiet0 up");
    inside.ip("link set quiet1 up");
    let server = Live::with(inside, at_server.path(), "quiet0", SERVER, "");
    let mut script = inside.command("node");
    script.arg(browser::script("fleet.mjs")).arg(format!("http://{SERVER}"));
    script.arg(format!("http://{LISTEN}")).arg(LINE_PORT.to_string());
    let mut page = Spoken::start(script);
    // Traffic to the end, which is bounded should it be forgotten.
    let mut ping = inside.command("ping");
    ping.args(["-q", "-c", "3000", "-i", "0.2", network.gateway.address]);
    let mut ping = Process::start(&mut ping, at_gateway.path(), "ping.log");

    page.wait_for("empty");
    let ships = format!("[sensor]\nname = \"gw-paris\"\n[ship]\nto = \"http://127.0.0.1:{LINE_PORT}\"\n");
    let gateway = Live::with(inside, at_gateway.path(), INTERFACE, LISTEN, &ships);
    page.say("started");
    println!("{test}: {}", page.wait_for("cut"));
    println!("{test}: {}", page.wait_for("silent"));
    println!("{test}: {}", page.wait_for("complete"));
    assert!(page.wait().success());
    let sensors = said("sensors", at_server.path());
    assert_eq!(
        (&sensors["items"][0]["name"], &sensors["items"][0]["state"]),
        (&"gw-paris".into(), &"ok".into()),
        "{sensors}"
    );
    let shipping = said("shipping", at_gateway.path());
    assert!(
        shipping["processed"].as_u64() > Some(0) && shipping["failed_batches"] == serde_json::json!([]),
        "{shipping}"
    );
    ping.stop("TERM", Duration::from_secs(5));
    gateway.stop();
    server.stop();
}

/// What a command says of a database.
fn said(command: &str, folder: &Path) -> Value {
    let database = format!("sqlite:{}", folder.join("nta.db").display());
    let run = daemon::run([command, "--database", &database, "--format", "json"]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    serde_json::from_slice(&run.stdout).expect("JSON")
}
