//! `bpf(2)` map operations that aya 0.14 lacks: batched look-up, and look-up-and-delete of a hash map.
//!
//! A batched read that meets a bucket with more entries than the batch has room for is refused with `ENOSPC`; the batch
//! grows and the read goes on from the same place. A kernel without batches (before 5.6) is read key by key.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya::Pod;

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// Entries asked for at once, to begin with: 4,096 of 368 bytes are 1.5 MB.
const FIRST_BATCH: usize = 4096;
/// Where growing ends. A bucket this full is not seen outside of attacks on the hash, which is keyed by the kernel.
const MAX_BATCH: usize = 1 << 20;

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

/// Buffers of a batched reader, kept between drains.
pub(super) struct BatchReader<K, V> {
    keys: Vec<MaybeUninit<K>>,
    values: Vec<MaybeUninit<V>>,
    batched: bool,
}

impl<K: Pod, V: Pod> BatchReader<K, V> {
    pub(super) fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), batched: true }
    }

    /// Calls `visit` for every entry; entries that are added or removed meanwhile may or may not be among them.
    pub(super) fn for_each(&mut self, map: BorrowedFd<'_>, mut visit: impl FnMut(&K, &V)) -> io::Result<()> {
        if self.batched {
            match self.in_batches(map, &mut visit) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.batched = false,
                done => return done,
            }
        }
        one_by_one(map, &mut visit)
    }

    fn in_batches(&mut self, map: BorrowedFd<'_>, visit: &mut impl FnMut(&K, &V)) -> io::Result<()> {
        self.grow(FIRST_BATCH);
        // The position between calls. For hash maps it is a 4-byte bucket number; 8 bytes leave room.
        let (mut position, mut next) = (0_u64, 0_u64);
        let mut first = true;
        loop {
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { (&raw const position) as u64 },
                out_batch: (&raw mut next) as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: self.keys.len() as u32,
                map_fd: map.as_raw_fd() as u32,
                ..BatchAttr::default()
            };
            let outcome = bpf(BPF_MAP_LOOKUP_BATCH, &mut attr);
            let done = match outcome.as_ref().err().and_then(io::Error::raw_os_error) {
                None => false,
                Some(libc::ENOENT) => true,
                Some(libc::ENOSPC) if self.keys.len() < MAX_BATCH => {
                    self.grow(self.keys.len() * 2);
                    continue;
                }
                Some(_) => return outcome,
            };
            let count = (attr.count as usize).min(self.keys.len());
            for (key, value) in self.keys.iter().zip(&self.values).take(count) {
                // SAFETY: the kernel filled the first `count` keys and values, and any bytes are valid for `Pod` types.
                unsafe { visit(key.assume_init_ref(), value.assume_init_ref()) };
            }
            if done {
                return Ok(());
            }
            position = next;
            first = false;
        }
    }

    fn grow(&mut self, entries: usize) {
        if self.keys.len() < entries {
            self.keys.resize_with(entries, MaybeUninit::uninit);
            self.values.resize_with(entries, MaybeUninit::uninit);
        }
    }
}

fn one_by_one<K: Pod, V: Pod>(map: BorrowedFd<'_>, visit: &mut impl FnMut(&K, &V)) -> io::Result<()> {
    let mut key: Option<K> = None;
    loop {
        let mut next = MaybeUninit::<K>::uninit();
        let mut attr = ElemAttr {
            map_fd: map.as_raw_fd() as u32,
            key: key.as_ref().map_or(0, |key| std::ptr::from_ref(key) as u64),
            value_or_next_key: next.as_mut_ptr() as u64,
            ..ElemAttr::default()
        };
        match bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
        // SAFETY: the call succeeded, so the kernel wrote the whole key.
        let next = unsafe { next.assume_init() };
        if let Some(value) = lookup(map, &next)? {
            visit(&next, &value);
        }
        key = Some(next);
    }
}

/// One entry, `None` when there is none of that key.
pub(super) fn lookup<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    fetch(BPF_MAP_LOOKUP_ELEM, map, key)
}

/// Removes an entry and returns its last value, so that nothing counted up to the removal is lost.
/// `EINVAL` on kernels before 5.14.
pub(super) fn lookup_and_delete<K: Pod, V: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    fetch(BPF_MAP_LOOKUP_AND_DELETE_ELEM, map, key)
}

/// Removes an entry, if it is there.
pub(super) fn delete<K: Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attr =
        ElemAttr { map_fd: map.as_raw_fd() as u32, key: std::ptr::from_ref(key) as u64, ..ElemAttr::default() };
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        done => done,
    }
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
pub(super) fn bpf<A>(command: libc::c_int, attr: &mut A) -> io::Result<()> {
    bpf_fd(command, attr).map(drop)
}

/// The same for commands that answer with a file descriptor.
pub(super) fn bpf_fd<A>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a valid, initialised attribute structure of the size passed; the buffers that it points to are
    // alive and as large as the map's key and value sizes, which the types K and V of the callers mirror.
    let status = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as libc::c_int) }
}
