//! `membarrier`: making every core forget instructions that it has fetched.

use std::sync::OnceLock;

const SYNC_CORE: libc::c_int = 1 << 5;
const REGISTER_SYNC_CORE: libc::c_int = 1 << 6;

/// Whether the kernel has the barrier and lets this process use it.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| membarrier(REGISTER_SYNC_CORE))
}

/// Returns once every core that runs a thread of this process has executed a serializing instruction. Returns whether
/// they have.
pub(crate) fn synchronize_cores() -> bool {
    membarrier(SYNC_CORE)
}

fn membarrier(command: libc::c_int) -> bool {
    if crate::fault::is_due() {
        return false;
    }
    // SAFETY: membarrier takes no pointers and changes no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
