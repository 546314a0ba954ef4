//! Signals that ask a long command to end: it may finish its step first, and then ends as the signal would have it.

#![allow(unsafe_code)] // foreign calls: sigaction, signal and raise of the C library

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static CAUGHT: AtomicI32 = AtomicI32::new(0);

/// A flag that the first interrupt (Ctrl-C) or termination raises. A second one ends the process at once.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    FLAG.get_or_init(|| {
        #[cfg(unix)]
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: `sigaction` is plain data for which zeros are valid; the pointer is to a local that outlives the
            // call; the handler does only what a handler may.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = remember as extern "C" fn(libc::c_int) as libc::sighandler_t;
                // SA_RESTART: reads and writes under way go on.
                action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
        Arc::default()
    })
    .clone()
}

/// Only what may be done in a signal handler: atomics.
#[cfg(unix)]
extern "C" fn remember(signal: libc::c_int) {
    CAUGHT.store(signal, Relaxed);
    if let Some(flag) = FLAG.get() {
        flag.store(true, Relaxed);
    }
}

/// The signal that raised the flag, if one did.
pub(crate) fn caught() -> Option<i32> {
    Some(CAUGHT.load(Relaxed)).filter(|&signal| signal != 0)
}

/// Ends the process by this signal, which a shell shows as 128 and its number, and which ends a shell's loop, too.
pub(crate) fn end_by(signal: i32) -> std::process::ExitCode {
    #[cfg(unix)]
    // SAFETY: SIG_DFL is a valid handler; nothing is left to be done by this process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::ExitCode::from(128 + signal as u8)
}
