//! Where the kernel keeps what connection tracking says of a packet: offsets into its structures, from the kernel's own
//! type information (BTF). The programs read them to join the two names of a translated connection.

use std::path::Path;

use btf_rs::{Btf, Type};
use nta_common::Conntrack;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Where connection tracking is a module that is loaded.
const MODULE: &str = "/sys/kernel/btf/nf_conntrack";
/// Structures in one another that are looked into.
const MAX_DEPTH: u32 = 4;

/// All of them.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn offsets() -> Result<Conntrack, String> {
    let without = |error: &dyn std::fmt::Display| format!("the kernel's type information cannot be read: {error}");
    let base = Btf::from_file(VMLINUX).map_err(|error| without(&format!("{VMLINUX}: {error}")))?;
    let skb = offset(&base, "sk_buff", "_nfct").ok_or("this kernel has no connection tracking")?;
    let module = match Path::new(MODULE).exists() {
        true => Some(Btf::from_split_file(MODULE, &base).map_err(|error| without(&format!("{MODULE}: {error}")))?),
        false => None,
    };
    let of = |member| offset(module.as_ref().unwrap_or(&base), "nf_conn", member);
    match (of("status"), of("tuplehash"), of("timeout")) {
        (Some(status), Some(tuples), Some(timeout)) => Ok(Conntrack { skb, status, tuples, timeout }),
        _ => Err("connection tracking is not loaded".to_owned()),
    }
}

/// Whether they can be joined, and why not.
///
/// # Errors
/// A sentence for the operator.
pub fn joins_translated() -> Result<(), String> {
    offsets().map(drop)
}

/// Offset of a member in bytes.
fn offset(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    let bits = types.iter().find_map(|kind| match kind {
        Type::Struct(kind) => member_at(btf, &kind.members, member, MAX_DEPTH),
        _ => None,
    })?;
    Some(bits / 8)
}

fn member_at(btf: &Btf, members: &[btf_rs::Member], name: &str, depth: u32) -> Option<u32> {
    members.iter().find_map(|member| {
        let own = btf.resolve_name(member).unwrap_or_default();
        if own == name {
            return Some(member.bit_offset());
        }
        if !own.is_empty() || depth == 0 {
            return None;
        }
        // Without a name its members are this structure's.
        let inner = match btf.resolve_chained_type(member).ok()? {
            Type::Struct(inner) | Type::Union(inner) => member_at(btf, &inner.members, name, depth - 1)?,
            _ => return None,
        };
        Some(member.bit_offset() + inner)
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn offsets_are_those_that_bpftool_reads() {
        let Ok(conntrack) = offsets() else {
            println!("not run: offsets_are_those_that_bpftool_reads: {}", offsets().unwrap_err());
            return;
        };
        let dump = Command::new("bpftool").args(["btf", "dump", "file", VMLINUX]).output();
        let Ok(dump) = dump else {
            println!("not run: offsets_are_those_that_bpftool_reads: no bpftool");
            return;
        };
        let dump = String::from_utf8_lossy(&dump.stdout);
        let bits = |structure: &str, member: &str| -> Option<u32> {
            let head = format!("STRUCT '{structure}' size=");
            let member = format!("'{member}' ");
            let line = dump.lines().skip_while(|line| !line.contains(&head)).find(|line| line.contains(&member))?;
            line.split("bits_offset=").nth(1)?.split_whitespace().next()?.parse().ok()
        };
        assert_eq!(Some(conntrack.skb * 8), bits("sk_buff", "_nfct"));
        if !Path::new(MODULE).exists() {
            assert_eq!(Some(conntrack.status * 8), bits("nf_conn", "status"));
            assert_eq!(Some(conntrack.tuples * 8), bits("nf_conn", "tuplehash"));
            assert_eq!(Some(conntrack.timeout * 8), bits("nf_conn", "timeout"));
        }
    }
}
