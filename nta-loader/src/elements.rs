//! `bpf(2)` operations that aya 0.14 lacks: batched look-up, look-up-and-delete of a hash map, and whatever is done by a descriptor
//! that came from another process.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya::Pod;

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_DELETE_BATCH: libc::c_int = 27;

/// The kernel's `union bpf_attr` for map element operations.
#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value_or_next_key: u64,
    flags: u64,
}

/// The kernel's `union bpf_attr` for batched operations.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Copies the entries that come at `position`, all of whole buckets, to the front of `keys` and `values`. Returns how many
/// there were, and where the next read goes on, if anywhere. `ENOSPC` when not even one bucket fits, `EINVAL` on kernels
/// before 5.6.
pub fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    position: Option<u64>,
    keys: &mut [MaybeUninit<K>],
    values: &mut [MaybeUninit<V>],
) -> io::Result<(usize, Option<u64>)> {
    // For hash maps the position is a 4-byte bucket number; 8 bytes leave room.
    let mut next = 0_u64;
    let room = keys.len().min(values.len());
    let mut attr = BatchAttr {
        in_batch: position.as_ref().map_or(0, |position| std::ptr::from_ref(position) as u64),
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: room as u32,
        map_fd: map.as_raw_fd() as u32,
        ..BatchAttr::default()
    };
    let next = match bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) {
        Ok(()) => Some(next),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        Err(error) => return Err(error),
    };
    Ok(((attr.count as usize).min(room), next))
}

/// The key that follows another one, or the first; `None` after the last.
pub fn next_key<K: Pod>(map: BorrowedFd<'_>, key: Option<&K>) -> io::Result<Option<K>> {
    let mut next = MaybeUninit::<K>::uninit();
    let mut attr = ElemAttr {
        map_fd: map.as_raw_fd() as u32,
        key: key.map_or(0, |key| std::ptr::from_ref(key) as u64),
        value_or_next_key: next.as_mut_ptr() as u64,
        ..ElemAttr::default()
    };
    match bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) {
        // SAFETY: the call succeeded, so the kernel wrote the whole key.
        Ok(()) => Ok(Some(unsafe { next.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs a program once on a frame.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    /// The kernel's `union bpf_attr` for test runs.
    #[repr(C)]
    #[derive(Default)]
    struct TestAttr {
        prog_fd: u32,
        retval: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        ctx_size: [u32; 2],
        ctx: [u64; 2],
        flags: u32,
        cpu: u32,
        batch_size: u32,
        pad: u32,
    }
    let mut attr = TestAttr {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestAttr::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut attr)
}

/// Pins a map at this path.
pub fn pin(map: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    /// The kernel's `union bpf_attr` for pinning.
    #[repr(C)]
    struct PinAttr {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = PinAttr { pathname: path.as_ptr() as u64, bpf_fd: map.as_raw_fd() as u32, file_flags: 0 };
    bpf(BPF_OBJ_PIN, &mut attr)
}

/// One entry, `None` when there is none of that key.
pub fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    fetch(BPF_MAP_LOOKUP_ELEM, map, key)
}

/// Makes an entry, or puts a value in the place of another.
pub fn update<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attr = ElemAttr {
        map_fd: map.as_raw_fd() as u32,
        key: std::ptr::from_ref(key) as u64,
        value_or_next_key: std::ptr::from_ref(value) as u64,
        ..ElemAttr::default()
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr)
}

/// Removes an entry and returns its last value, so that nothing counted up to the removal is lost.
/// `EINVAL` on kernels before 5.14.
pub fn lookup_and_delete<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    fetch(BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, key)
}

/// Removes an entry, if it is there.
pub fn delete<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr =
        ElemAttr { map_fd: map.as_raw_fd() as u32, key: std::ptr::from_ref(key) as u64, ..ElemAttr::default() };
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
}

/// Removes entries, those that are there.
pub fn delete_all<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = keys.get(done..).filter(|rest| !rest.is_empty()) {
        let mut attr = BatchAttr {
            keys: rest.as_ptr() as u64,
            count: rest.len().min(u32::MAX as usize) as u32,
            map_fd: map.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        match bpf(BPF_MAP_DELETE_BATCH, &mut attr) {
            // One that somebody else removed ends the batch there.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => done += attr.count as usize + 1,
            // Before 5.6.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return rest.iter().try_for_each(|key| delete(map, key));
            }
            Err(error) => return Err(error),
            Ok(()) => done += attr.count as usize,
        }
    }
    Ok(())
}

fn fetch<K: Pod, V: Pod>(command: libc::c_int, map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = MaybeUninit::<V>::uninit();
    let mut attr = ElemAttr {
        map_fd: map.as_raw_fd() as u32,
        key: std::ptr::from_ref(key) as u64,
        value_or_next_key: value.as_mut_ptr() as u64,
        ..ElemAttr::default()
    };
    match bpf(command, &mut attr) {
        // SAFETY: the call succeeded, so the kernel wrote the whole value.
        Ok(()) => Ok(Some(unsafe { value.assume_init() })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The system call. `A` is one of the attribute structures, whose pointers outlive the call.
pub fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<()> {
    bpf_fd(command, attr).map(drop)
}

/// The same for commands that answer with a file descriptor.
pub fn bpf_fd<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a valid, initialised attribute structure of the size passed; the buffers that it points to are
    // alive and as large as the map's key and value sizes, which the types K and V of the callers mirror.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as libc::c_int) }
}
