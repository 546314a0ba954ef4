//! The only place that writes to the terminal: results to standard output, where a write that fails is an error of the
//! command, and messages to standard error, where it is nobody's loss.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context as _;

/// Prints a result, one line or several, on standard output.
///
/// # Errors
/// If the system refuses the write, e.g. on a full disk. A closed pipe ends the process instead (see
/// [`restore_default_sigpipe`]).
pub(crate) fn result(text: impl Display) -> anyhow::Result<()> {
    with_stdout(|out| writeln!(out, "{text}"))
}

/// [`result`] of a formatted text.
macro_rules! print_line {
    ($($format:tt)*) => { $crate::output::result(format_args!($($format)*)) };
}
pub(crate) use print_line;

/// Lets a library print a result on standard output.
///
/// # Errors
/// As [`result`].
pub(crate) fn with_stdout(
    write: impl FnOnce(&mut std::io::StdoutLock<'static>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    write(&mut out).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Prints a line for the user on standard error.
pub(crate) fn message(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Rust ignores SIGPIPE, which turns a closed pipe into a failed write; tools are expected to end quietly instead.
#[allow(unsafe_code)] // foreign call: the C library's `signal`
pub(crate) fn restore_default_sigpipe() {
    #[cfg(unix)]
    // SAFETY: called first in main, before any thread exists; SIG_DFL is a valid handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
