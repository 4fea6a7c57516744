//! Who tells machines what to do: configuration management over SSH, MQTT and Modbus.

use super::super::benign::{Load, Maker, SSH, Who};
use super::{addresses, load, server, words};

/// A play over fifty hosts, five at once; each task is a login of its own, by key, as without kept connections.
pub(super) fn configuration(maker: &mut Maker<'_>) -> Vec<Load> {
    let (near, own) = addresses(maker, 10);
    let site = maker.site;
    let hosts = words(near.iter().chain(&site.far));
    let (pause, tasks) = (maker.rng.u32(30..120), maker.rng.u32(3..6));
    let ssh = format!("ssh {SSH} -o BatchMode=yes -i $S/key");
    let task = format!(
        "for t in $(seq {tasks}); do\n\
         for a in {hosts}; do echo $a; done | xargs -P 5 -I A sh -c '{ssh} root@A \"uname -a; head -c 3000 /dev/urandom\" >/dev/null; sleep 0.3'\n\
         done\n\
         for a in {hosts}; do echo $a; done | xargs -P 5 -I A sh -c 'scp {SSH} -o BatchMode=yes -i $S/key $S/www/f2000 root@A:/dev/null; sleep 0.3'"
    );
    let play = format!("sleep 5\nwhile :; do\n{task}\nsleep {pause}\ndone\n");
    // Another that polls a repository every twenty seconds.
    let poll = format!(
        "sleep 8\nwhile :; do {ssh} root@{} 'head -c 2000 /dev/urandom' >/dev/null; sleep 20; done\n",
        site.servers[2]
    );
    vec![
        server("hosts", Who::Victim, &format!("{own}sleep 1")),
        load("play", Who::Client(0), play),
        load("poll", Who::Client(1), poll),
        load("web", Who::Client(1), maker.script("web")),
    ]
}

/// Sensors at a broker, controllers that are polled; all began before anybody looked.
pub(super) fn industry(maker: &mut Maker<'_>) -> Vec<Load> {
    let (sensors, own) = addresses(maker, 20);
    let plcs = maker.site.free(&mut fastrand::Rng::with_seed(maker.rng.u64(..)), 30);
    let plcs: Vec<_> = plcs.into_iter().filter(|address| !sensors.contains(address)).take(8).collect();
    let plc: String = plcs.iter().map(|address| format!("ip address add {address}/24 dev eth0\n")).collect();
    let broker = maker.site.victim.address;
    let publish: String = sensors
        .iter()
        .enumerate()
        .map(|(n, from)| {
            let pause = maker.pick(&["0.5", "1", "2", "5", "10"]);
            format!(
                "(while :; do echo '{{\"t\":21.{n},\"h\":40}}'; sleep {pause}; done | \
                 mosquitto_pub -A {from} -h {broker} -k 30 -i s{n} -l -t plant/{n}) &\n"
            )
        })
        .collect();
    let broker_line = "printf 'listener 1883 0.0.0.0\\nallow_anonymous true\\nuser root\\n' >$W/mosquitto.conf\n\
                       mosquitto -c $W/mosquitto.conf";
    let started = |lines: String| format!("{lines}sleep 2\ntouch $W/ready\nwait\n");
    let early = |kind, who, script| Load { kind, who, script, early: true };
    vec![
        early("broker", Who::Victim, started(format!("{broker_line} &\n"))),
        server("controllers", Who::Client(2), &format!("{plc}python3 $S/plc.py serve")),
        early("sensors", Who::Client(1), started(format!("{own}{publish}"))),
        early(
            "dashboard",
            Who::Client(3),
            started(format!("mosquitto_sub -h {broker} -k 20 -i panel -t 'plant/#' >/dev/null &\n")),
        ),
        early("polling", Who::Client(0), format!("python3 $S/plc.py poll $W/ready {}\n", words(&plcs))),
        load("ntp", Who::Client(0), maker.script("ntp")),
        load("web", Who::Client(3), maker.script("web")),
    ]
}
