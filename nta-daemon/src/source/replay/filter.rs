//! `--filter`: the language of tcpdump, by the compiler that tcpdump has it from.
//!
//! libpcap is looked for when a filter is asked for, so that nothing else needs it. A program is compiled for each link type that a
//! capture has and sees frames as they were captured: a filter takes what `tcpdump -r` would take. (Compilers in Rust know a
//! subset of the language, and Ethernet only.)

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::sync::{Arc, OnceLock};

use libloading::Library;
use nta_capture::{FrameFilter, LinkType};

/// Names of the library: its own, and Debian's.
const NAMES: [&str; 3] = ["libpcap.so.1", "libpcap.so.0.8", "libpcap.so"];
/// The longest frame; a program accepts by returning it.
const SNAP_LENGTH: c_int = 262_144;
/// What is asked of networks' broadcast addresses: nothing is known of them, as for any capture file.
const NETMASK_UNKNOWN: c_uint = u32::MAX;
/// Link types that are read (`LINKTYPE_`), and what the compiler calls them here (`DLT_`).
const LINK_TYPES: [(u32, c_int); 13] = [
    (0, 0),
    (1, 1),
    (9, 9),
    (10, 10),
    (101, 12),
    (104, 104),
    (105, 105),
    (108, 108),
    (113, 113),
    (127, 127),
    (228, 228),
    (229, 229),
    (276, 276),
];

/// A filter.
pub struct PacketFilter {
    text: CString,
    library: Arc<Functions>,
    /// By link type, compiled when the first frame of one comes.
    programs: [OnceLock<Result<Program, String>>; LINK_TYPES.len()],
}

impl PacketFilter {
    /// Loads the library and takes the text; whether it can be compiled depends on the link type.
    ///
    /// # Errors
    /// Names the package that is missing.
    pub fn new(text: &str) -> Result<Self, String> {
        let library = Arc::new(Functions::load(&NAMES)?);
        let text = CString::new(text).map_err(|_nul| "--filter: a filter has no NUL in it".to_owned())?;
        Ok(Self { text, library, programs: [const { OnceLock::new() }; LINK_TYPES.len()] })
    }

    fn program(&self, link_type: LinkType) -> Option<&Result<Program, String>> {
        let at = LINK_TYPES.iter().position(|(number, _)| *number == link_type.number())?;
        Some(
            self.programs[at]
                .get_or_init(|| Program::compile(&self.library, &self.text, LINK_TYPES[at].1, SNAP_LENGTH)),
        )
    }
}

