//! The lock of a folder: it says that a process writes there, and ends with the process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use super::files::is_at;
use crate::error::TrainError;

/// The file that is locked. It says who holds it.
pub(super) const LOCK: &str = ".lock";

/// Longest text of a holder that is shown, in bytes.
const LONGEST_HOLDER: u64 = 256;

/// Who else may hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Nobody.
    Alone,
    /// Others that share it.
    WithOthers,
}

/// What came of trying.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It is held.
    Held(Lock),
    /// Somebody else holds it.
    Taken {
        /// Who, as the file says.
        holder: String,
    },
    /// The file system has no locks.
    NoLocks(io::Error),
}

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Tries to lock `folder`, and does not wait.
    ///
    /// # Errors
    ///
    /// [`TrainError::Write`] if the file cannot be made.
    pub fn attempt(folder: &Path, share: Share) -> Result<Attempt, TrainError> {
        let path = folder.join(LOCK);
        loop {
            let mut options = File::options();
            let options = options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(TrainError::write(&path))?;
            let locked = match share {
                Share::Alone => file.try_lock(),
                Share::WithOthers => file.try_lock_shared(),
            };
            match locked {
                // Otherwise its last holder has removed it since it was opened.
                Ok(()) if is_at(&file, &path).map_err(TrainError::write(&path))? => {
                    // Who holds it is a courtesy: on a full disk it is held all the same.
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
                    // It would say that there is a lock.
                    let _ = fs::remove_file(&path);
                    return Ok(Attempt::NoLocks(why));
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever shares it needs the file; and it may be another's by now.
        let last = self.file.try_lock().is_ok();
        if last && is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// This process, as others are told of it.
fn myself() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map_or_else(String::new, |host| format!(" on {}", host.trim()));
    let since = humantime::format_rfc3339_seconds(SystemTime::now());
    format!("process {}{host}, since {since}\n", process::id())
}

/// What a lock's file says of its holder.
fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    let read = file.take(LONGEST_HOLDER).read_to_end(&mut text);
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

    /// What a killed process leaves, or somebody else, is neither in the way nor repeated.
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
