//! Stops at an operation on the disk, as a killed process does: nothing after it happens.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;

thread_local! {
    /// Operations of this thread until it is killed; `None` if it is not to be.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    /// Operations so far.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Runs `act`, which is killed before operation `at`, counted from 0. Returns what it returns, and
/// whether it was killed.
pub fn at<T>(at: u64, act: impl FnOnce() -> T) -> (T, bool) {
    LEFT.set(Some(at));
    let done = act();
    let was_killed = LEFT.replace(None) == Some(0);
    (done, was_killed)
}

/// Runs `act`, and counts its operations.
pub fn count<T>(act: impl FnOnce() -> T) -> (T, u64) {
    COUNT.set(0);
    let done = act();
    (done, COUNT.get())
}

fn killed() -> io::Error {
    io::Error::other("killed")
}

/// An operation: an error, once the thread is killed.
pub fn before() -> io::Result<()> {
    COUNT.set(COUNT.get() + 1);
    match LEFT.get() {
        Some(0) => Err(killed()),
        Some(left) => {
            LEFT.set(Some(left - 1));
            Ok(())
        }
        None => Ok(()),
    }
}

/// The removal of a folder: an operation for each file in it, since it can be killed between any
/// two.
pub fn before_removing(folder: &Path) -> io::Result<()> {
    before()?;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        before()?;
        fs::remove_file(entry.path())?;
    }
    before()
}
