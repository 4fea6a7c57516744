//! The capabilities that loading and attaching need, asked before the kernel refuses with a verifier's log.

use crate::SourceError;

/// Capabilities by bit (linux/capability.h).
const NEEDED: [(&str, u64); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38)];
/// Stands for the first and the last, as it did before kernel 5.8.
const CAP_SYS_ADMIN: u64 = 21;

/// Whether this process may load and attach.
///
/// # Errors
/// Names the capabilities that it lacks. Where `/proc` does not say, the kernel decides.
pub fn check_rights() -> Result<(), SourceError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    match missing(&status) {
        Some(missing) if !missing.is_empty() => Err(SourceError::Permission {
            action: format!("load and attach programs ({} missing)", missing.join(", ")),
        }),
        _ => Ok(()),
    }
}

fn missing(status: &str) -> Option<Vec<&'static str>> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |bit: u64| mask & (1 << bit) != 0;
    let stands_in = |name: &str| name != "CAP_NET_ADMIN" && has(CAP_SYS_ADMIN);
    let lacks = NEEDED.into_iter().filter(|(name, bit)| !has(*bit) && !stands_in(name));
    Some(lacks.map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let with = |bits: &[u64]| {
            format!("Name:\tx\nCapEff:\t{:016x}\n", bits.iter().fold(0, |mask, bit| mask | 1_u64 << bit))
        };
        assert_eq!(missing(&with(&[39, 12])), Some(vec!["CAP_PERFMON"]));
        assert_eq!(missing(&with(&[21, 12])), Some(vec![]), "CAP_SYS_ADMIN stands for both");
        assert_eq!(missing(&with(&[12, 38, 39])), Some(vec![]));
        assert_eq!(missing("Name:\tx\n"), None);
    }
}
