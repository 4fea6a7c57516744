//! Memory that was freed. It stays with the allocator, in pieces between what is in use; a daemon that runs for months gives it back
//! after a flood, and what is large at once.

/// Fewer flows at once are no flood.
const MANY_FLOWS: u64 = 50_000;
/// A flood is over when no more than one flow in so many goes on.
const PART: u64 = 4;
/// Windows that have to be quiet: until then flows end, and the database writes them.
const QUIET_WINDOWS: u32 = 12;
/// How often memory is given back after a flood, with as many quiet windows between: what the database and the caches let go
/// comes later.
const TIMES: u32 = 3;

/// Pieces of memory from this size on are mapped each for itself. The allocator would raise the bound to 32 MiB with the first that is
/// freed, and keep the buffers of the largest window of each kind for ever: a replay of 350,000 flows took 167 MB, and takes 117.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;

/// To be called when the process begins: large buffers go back to the kernel when they are freed.
pub fn give_back_large() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointers, and no other thread runs yet. If it is refused, all stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Watches for the end of a flood.
#[derive(Debug, Default)]
pub struct Memory {
    /// Most flows at once since memory was given back.
    most: u64,
    quiet: u32,
}

impl Memory {
    /// A window closed, and so many flows go on: gives memory back when a flood has been over for a while.
    pub fn window(&mut self, flows: u64) {
        if self.is_over(flows) {
            give_back();
        }
    }

    fn is_over(&mut self, flows: u64) -> bool {
        self.most = self.most.max(flows);
        self.quiet = if flows > self.most / PART { 0 } else { self.quiet + 1 };
        if self.most < MANY_FLOWS || self.quiet == 0 || !self.quiet.is_multiple_of(QUIET_WINDOWS) {
            return false;
        }
        if self.quiet >= TIMES * QUIET_WINDOWS {
            self.most = flows;
        }
        true
    }
}

/// Has the allocator give what is free back to the kernel.
fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        let began = std::time::Instant::now();
        // SAFETY: it takes no pointers, and may be called at any time.
        let given = unsafe { libc::malloc_trim(0) } != 0;
        tracing::debug!(given, took_ms = began.elapsed().as_secs_f64() * 1e3, "memory of a flood");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_after_a_flood_and_then_no_more() {
        let mut memory = Memory::default();
        let mut given = |flows: u64, windows: usize| (0..windows).filter(|_| memory.is_over(flows)).count();
        assert_eq!(given(40_000, 100), 0, "no flood");
        assert_eq!(given(10, 100), 0);
        assert_eq!(given(400_000, 2) + given(120_000, 20), 0, "it goes on");
        assert_eq!(given(10, QUIET_WINDOWS as usize - 1), 0);
        assert_eq!(given(10, 1), 1);
        assert_eq!(given(10, 1000), TIMES as usize - 1);
    }
}
