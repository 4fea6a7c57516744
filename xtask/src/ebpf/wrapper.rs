//! xtask as the compiler wrapper of its own eBPF build.
//!
//! Cargo gives every crate a hash (`-C metadata`), and for a path dependency outside of its workspace (nta-common, as
//! nta-ebpf sees it) the hash covers the absolute path of the checkout. It ends up in symbol names and decides on the
//! order of functions. Our two crates therefore get their names in its place; all others pass unchanged.

use std::env;
use std::process::{Command, ExitCode};

/// The crates that lie in this repository and go into the object.
const OURS: [&str; 2] = ["nta_common", "nta_ebpf"];

/// Set by `compile`, so that cargo's call of this program is distinguished from a user's.
const MARK: &str = "NTA_XTASK_WRAPS_RUSTC";

/// Makes the cargo that `command` is call this program in place of the compiler.
pub(crate) fn install(command: &mut Command) -> std::io::Result<()> {
    command.env("RUSTC_WRAPPER", env::current_exe()?).env(MARK, "1");
    Ok(())
}

/// Runs the compiler and returns its status, if cargo called this program as the wrapper.
pub(crate) fn intercept() -> Option<ExitCode> {
    env::var_os(MARK)?;
    let args: Vec<String> = env::args().skip(1).collect();
    let (rustc, args) = args.split_first()?;
    let status = Command::new(rustc).args(fix_metadata(args)).env_remove(MARK).status();
    let code = status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    Some(ExitCode::from(code.unwrap_or(1)))
}

fn fix_metadata(args: &[String]) -> Vec<String> {
    let name = args.windows(2).find(|pair| pair[0] == "--crate-name").map(|pair| pair[1].as_str());
    let Some(name) = name.filter(|name| OURS.contains(name)) else {
        return args.to_vec();
    };
    let fix = |arg: &String| if arg.starts_with("metadata=") { format!("metadata={name}") } else { arg.clone() };
    args.iter().map(fix).collect()
}

#[cfg(test)]
mod tests {
    use super::fix_metadata;

    #[test]
    fn only_our_crates_get_a_fixed_hash() {
        let args = |name: &str| ["--crate-name", name, "-C", "metadata=0123"].map(str::to_owned).to_vec();
        assert_eq!(fix_metadata(&args("nta_common"))[3], "metadata=nta_common");
        assert_eq!(fix_metadata(&args("aya_ebpf"))[3], "metadata=0123");
        assert_eq!(fix_metadata(&["-vV".to_owned()]), ["-vV"]);
    }
}
