//! Web connections that are held with unfinished requests: headers, bodies, answers that nobody reads.
//!
//! Not nmap's `http-slowloris`: here it sent whole requests over one connection at a time, which is no attack.

use fastrand::Rng;

use super::{Attack, Recipe, target, way};
use crate::site::Site;

pub(super) const SLOWHTTPTEST: Recipe =
    Recipe { kind: "slowloris", tool: "slowhttptest", alone: 4, may_come_from_outside: true, make: slowhttptest };
pub(super) const SCRIPT: Recipe =
    Recipe { kind: "slowloris", tool: "script", alone: 3, may_come_from_outside: true, make: script };

fn slowhttptest(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let victim = target(rng, site);
    let (count, rate, interval) = (rng.u32(60..400), rng.u32(20..80), rng.u32(3..10));
    // Bodies only where a program waits for them: a page answers at once that it takes none.
    let ways = [("-H", "f300"), ("-B", "post.up"), ("-H -p 3", "f300"), ("-X -w 10 -y 20 -n 5 -z 32", "f60000")];
    let (how, page) = ways[number.saturating_sub(1) as usize % ways.len()];
    let seconds = rng.u32(35..60);
    let line =
        format!("exec slowhttptest {how} -c {count} -r {rate} -i {interval} -l {seconds} -u http://{victim}/{page}");
    Attack::new(&SLOWHTTPTEST, site, &victim, seconds + 5, line)
}

fn script(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let victim = target(rng, site);
    let (count, interval, seconds) = (rng.u32(40..250), rng.u32(3..12), rng.u32(35..60));
    let line = format!(
        "exec python3 $S/slow.py {victim} {count} {interval} {seconds} {}",
        way(&["get", "post", "get"], number)
    );
    Attack::new(&SCRIPT, site, &victim, seconds + 15, line)
}
