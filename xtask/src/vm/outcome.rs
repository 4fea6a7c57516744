//! What a machine said, and whether that is as it should be on its kernel.

use super::machine::Ran;
use crate::report::Group;

/// Most instructions that the verifier may have to walk for a program with all that can be switched on: nine tenths of what it takes at most.
pub(super) const CEILING: u32 = 900_000;

/// What every machine has to answer.
const CHECKS: &[&str] = &[
    "boot",
    "verify",
    "attach-auto",
    "attach-xdp",
    "attach-xdp-generic",
    "attach-tcx",
    "attach-tc",
    "parity",
    "live",
    "end",
];
pub(super) const PROGRAMS: [&str; 3] = ["nta_xdp", "nta_tc_ingress", "nta_tc_egress"];
/// Kernels before these cannot attach by TCX, take metadata in XDP test runs, or say what the verifier did.
const HAS_TCX: (u32, u32) = (6, 6);
const HAS_TEST_METADATA: (u32, u32) = (5, 18);
const HAS_INSN_COUNT: (u32, u32) = (5, 16);
/// Five echo requests came and five replies went.
const PINGED_PACKETS: u64 = 10;
/// How the kernel begins to say that it cannot go on.
const TROUBLE: &[&str] = &["BUG: ", "Oops: ", "general protection fault", "Kernel panic"];
/// Lines of the console that an error shows.
const TAIL: usize = 5;

/// One line of result.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: String,
    result: String,
    detail: String,
}

impl Check {
    /// From a line of the console, in front of which firmware may have left its escape sequences.
    fn parse(line: &str) -> Option<Self> {
        let (_, line) = line.split_once("nta-vm: check=")?;
        let (name, rest) = line.split_once(" result=")?;
        let (result, detail) = rest.split_once(" detail=")?;
        Some(Self { name: name.to_owned(), result: result.to_owned(), detail: detail.trim().to_owned() })
    }
}

/// The checks of one machine.
pub(super) struct Outcome {
    checks: Vec<Check>,
    tail: String,
    pub(super) accelerator: &'static str,
    pub(super) seconds: f64,
}

impl Outcome {
    pub(super) fn of(ran: &Ran) -> Self {
        let checks = ran.lines.iter().filter_map(|line| Check::parse(line)).collect();
        // Where the kernel went wrong, if it did, else where everything ended.
        let wrong = ran.lines.iter().position(|line| TROUBLE.iter().any(|word| line.contains(word)));
        let from = wrong.unwrap_or(ran.lines.len().saturating_sub(TAIL));
        let tail = ran.lines[from..].iter().take(TAIL).map(String::as_str).collect::<Vec<_>>().join(" | ");
        Self { checks, tail, accelerator: ran.accelerator, seconds: ran.seconds }
    }

    /// The kernel's own name.
    pub(super) fn release(&self) -> &str {
        self.detail("boot")
    }

    /// The hooks that `--attach <mode>` took, as `ingress/egress`; none if it took none.
    pub(super) fn hooks(&self, mode: &str) -> Option<String> {
        let check = self.check(&format!("attach-{mode}")).filter(|check| check.result == "ok")?;
        Some(format!("{}/{}", field(&check.detail, "ingress")?, field(&check.detail, "egress")?))
    }

    /// Instructions that the verifier walked for a program, where the kernel says.
    pub(super) fn verified(&self, program: &str) -> Option<u32> {
        field(self.program(program)?, "verified_insns")?.parse().ok()
    }

    /// `ok`, `fail` or `not-run`.
    pub(super) fn result(&self, name: &str) -> &str {
        self.check(name).map_or("fail", |check| &check.result)
    }

    /// Counts every check into the group.
    pub(super) fn count(&self, kernel: &str, group: Group) -> Group {
        // One that ended early is one failure, not one for each check that it did not come to.
        if self.check("end").is_none() {
            let came_to = self.checks.last().map_or("nothing", |check| &check.name);
            return group.fail(&format!("{kernel}: ended early, after {came_to}: {}", self.tail));
        }
        let mut group = CHECKS.iter().fold(group, |group, name| match self.judge(name) {
            Ok(None) => group.pass(),
            Ok(Some(reason)) => group.not_run(&format!("{kernel}: {name}: {reason}")),
            Err(reason) => group.fail(&format!("{kernel}: {name}: {reason}")),
        });
        for check in self.checks.iter().filter(|check| !CHECKS.contains(&check.name.as_str())) {
            group = group.fail(&format!("{kernel}: {}: {}", check.name, check.detail));
        }
        group
    }