impl FrameFilter for PacketFilter {
    fn check(&self, link_type: LinkType) -> Result<(), String> {
        match self.program(link_type) {
            Some(Err(reason)) => Err(format!("--filter '{}': {reason} ({link_type})", self.text.to_string_lossy())),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    #[inline]
    fn takes(&self, link_type: LinkType, wire_len: u32, data: &[u8]) -> bool {
        self.program(link_type)
            .is_some_and(|program| program.as_ref().is_ok_and(|program| program.takes(wire_len, data)))
    }
}

/// Compiles a filter for the kernel to run over the packets of a socket: what it takes it cuts to that many bytes. An empty text takes
/// everything.
///
/// # Errors
/// In libpcap's words what is wrong with the text; or the package that is missing.
pub fn for_kernel(text: &str, link_type: LinkType, snap_length: u32) -> Result<Vec<libc::sock_filter>, String> {
    let text = CString::new(text).map_err(|_nul| "a filter has no NUL in it".to_owned())?;
    let library = Arc::new(Functions::load(&NAMES).map_err(|missing| missing.replace("--filter", "a recording"))?);
    let link_type = LINK_TYPES.iter().find(|(number, _)| *number == link_type.number());
    let link_type = link_type.ok_or("there are no filters for this link type")?.1;
    let program = Program::compile(&library, &text, link_type, c_int::try_from(snap_length).unwrap_or(SNAP_LENGTH))?;
    let (first, count) = (program.code.instructions.cast::<libc::sock_filter>(), program.code.len as usize);
    // SAFETY: libpcap's `bpf_insn` is the kernel's `sock_filter`; there are `count` of them as long as the program lives.
    Ok(unsafe { std::slice::from_raw_parts(first, count) }.to_vec())
}

/// `struct bpf_program`.
#[repr(C)]
struct BpfProgram {
    len: c_uint,
    instructions: *mut c_void,
}

/// `struct pcap_pkthdr`.
#[repr(C)]
struct PacketHeader {
    seconds: c_long,
    microseconds: c_long,
    captured: c_uint,
    len: c_uint,
}

/// What is called of the library (pcap/pcap.h; the same since libpcap 1.0).
struct Functions {
    open_dead: unsafe extern "C" fn(c_int, c_int) -> *mut c_void,
    compile: unsafe extern "C" fn(*mut c_void, *mut BpfProgram, *const c_char, c_int, c_uint) -> c_int,
    error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    close: unsafe extern "C" fn(*mut c_void),
    free_code: unsafe extern "C" fn(*mut BpfProgram),
    offline_filter: unsafe extern "C" fn(*const BpfProgram, *const PacketHeader, *const u8) -> c_int,
    /// Keeps them loaded.
    _library: Library,
}

impl Functions {
    fn load(names: &[&str]) -> Result<Self, String> {
        const MISSING: &str = "--filter needs libpcap, which is not installed: package libpcap0.8 (Debian 12, Ubuntu 22.04), libpcap0.8t64 \
             (Debian 13, Ubuntu 24.04), libpcap1 (openSUSE), libpcap (Fedora, Arch, Alpine)";
        // SAFETY: loading libpcap runs no code of its own but the loader's.
        let library = names.iter().find_map(|name| unsafe { Library::new(*name) }.ok()).ok_or(MISSING)?;
        // SAFETY: each symbol is taken with the type that pcap/pcap.h declares it with, and the library stays loaded.
        unsafe {
            let symbols = || -> Result<_, libloading::Error> {
                Ok((
                    *library.get(b"pcap_open_dead\0")?,
                    *library.get(b"pcap_compile\0")?,
                    *library.get(b"pcap_geterr\0")?,
                    *library.get(b"pcap_close\0")?,
                    *library.get(b"pcap_freecode\0")?,
                    *library.get(b"pcap_offline_filter\0")?,
                ))
            };
            let (open_dead, compile, error, close, free_code, offline_filter) =
                symbols().map_err(|error| format!("--filter: this libpcap cannot be used: {error}"))?;
            Ok(Self { open_dead, compile, error, close, free_code, offline_filter, _library: library })
        }
    }
}

/// A compiled filter.
struct Program {
    code: BpfProgram,
    library: Arc<Functions>,
}

// SAFETY: the instructions are on the heap, belong to this program alone, and are only read until it is dropped.
unsafe impl Send for Program {}
// SAFETY: see above; `pcap_offline_filter` changes nothing.
unsafe impl Sync for Program {}

impl Program {
    fn compile(library: &Arc<Functions>, text: &CStr, link_type: c_int, snap_length: c_int) -> Result<Self, String> {
        let mut code = BpfProgram { len: 0, instructions: std::ptr::null_mut() };
        // SAFETY: the handle is used between `pcap_open_dead` and `pcap_close` and on this thread only, the text ends with NUL, and
        // the message is copied before the handle is closed.
        unsafe {
            let handle = (library.open_dead)(link_type, snap_length);
            if handle.is_null() {
                return Err("out of memory".to_owned());
            }
            let status = (library.compile)(handle, &raw mut code, text.as_ptr(), 1, NETMASK_UNKNOWN);
            let message = (status != 0).then(|| CStr::from_ptr((library.error)(handle)).to_string_lossy().into_owned());
            (library.close)(handle);
            match message {
                Some(message) => Err(message),
                None => Ok(Self { code, library: Arc::clone(library) }),
            }
        }
    }

    #[inline]
    fn takes(&self, wire_len: u32, data: &[u8]) -> bool {
        let header = PacketHeader { seconds: 0, microseconds: 0, captured: data.len() as c_uint, len: wire_len };
        // SAFETY: program and header are valid, and `data` has as many bytes as the header says.
        unsafe { (self.library.offline_filter)(&raw const self.code, &raw const header, data.as_ptr()) != 0 }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: it was filled by `pcap_compile` and is freed once.
        unsafe { (self.library.free_code)(&raw mut self.code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let refused = Functions::load(&["libpcap-that-is-not-there.so.9"]).err().expect("it is not there");
        assert!(refused.contains("libpcap0.8") && refused.contains("--filter"), "{refused}");
    }
}
