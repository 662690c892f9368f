//! `membarrier`: making every core forget instructions that it has fetched.

use std::sync::OnceLock;

const SYNC_CORE: libc::c_int = 1 << 5;
const REGISTER_SYNC_CORE: libc::c_int = 1 << 6;

/// Whether the kernel has the barrier and lets this process use it.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| membarrier(REGISTER_SYNC_CORE))
}

/// Returns once every core that runs a thread of this process has executed a serializing instruction.
pub(crate) fn synchronize_cores() {
    if is_available() {
        let done = membarrier(SYNC_CORE);
        debug_assert!(done, "the process registered for it");
    }
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: membarrier takes no pointers and changes no memory.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}
