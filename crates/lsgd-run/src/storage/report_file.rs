//! The page about a run that is made from its folder. It does not belong to the run: it can be made again.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::RunError;
use crate::open_files::when_free;

/// Its name in the folder.
pub const REPORT: &str = "report.html";

/// How such a page begins.
pub const REPORT_MARK: &str = "<!doctype html><!-- report of lsgd-run -->";

/// Whether a file is such a page, of whichever run. A link is none, and a pipe is not read.
pub fn is_report(path: &Path) -> bool {
    if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
        return false;
    }
    let mut begin = vec![0; REPORT_MARK.len()];
    let read = when_free(|| File::open(path)).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == REPORT_MARK.as_bytes()
}

/// Removes the page of a folder whose run it no longer shows. A file of the user's stays.
///
/// # Errors
///
/// [`RunError::Write`].
pub(super) fn remove_report(folder: &Path) -> Result<(), RunError> {
    let path = folder.join(REPORT);
    if !is_report(&path) {
        return Ok(());
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(RunError::write(&path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_program_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(REPORT);
        remove_report(folder.path()).unwrap();
        for (text, stays) in [
            ("<!doctype html>\nmine", true),
            ("", true),
            (&format!("{REPORT_MARK}\n<html>"), false),
        ] {
            fs::write(&path, text).unwrap();
            remove_report(folder.path()).unwrap();
            assert_eq!(path.exists(), stays, "{text}");
        }
    }

    /// Whatever it leads to: a pipe would never be read to its end, and a link's page is another's.
    #[cfg(unix)]
    #[test]
    fn a_link_is_no_page_of_this_program() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page");
        fs::write(&page, REPORT_MARK).unwrap();
        assert!(is_report(&page));
        let link = folder.path().join(REPORT);
        std::os::unix::fs::symlink(&page, &link).unwrap();
        assert!(!is_report(&link));
        remove_report(folder.path()).unwrap();
        assert!(link.is_symlink() && page.exists());
    }
}
