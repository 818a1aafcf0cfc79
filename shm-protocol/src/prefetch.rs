//! Prefetching bytes before they are needed.

#![allow(unsafe_code, reason = "the instruction takes an address")]

/// Has the processor fetch the cache line of `bytes[at]`, if there is one, without waiting for it.
#[inline(always)]
pub fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    if let Some(byte) = bytes.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is part of SSE, which every x86-64 has. It reads nothing, and faults never.
        unsafe { _mm_prefetch(std::ptr::from_ref(byte).cast(), _MM_HINT_T0) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    let _ = (bytes, at);
}
