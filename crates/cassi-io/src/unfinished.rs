//! Temporary files under way: a signal that ends the process (interrupt, terminate, hang-up) takes them along.
//!
//! The handler is set when the first file is begun, and only for signals that nobody else handles. It removes the
//! files and lets the signal end the process as it would have.

use std::path::Path;

#[cfg(unix)]
pub(crate) use unix::Unfinished;

/// Registers a temporary file until the value is dropped.
#[cfg(unix)]
pub(crate) fn register(path: &Path) -> Unfinished {
    unix::register(path)
}

/// Nothing to do where signals do not end processes.
#[cfg(not(unix))]
pub(crate) struct Unfinished;

/// Nothing to do where signals do not end processes.
#[cfg(not(unix))]
pub(crate) fn register(_: &Path) -> Unfinished {
    Unfinished
}

#[cfg(unix)]
#[allow(unsafe_code)] // foreign calls: sigaction, unlink, raise; and C strings that a handler may read
mod unix {
    use std::ffi::{CString, c_char, c_int};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::ptr::{null, null_mut};
    use std::sync::Once;
    use std::sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Relaxed},
    };

    /// Files written at once are a few, one a thread; more than these would stay behind when a signal comes.
    const SLOTS: usize = 64;
    static PATHS: [AtomicPtr<c_char>; SLOTS] = [const { AtomicPtr::new(null_mut()) }; SLOTS];

    /// A registered file; its slot is freed when this is dropped.
    pub(crate) struct Unfinished(Option<usize>);

    pub(super) fn register(path: &Path) -> Unfinished {
        static SET: Once = Once::new();
        SET.call_once(set_handlers);
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return Unfinished(None) };
        let path = path.into_raw();
        let free =
            PATHS.iter().position(|slot| slot.compare_exchange(null_mut(), path, AcqRel, Relaxed).is_ok());
        if free.is_none() {
            // SAFETY: made by `into_raw` above, and in no slot.
            drop(unsafe { CString::from_raw(path) });
        }
        Unfinished(free)
    }

    impl Drop for Unfinished {
        fn drop(&mut self) {
            let path = self.0.map_or(null_mut(), |slot| PATHS[slot].swap(null_mut(), AcqRel));
            if !path.is_null() {
                // SAFETY: made by `into_raw`; the swap gave it to us alone (the handler swaps, too).
                drop(unsafe { CString::from_raw(path) });
            }
        }
    }

    /// Only what may be called in a signal handler: atomics, unlink, raise.
    extern "C" fn remove_all(signal: c_int) {
        for slot in &PATHS {
            let path = slot.swap(null_mut(), AcqRel);
            if !path.is_null() {
                // SAFETY: a C string that the swap gave to us alone; never freed, as the process ends.
                unsafe { libc::unlink(path) };
            }
        }
        // SAFETY: no memory is touched. SA_RESETHAND has put the default back: the signal now ends the process.
        unsafe { libc::raise(signal) };
    }

    fn set_handlers() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: `sigaction` is plain data for which zeros are valid; the pointers are to locals that outlive the
            // calls; the handler does only what a handler may.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                if libc::sigaction(signal, null(), &mut action) != 0 || action.sa_sigaction != libc::SIG_DFL {
                    continue;
                }
                action.sa_sigaction = remove_all as extern "C" fn(c_int) as libc::sighandler_t;
                action.sa_flags = libc::SA_RESETHAND;
                libc::sigaction(signal, &action, null_mut());
            }
        }
    }
}
