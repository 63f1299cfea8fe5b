//! The lock of a folder: held while a process writes there, and released with the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, SystemTime};

use super::files::is_at;
use crate::error::RunError;

/// The locked file, which names the holder.
pub(super) const LOCK: &str = ".lock";

/// Longest description of a holder that is shown, in bytes.
const MAX_HOLDER: u64 = 256;

/// How often a lock that is taken is tried, and how long between: whoever only looks ([`held`]) takes it for
/// a moment.
const TRIES: u32 = 8;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// The same for the last holder, who removes the file: other nodes of the run may hold it for long.
const LAST_TRIES: u32 = 2;

/// Who else may hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Exclusive.
    Alone,
    /// Shared.
    WithOthers,
}

/// The outcome of an attempt.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The lock was acquired.
    Held(Lock),
    /// Another process holds it.
    Taken {
        /// The holder, according to the file.
        holder: String,
    },
    /// The file system does not support locks.
    NoLocks(io::Error),
}

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Tries to lock `folder`, without waiting.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] if the file cannot be created.
    pub fn attempt(folder: &Path, share: Share) -> Result<Attempt, RunError> {
        let path = folder.join(LOCK);
        loop {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(RunError::write(&path))?;
            let locked = try_often(TRIES, || match share {
                Share::Alone => file.try_lock(),
                Share::WithOthers => file.try_lock_shared(),
            });
            match locked {
                // Otherwise its last holder has removed it since it was opened.
                Ok(()) if is_at(&file, &path).map_err(RunError::write(&path))? => {
                    // The holder's name is a courtesy: on a full disk the lock is held all the
                    // same.
                    let _ = file
                        .set_len(0)
                        .and_then(|()| file.write_all(myself().as_bytes()));
                    return Ok(Attempt::Held(Self { path, file }));
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    return Ok(Attempt::Taken { holder });
                }
                Err(TryLockError::Error(why)) => {
                    // It would claim a lock that does not exist.
                    let _ = fs::remove_file(&path);
                    return Ok(Attempt::NoLocks(why));
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Other holders of a shared lock need the file, and it may belong to another by now. Whoever removes it
        // holds it alone, and whoever has opened it before finds after locking that it is no longer there.
        // One that only looks shares it for a moment, hence more than one try.
        //
        // A process that is killed leaves the file. It holds nothing then, and stays until the next run here:
        // if those who look removed it, they would write to folders that may be another's.
        let last = try_often(LAST_TRIES, || self.file.try_lock()).is_ok();
        if last && is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn try_often(tries: u32, lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 1..tries {
        match lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN_TRIES),
            locked => return locked,
        }
    }
    lock()
}

/// Whether a process has a folder open to write a run there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// One has.
    Yes,
    /// None has.
    No,
    /// It cannot be told: the file system has no locks, or the file may not be read.
    Unknown,
}

/// Whether a process has the folder of a run, or of a node of one, open to write there, as far as its lock
/// tells. The folder stays as it is.
pub fn held(folder: &Path) -> Held {
    match look(&folder.join(LOCK)) {
        Ok(held) => held,
        // Nobody has it, or the file system has no locks: another file of the run tells which.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            look(&folder.join("run.json")).unwrap_or(Held::Unknown)
        }
        Err(_) => Held::Unknown,
    }
}

/// When the process that has `folder` open locked it, or the last one that was killed: it then wrote its name
/// into the lock's file.
pub fn locked_at(folder: &Path) -> Option<SystemTime> {
    let file = fs::metadata(folder.join(LOCK));
    file.and_then(|file| file.modified()).ok()
}

fn look(path: &Path) -> io::Result<Held> {
    let file = File::open(path)?;
    Ok(match file.try_lock_shared() {
        Ok(()) => Held::No,
        Err(TryLockError::WouldBlock) => Held::Yes,
        Err(TryLockError::Error(_)) => Held::Unknown,
    })
}

/// A description of this process for others.
fn myself() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map_or_else(String::new, |host| format!(" on {}", host.trim()));
    let since = humantime::format_rfc3339_seconds(SystemTime::now());
    format!("process {}{host}, since {since}\n", process::id())
}

/// The description of the holder in a lock's file.
fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file.take(MAX_HOLDER).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    match read.is_ok() && line.starts_with("process ") && !line.contains(char::is_control) {
        true => line.to_owned(),
        false => String::from("another process"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn attempt(folder: &Path, share: Share) -> Result<Lock, String> {
        match Lock::attempt(folder, share).unwrap() {
            Attempt::Held(lock) => Ok(lock),
            Attempt::Taken { holder } => Err(holder),
            Attempt::NoLocks(why) => panic!("{why}"),
        }
    }

    #[test]
    fn one_alone_shuts_out_all_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let held = attempt(folder, Share::Alone).unwrap();
        for share in [Share::Alone, Share::WithOthers] {
            let holder = attempt(folder, share).unwrap_err();
            let start = format!("process {}", process::id());
            assert!(holder.starts_with(&start), "{holder}");
        }
        drop(held);
        assert!(!folder.join(LOCK).exists());
        attempt(folder, Share::Alone).unwrap();
    }

    #[test]
    fn some_share_it_until_the_last_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let first = attempt(folder, Share::WithOthers).unwrap();
        let second = attempt(folder, Share::WithOthers).unwrap();
        drop(first);
        assert!(attempt(folder, Share::Alone).is_err());
        drop(second);
        assert!(!folder.join(LOCK).exists());
    }

    #[test]
    fn whoever_looks_sees_it_and_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(held(folder), Held::Unknown, "no run");
        fs::write(folder.join("run.json"), "").unwrap();
        assert_eq!(held(folder), Held::No);
        let lock = attempt(folder, Share::Alone).unwrap();
        assert_eq!(held(folder), Held::Yes);
        drop(lock);
        assert_eq!(held(folder), Held::No);
        // What a killed process leaves.
        fs::write(folder.join(LOCK), "process 1\n").unwrap();
        assert_eq!(held(folder), Held::No);
    }

    /// Such a look is over when the lock is tried again; a process that writes there is not.
    #[test]
    fn a_lock_is_tried_more_than_once() {
        for (free_at, expected) in [(1, true), (TRIES, true), (TRIES + 1, false)] {
            let tries = Cell::new(0);
            let locked = try_often(TRIES, || {
                tries.set(tries.get() + 1);
                match tries.get() >= free_at {
                    true => Ok(()),
                    false => Err(TryLockError::WouldBlock),
                }
            });
            assert_eq!(locked.is_ok(), expected);
            assert_eq!(tries.get(), free_at.min(TRIES));
        }
    }

    /// The remains of a killed process, or text of someone else, neither block nor are repeated.
    #[test]
    fn a_file_that_nobody_has_locked_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        fs::write(&path, "process 1\nor rather two").unwrap();
        drop(attempt(folder.path(), Share::Alone).unwrap());

        fs::write(&path, "\u{1b}[2J all is well").unwrap();
        let other = File::open(&path).unwrap();
        other.lock().unwrap();
        let holder = attempt(folder.path(), Share::Alone).unwrap_err();
        assert_eq!(holder, "another process");
    }
}
