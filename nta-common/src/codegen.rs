//! What keeps the way of a usual packet through the kernel programs short and straight.
//!
//! Between two packets the stack runs through more code than the processor remembers: it fetches ours anew, and takes each
//! branch that it does not know for one that is not taken (Intel's optimization manual, "static prediction"). So the usual
//! packet's instructions lie one behind the other, and what differs from packet to packet without being rare is computed
//! instead of branched on.

/// The condition, which is rarely true: what then happens is moved behind everything else.
///
/// LLVM's BPF back end leaves a conditional branch's second successor where it is, right behind the branch, whatever
/// the weights say. A block there that does nothing makes the rare one the successor that can be moved.
#[inline(always)]
pub fn unlikely(condition: bool) -> bool {
    if !condition {
        fall_through();
        return false;
    }
    core::hint::cold_path();
    true
}

/// Ends what happens unlikely, where its last step is a branch: that one too would keep behind it what comes next.
#[inline(always)]
pub fn fall_through() {
    #[cfg(target_arch = "bpf")]
    // SAFETY: goes on with the next instruction; the kernel removes it when it loads the program.
    unsafe {
        core::arch::asm!("goto +0", options(nomem, nostack, preserves_flags));
    }
}

/// 1 if `a` is less than `b`, else 0, of numbers below 2^63 and without a branch.
#[inline(always)]
pub(crate) fn is_less(a: u64, b: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut difference = a;
        // SAFETY: a subtraction. In assembly, because LLVM would see the comparison in it and make it a branch.
        unsafe {
            core::arch::asm!("{0} -= {1}", inout(reg) difference, in(reg) b, options(pure, nomem, nostack));
        }
        difference >> 63
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        u64::from(a < b)
    }
}

/// The same number, of which LLVM knows nothing: so that it does not join two branches on it to one that it orders itself.
#[inline(always)]
pub(crate) fn opaque(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut same = number;
        // SAFETY: a register moved to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) same, options(pure, nomem, nostack)) };
        same
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        number
    }
}

/// Own and other one of what is kept for each direction, without a branch.
#[inline(always)]
pub(crate) const fn pair<T>(of_directions: &mut [T; 2], direction: u32) -> (&mut T, &mut T) {
    let own = (direction & 1) as usize;
    let first = of_directions.as_mut_ptr();
    // SAFETY: 0 and 1 in one order or the other: two places of the array that do not overlap, borrowed as long as it is.
    unsafe { (&mut *first.add(own), &mut *first.add(own ^ 1)) }
}
