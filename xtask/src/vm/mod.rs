//! The kernel matrix: Debian's kernels, booted in QEMU, and the programs proven on each.
#![expect(clippy::print_stdout, reason = "the table is the command's answer")]

mod capture;
mod cpio;
mod image;
mod kernels;
mod machine;
mod modules;
mod outcome;
mod paths;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

pub(crate) use self::kernels::{EVERYDAY, KERNELS, Kernel, archive};
use self::outcome::{Outcome, PROGRAMS};
pub(crate) use self::paths::group as paths;
use crate::host;
use crate::report::{self, Group};
use crate::setup::{self, Need};

/// `cargo xtask test vm [KERNEL...] [--format json]`.
pub(crate) fn command(args: &[String]) -> Result<ExitCode> {
    let (kernels, json) = parse(args)?;
    let group = group(&kernels, json)?;
    if json {
        for reason in group.failures.iter().chain(&group.not_run) {
            eprintln!("{reason}");
        }
        return Ok(group.status());
    }
    Ok(report::conclude(&[group]))
}

fn parse(args: &[String]) -> Result<(Vec<Kernel>, bool)> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (json, names) = match words.iter().position(|word| *word == "--format") {
        None => (false, words),
        Some(at) => {
            let json = match words.get(at + 1) {
                Some(&"json") => true,
                Some(&"text") => false,
                _ => bail!("--format takes `text` or `json`"),
            };
            (json, [&words[..at], &words[at + 2..]].concat())
        }
    };
    if names.is_empty() {
        return Ok((KERNELS.to_vec(), json));
    }
    let known = || KERNELS.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    let find = |name: &&str| match KERNELS.iter().find(|kernel| kernel.name == *name) {
        Some(kernel) => Ok(*kernel),
        None => bail!("no kernel is called `{name}`; there are {}", known()),
    };
    Ok((names.iter().map(find).collect::<Result<_>>()?, json))
}

/// Boots these kernels one after the other, prints a line for each, and counts their checks.
pub(crate) fn group(kernels: &[Kernel], json: bool) -> Result<Group> {
    let mut group = Group::new("vm");
    if let Some(reason) = cannot()? {
        return Ok(group.not_run(&reason));
    }
    let daemon = image::daemon()?;
    if !json {
        println!("{}", header());
    }
    for kernel in kernels {
        let image = match kernels::fetch(*kernel).and_then(|image| kernels::busybox().map(|_| image)) {
            Ok(image) => image,
            Err(error) => {
                group = group.not_run(&format!("{}: {error:#}", kernel.name));
                continue;
            }
        };
        let outcome = boot(*kernel, &image, &daemon)?;
        println!("{}", if json { object(kernel.name, &outcome) } else { row(kernel.name, &outcome) });
        group = outcome.count(kernel.name, group);
    }
    Ok(group)
}

fn boot(kernel: Kernel, image: &kernels::Image, daemon: &Path) -> Result<Outcome> {
    let initramfs = image::build(kernel.name, image, daemon)?;
    let ran = machine::run(&image.vmlinuz, &initramfs, machine::LIMIT)?;
    fs::write(initramfs.with_file_name("console.log"), ran.lines.join("\n"))?;
    Ok(Outcome::of(&ran))
}

/// Why this host cannot run any of it.
fn cannot() -> Result<Option<String>> {
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(Some("the machines are of x86_64, as the daemon that they run has to be".to_owned()));
    }
    let missing = setup::ensure(&[Need::Machines])?;
    Ok(missing.into_iter().next().filter(|_| host::find_program("qemu-system-x86_64").is_none()))
}

fn header() -> String {
    let [xdp, ingress, egress] = PROGRAMS;
    format!(
        "{:<8}{:<28}{:<10}{xdp:>10}{ingress:>16}{egress:>15}  {:<8}{:<6}{:>8}",
        "kernel", "release", "auto", "parity", "live", "seconds"
    )
}

fn row(name: &str, outcome: &Outcome) -> String {
    let insns = |program| outcome.verified(program).map_or_else(|| "?".to_owned(), |count| count.to_string());
    let [xdp, ingress, egress] = PROGRAMS.map(insns);
    format!(
        "{name:<8}{:<28}{:<10}{xdp:>10}{ingress:>16}{egress:>15}  {:<8}{:<6}{:>8.1}",
        outcome.release(),
        outcome.hooks("auto").unwrap_or_else(|| "none".to_owned()),
        outcome.result("parity"),
        outcome.result("live"),
        outcome.seconds
    )
}

fn object(name: &str, outcome: &Outcome) -> String {
    let quoted = |text: Option<String>| text.map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""));
    let hooks = ["auto", "xdp", "xdp-generic", "tcx", "tc"];
    let hooks = hooks.map(|mode| format!("\"{mode}\":{}", quoted(outcome.hooks(mode)))).join(",");
    let insns = |program| outcome.verified(program).map_or_else(|| "null".to_owned(), |count| count.to_string());
    let insns = PROGRAMS.map(|program| format!("\"{program}\":{}", insns(program))).join(",");
    format!(
        "{{\"kernel\":\"{name}\",\"release\":\"{}\",\"accelerator\":\"{}\",\"hooks\":{{{hooks}}},\
         \"verified_insns\":{{{insns}}},\"parity\":\"{}\",\"live\":\"{}\",\"seconds\":{:.1}}}",
        outcome.release(),
        outcome.accelerator,
        outcome.result("parity"),
        outcome.result("live"),
        outcome.seconds
    )
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn kernels_are_named_or_all() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let names = |line: &str| {
            let (kernels, json) = parse(&words(line)).unwrap();
            (kernels.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(" "), json)
        };
        assert_eq!(names(""), ("5.10 6.1 6.12 newest".to_owned(), false));
        assert_eq!(names("newest --format json 5.10"), ("newest 5.10".to_owned(), true));
        assert!(parse(&words("4.4")).is_err());
        assert!(parse(&words("--format yaml")).is_err());
    }
}
