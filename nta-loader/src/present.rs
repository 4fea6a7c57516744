//! Which programs an interface has already, and whose they are. Ids take `CAP_NET_ADMIN`, names `CAP_SYS_ADMIN`, which
//! the installed service does not have: there a program is named by its id alone.

use std::fmt;
use std::io;

use aya::programs::{TcAttachType, loaded_programs};

use crate::elements::bpf;
use crate::hook::is_ours;
use crate::netlink::xdp_program;

const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
/// Most programs of one TCX hook (`BPF_MPROG_MAX`).
const MAX_PROGRAMS: usize = 64;
/// What libxdp calls the program that it attaches to run several others.
const DISPATCHER: &str = "xdp_dispatcher";

/// A program that is attached somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) id: u32,
    name: Option<String>,
}

impl Present {
    fn of(id: u32) -> Self {
        let info = loaded_programs().map_while(Result::ok).find(|info| info.id() == id);
        let name = info.and_then(|info| info.name_as_str().map(str::to_owned)).filter(|name| !name.is_empty());
        Self { id, name }
    }

    /// Whether it is one of ours, by its name.
    pub(crate) fn is_ours(&self) -> bool {
        self.name.as_deref().is_some_and(is_ours)
    }
}

impl fmt::Display for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match self.name.as_deref() {
            Some(DISPATCHER) => write!(f, "program {DISPATCHER} id {id} (libxdp's dispatcher: see xdp-loader status)"),
            Some(name) => write!(f, "program {name} id {id}"),
            None => write!(f, "program id {id} (its name takes CAP_SYS_ADMIN)"),
        }
    }
}

/// The XDP program of an interface, in whatever mode.
pub(crate) fn at_xdp(index: u32) -> Option<Present> {
    match xdp_program(index) {
        Ok(id) => id.map(Present::of),
        Err(error) => {
            tracing::debug!(index, %error, "cannot find its XDP program");
            None
        }
    }
}

/// The programs of an interface at TCX, in the order in which they run. An error on kernels without TCX (before 6.6).
pub(crate) fn at_tcx(index: u32, direction: TcAttachType) -> io::Result<Vec<Present>> {
    /// The kernel's `union bpf_attr` for queries.
    #[repr(C)]
    #[derive(Default)]
    struct QueryAttr {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        pad: u32,
        attach_flags_each: u64,
        link_ids: u64,
        link_attach_flags: u64,
        revision: u64,
    }
    let mut ids = [0_u32; MAX_PROGRAMS];
    let attach_type = if direction == TcAttachType::Ingress { BPF_TCX_INGRESS } else { BPF_TCX_EGRESS };
    let mut attr = QueryAttr {
        target: index,
        attach_type,
        ids: ids.as_mut_ptr() as u64,
        count: MAX_PROGRAMS as u32,
        ..QueryAttr::default()
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    Ok(ids.iter().take(attr.count as usize).map(|id| Present::of(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_by_name_and_id_and_libxdp_by_what_it_is() {
        let shown = |name: Option<&str>| Present { id: 7, name: name.map(str::to_owned) }.to_string();
        assert_eq!(shown(Some("xdp_pass")), "program xdp_pass id 7");
        assert!(shown(Some("xdp_dispatcher")).contains("libxdp"));
        assert!(shown(None).starts_with("program id 7"));
    }
}
