//! The limit on open files: raised at the start, and named in errors when it is reached.

use std::io;

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

/// The system's error; if the limit on open files was reached, with the limit and what to do.
pub fn explain(error: &io::Error) -> String {
    match limit() {
        Some(limit) if is_reached(error) => {
            format!("too many open files (the limit is {limit}); raise it with ulimit -n")
        }
        _ => error.to_string(),
    }
}

#[cfg(unix)]
fn is_reached(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error) == Some(Errno::MFILE)
}

#[cfg(not(unix))]
fn is_reached(_: &io::Error) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_where_it_is_the_cause() {
        let error = io::Error::from(rustix::io::Errno::MFILE);
        let limit = limit().unwrap();
        assert_eq!(
            explain(&error),
            format!("too many open files (the limit is {limit}); raise it with ulimit -n")
        );
        let other = io::Error::from(rustix::io::Errno::NOENT);
        assert_eq!(explain(&other), other.to_string());
    }
}
