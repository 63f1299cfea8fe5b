//! Exit codes, and which system errors may be temporary.

use std::io;

/// Exit code: success.
pub const EXIT_SUCCESS: u8 = 0;
/// Exit code: the command was understood and failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the command line or the config is wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: a temporary obstacle, such as a port in use or a full disk; the same command may work
/// later. It is `EX_TEMPFAIL` of `sysexits.h`.
pub const EXIT_RETRY: u8 = 75;
/// Exit code: saved and stopped by SIGUSR1 or SIGUSR2 under `--signal-resume`; the same command
/// continues. HTCondor's manual uses this number for a job that has saved itself.
pub const EXIT_RESUME: u8 = 85;
/// Exit code: stopped by a signal, such as Ctrl-C; what was trained is kept.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Whether a system error may be temporary.
pub fn passes(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse || is_full_disk(error)
}

/// Whether there was no room on the disk, or no more of a user's share of it.
pub fn is_full_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), QuotaExceeded | StorageFull)
}