    /// Counts every line but those of beginning and end, of a machine that runs one test.
    pub(super) fn count_all(&self, kernel: &str, group: Group) -> Group {
        let of_the_test = || self.checks.iter().filter(|check| !["boot", "end"].contains(&check.name.as_str()));
        let group = of_the_test().fold(group, |group, check| match check.result.as_str() {
            "ok" => group.pass(),
            _ => group.fail(&format!("{kernel}: {}: {}", check.name, check.detail)),
        });
        if self.check("end").is_none() || of_the_test().next().is_none() {
            return group.fail(&format!("{kernel}: ended early: {}", self.tail));
        }
        group
    }

    /// Passed, not run for a reason that this kernel has, or failed.
    fn judge(&self, name: &str) -> Result<Option<String>, String> {
        let check = self.check(name).ok_or_else(|| format!("no result; the console says: {}", self.tail))?;
        let older_than = |version| self.version() < version;
        match (name, check.result.as_str()) {
            // That this is said, and nothing else goes wrong, is what there is to prove.
            ("attach-tcx", "not-run") if older_than(HAS_TCX) => Ok(None),
            ("attach-tcx", "ok") if older_than(HAS_TCX) => Err("TCX on a kernel that has none".to_owned()),
            ("parity", "not-run") if older_than(HAS_TEST_METADATA) => Ok(Some(check.detail.clone())),
            ("verify", "ok") => self.judge_programs().map(|()| None),
            ("live", "ok") => judge_ledger(&check.detail).map(|()| None),
            (_, "ok") => self.judge_hooks(name).map(|()| None),
            _ => Err(check.detail.clone()),
        }
    }

    fn judge_programs(&self) -> Result<(), String> {
        for name in PROGRAMS {
            let program = self.program(name).ok_or_else(|| format!("{name} is not in doctor's report"))?;
            match (field(program, "error"), self.verified(name)) {
                (Some("null"), None) if self.version() < HAS_INSN_COUNT => {}
                (Some("null"), None) => return Err(format!("{name}: no count of verified instructions")),
                (Some("null"), Some(count)) if count > CEILING => {
                    return Err(format!("{name}: {count} verified instructions, more than {CEILING}"));
                }
                (Some("null"), Some(_)) => {}
                (error, _) => return Err(format!("{name}: {}", error.unwrap_or("cannot be read"))),
            }
        }
        Ok(())
    }

    /// What was asked for must have been taken; on a virtual device `auto` takes TCX, or clsact where there is none.
    fn judge_hooks(&self, name: &str) -> Result<(), String> {
        let Some(mode) = name.strip_prefix("attach-") else {
            return Ok(());
        };
        let tc = if self.version() < HAS_TCX { "tc" } else { "tcx" };
        let expected = match mode {
            "auto" => format!("{tc}/{tc}"),
            "xdp" | "xdp-generic" => format!("{mode}/{tc}"),
            other => format!("{other}/{other}"),
        };
        let took = self.hooks(mode).unwrap_or_default();
        if took == expected { Ok(()) } else { Err(format!("took {took:?}, not {expected}")) }
    }

    fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    fn detail(&self, name: &str) -> &str {
        self.check(name).map_or("", |check| &check.detail)
    }

    fn program(&self, name: &str) -> Option<&str> {
        self.detail("verify").split('{').find(|part| field(part, "name") == Some(name))
    }

    fn version(&self) -> (u32, u32) {
        let mut numbers = self.release().split(['.', '-']).map_while(|part| part.parse().ok());
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// The ledger of the live run: the pings are in it, and every packet is accounted for.
fn judge_ledger(total: &str) -> Result<(), String> {
    let number = |key| field(total, key).and_then(|number| number.parse::<u64>().ok());
    let Some(seen) = number("seen") else {
        return Err(format!("no ledger: {total}"));
    };
    let counted: u64 = ["flow", "overflow", "arp", "non_ip", "sampled_out"].into_iter().filter_map(number).sum();
    if seen < PINGED_PACKETS || seen != counted {
        return Err(format!("{seen} packets seen, {counted} accounted for, of at least {PINGED_PACKETS}"));
    }
    Ok(())
}

/// The value of the first `"key":` in JSON, without quotes; enough for the daemon's own flat reports.
fn field<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{key}\":"))?;
    let rest = rest.trim_start();
    match rest.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => rest.split([',', '}', ' ', ']']).next(),
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
