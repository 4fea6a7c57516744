//! The dashboard, open while its network is attacked: what happens appears on it by itself, over a kill of the daemon too.

use std::time::Duration;

use nta_tests::browser::{self, Spoken};
use nta_tests::netns::alone;

use crate::net::{LISTEN, Live, Network, attempt, can_run};

/// What the operator is promised, and on top what two busy processors may take.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn an_attack_appears_on_an_open_page_and_after_a_kill_the_next_one_does() {
    let test = "an_attack_appears_on_an_open_page_and_after_a_kill_the_next_one_does";
    if !can_run(test, &["nmap", "hping3", "ping"]) || !browser::can_run(test) {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::new();
    let (victim, attacker) = (&network.victim, &network.attacker);
    let live = Live::start(&victim.inside, folder.path());
    let mut script = victim.inside.command("node");
    script.arg(browser::script("attack.mjs")).arg(format!("http://{LISTEN}"));
    script.arg((SHOWN_WITHIN + SLACK).as_millis().to_string());
    let mut page = Spoken::start(script);
    let attack = |page: &mut Spoken, kind: &str, line: &str| {
        page.wait_for("ready");
        page.say(kind);
        page.wait_for("watching");
        attempt(&attacker.inside, line);
        println!("{test}: {kind} on the page after {} ms", page.wait_for("shown"));
    };
    attempt(&victim.inside, &format!("ping -q -c 2 -i 0.2 {}", network.gateway.address));
    attack(&mut page, "port_scan", "nmap -n -Pn -sS -p 1-1000 10.78.1.1");

    page.wait_for("ready");
    page.say("kill");
    live.kill();
    page.wait_for("stale");
    let live = Live::start(&victim.inside, folder.path());
    attack(&mut page, "udp_flood", "hping3 -q --udp -p 9955 -d 64 -i u1000 -c 8000 10.78.1.1");
    page.wait_for("ready");
    page.say("end");
    assert!(page.wait().success());
    live.stop();
}
