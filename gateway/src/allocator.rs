//! How the system's allocator treats large buffers.

/// Gives large buffers back to the system when they are freed.
///
/// glibc raises its threshold for that with every large buffer it sees freed, up to 32 MiB; a burst of large pushes
/// would then stay in the process as holes between smaller things for ever.
pub fn return_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // glibc's own default before it begins to adjust it.
        const LARGE: libc::c_int = 128 << 10;
        #[expect(unsafe_code, reason = "sets a number; nothing is read or freed")]
        // SAFETY: `mallopt` takes two integers, may be called at any time, and refuses what it does not know.
        let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
        if taken != 1 {
            tracing::warn!("the allocator keeps large buffers");
        }
    }
}
