//! `~` in paths: shells do not expand it after `=`, and nothing expands it in files.

use std::path::{Path, PathBuf};

/// Why a path that begins with `~` cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HomeError {
    /// `~name`, another user's home folder.
    #[error(
        "begins with ~ but not with ~/, the home folder; write the whole path, \
         or ./~ for a name that begins so"
    )]
    OfAnother,
    /// The home folder is unknown.
    #[error("begins with ~, and no home folder is known; set HOME, or write the whole path")]
    Unknown,
}

/// `path` with a `~` that stands alone or before the first `/` replaced by the home folder (from
/// `HOME`, else from the system's user database). Any other path is unchanged.
///
/// # Errors
///
/// [`HomeError`] for `~name`, or if there is no home folder.
pub fn expand(path: &Path) -> Result<PathBuf, HomeError> {
    expand_in(path, std::env::home_dir)
}

fn expand_in(path: &Path, home: impl FnOnce() -> Option<PathBuf>) -> Result<PathBuf, HomeError> {
    if !path.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return Ok(path.to_owned());
    }
    let below = path.strip_prefix("~").map_err(|_| HomeError::OfAnother)?;
    let home = home().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or(HomeError::Unknown)?;
    Ok(match below.as_os_str().is_empty() {
        true => home,
        false => home.join(below),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(path: &str) -> Result<PathBuf, HomeError> {
        expand_in(Path::new(path), || Some(PathBuf::from("/home/me")))
    }

    #[test]
    fn a_tilde_before_a_slash_is_the_home_folder() {
        for (path, expected) in [
            ("~", "/home/me"),
            ("~/", "/home/me"),
            ("~/runs", "/home/me/runs"),
            ("~/a/~/b", "/home/me/a/~/b"),
            ("runs", "runs"),
            ("", ""),
            ("./~", "./~"),
            ("a/~/b", "a/~/b"),
            ("/~", "/~"),
        ] {
            assert_eq!(expanded(path).unwrap().to_str(), Some(expected), "{path}");
        }
    }

    #[test]
    fn other_tildes_are_refused() {
        for path in ["~you", "~you/runs", "~~", "~.", "~ /a"] {
            assert_eq!(expanded(path), Err(HomeError::OfAnother), "{path}");
        }
        for home in [None, Some(PathBuf::new())] {
            let refused = expand_in(Path::new("~/a"), || home);
            assert_eq!(refused, Err(HomeError::Unknown));
        }
    }
}
