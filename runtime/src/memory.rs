//! The heap of programs that carry many bytes: buffers of a few megabytes come and go with each call, and giving each back
//! to the system, to get it again page by page, costs more than filling it.

/// Buffers up to this size come from the heap. glibc allows no larger value.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 32 << 20;
/// So much that is free at the end of the heap stays with the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 64 << 20;

/// Makes the C library's allocator keep what is freed for what is allocated next, up to 64 MiB in each arena, of which there
/// are as many as cores, and no more than eight (`mallopt(3)`). Call once, from `main`, before there are threads. Other C libraries do as they like.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let arenas = i32::try_from(cores).unwrap_or(i32::MAX);
        for (parameter, value) in
            [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, KEPT), (libc::M_ARENA_MAX, arenas)]
        {
            #[expect(unsafe_code, reason = "there is no other way to set the allocator's parameters")]
            // SAFETY: the function takes two integers by value, refuses those that it does not know, and may be called
            // at any time.
            let taken = unsafe { libc::mallopt(parameter, value) };
            if taken == 0 {
                tracing::debug!(parameter, value, "the allocator does not take this parameter");
            }
        }
    }
}
