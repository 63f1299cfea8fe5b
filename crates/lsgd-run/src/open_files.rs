//! The limit on open files: raised at the start, waited for while it is reached, and named in errors.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long to wait for a file to be closed: longer than a stranger may take for a handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// Raises the limit to the maximum for this process, and returns it; `None` if there is no limit.
///
/// The usual limit of a shell is 1024, which a run of hundreds of nodes exceeds.
#[cfg(unix)]
pub fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        // Where the system accepts no such limit (macOS), the old one stays.
        Err(_) => current,
    }
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn raise_limit() -> Option<u64> {
    None
}

/// The limit on open files of this process; `None` if there is none.
#[cfg(unix)]
pub fn limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// There is no such limit here.
#[cfg(not(unix))]
pub fn limit() -> Option<u64> {
    None
}

/// Opens a file with `open`; while the limit is reached, again and again for up to ten seconds.
///
/// A burst of connections reaches it for moments: each is accepted before it is counted, and closed
/// if it is one too many. That is not to end a run.
///
/// # Errors
///
/// Those of `open`.
pub fn when_free<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    within(PATIENCE, open)
}

fn within<T>(patience: Duration, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match open() {
            Err(error) if is_reached(&error) && began.elapsed() < patience => sleep(PAUSE),
            opened => return opened,
        }
    }
}

/// The system's error; if the limit on open files was reached, with the limit and what to do.
pub fn explain(error: &io::Error) -> String {
    match limit() {
        Some(limit) if is_own(error) => {
            format!("too many open files (the limit is {limit}); raise it with ulimit -n")
        }
        _ => error.to_string(),
    }
}

/// Whether the limit of this process, or that of the system, was reached.
#[cfg(unix)]
fn is_reached(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

#[cfg(not(unix))]
fn is_reached(_: &io::Error) -> bool {
    false
}

/// Whether it was the limit of this process.
#[cfg(unix)]
fn is_own(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error) == Some(Errno::MFILE)
}

#[cfg(not(unix))]
fn is_own(_: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_file_is_opened_when_another_was_closed() {
        for limit in [Errno::MFILE, Errno::NFILE] {
            let mut attempts = 0;
            let opened = when_free(|| {
                attempts += 1;
                match attempts {
                    4 => Ok("opened"),
                    _ => Err(limit.into()),
                }
            });
            assert_eq!((opened.unwrap(), attempts), ("opened", 4));
        }
    }

    #[test]
    fn other_errors_are_returned_at_once_and_patience_ends() {
        for (error, patience) in [(Errno::NOENT, PATIENCE), (Errno::MFILE, Duration::ZERO)] {
            let mut attempts = 0;
            let opened: io::Result<()> = within(patience, || {
                attempts += 1;
                Err(error.into())
            });
            assert_eq!(Errno::from_io_error(&opened.unwrap_err()), Some(error));
            assert_eq!(attempts, 1);
        }
    }

    #[test]
    fn the_limit_is_named_where_it_is_the_cause() {
        let error = io::Error::from(Errno::MFILE);
        let limit = limit().unwrap();
        assert_eq!(
            explain(&error),
            format!("too many open files (the limit is {limit}); raise it with ulimit -n")
        );
        let other = io::Error::from(Errno::NOENT);
        assert_eq!(explain(&other), other.to_string());
    }
}
