//! The lock of a folder: held while a process writes there, and released with the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use super::files::is_at;
use crate::error::RunError;

/// The locked file, which names the holder.
pub(super) const LOCK: &str = ".lock";

/// Longest description of a holder that is shown, in bytes.
const MAX_HOLDER: u64 = 256;

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
            let locked = match share {
                Share::Alone => file.try_lock(),
                Share::WithOthers => file.try_lock_shared(),
            };
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
        // Other holders of a shared lock need the file, and it may belong to another by now.
        let last = self.file.try_lock().is_ok();
        if last && is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
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
