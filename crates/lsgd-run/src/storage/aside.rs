//! The files of a run in its folder, and how an old run is replaced by a new one.
//!
//! All other files in the folder belong to the user and stay. An old run is moved to `.replaced`;
//! it is removed once the new one has produced something, and moved back if the new one ends before
//! that. It is moved via `.replacing`, so that the owner of the files can be determined at any
//! moment, should the process be killed:
//!
//! | there is | files of a run in the folder are | what [`settle`] does |
//! |---|---|---|
//! | `.replacing` | the old one's, and so are those in it | moves all back |
//! | `.replaced` | the new one's | removes the old ones, or if the new one came to nothing, removes its files and moves the old ones back |

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::disk::remove_folder;
use super::event_file::EVENT_FILE;
use super::files::read_json;
use super::lock::LOCK;
use super::records::{End, Summary};
use super::report_file::{REPORT, is_report};
use crate::error::RunError;
use crate::open_files::when_free;

/// The files of a run.
const FILES: [&str; 6] = [
    "config.toml",
    "run.json",
    "metrics.jsonl",
    "events.jsonl",
    "summary.json",
    EVENT_FILE,
];

/// The folder whose `step-N` belong to a run.
const CHECKPOINTS: &str = "checkpoints";

/// Where an old run is while it is being moved.
const REPLACING: &str = ".replacing";

/// Where an old run is until the new one has produced something.
const REPLACED: &str = ".replaced";

/// The fields of a `run.json` that show that this program wrote it.
#[derive(Deserialize)]
#[allow(dead_code, reason = "that they are there is all that is asked")]
struct Sign {
    version: String,
    burn: String,
    layout: String,
}

/// Whether a folder holds a run.
pub fn is_run(folder: &Path) -> bool {
    read_json::<Sign>(&folder.join("run.json")).is_ok()
}

/// Something in a folder without a run that has the name of a run's file.
pub(super) fn in_the_way(folder: &Path) -> Result<Option<PathBuf>, RunError> {
    match is_run(folder) {
        true => Ok(None),
        false => Ok(own(folder)?
            .into_iter()
            .find(|name| name != Path::new(REPORT))),
    }
}

/// Whether a path inside the folder of a run belongs to the run, whether it exists or not.
pub fn belongs_to_run(inside: &Path) -> bool {
    let mut names = inside.components().map(|component| match component {
        Component::Normal(name) => name.to_str().unwrap_or_default(),
        _ => "",
    });
    match names.next() {
        Some(CHECKPOINTS) => names.next().is_none_or(is_checkpoint),
        Some(name) => FILES.contains(&name) || [LOCK, REPLACING, REPLACED].contains(&name),
        None => false,
    }
}

/// Whether `folder` holds a run that began and has not ended: it was killed or stopped, or it is one
/// node of several that diverged, which may restart from the others' state.
pub fn is_unfinished(folder: &Path, is_node: bool) -> bool {
    let summary = folder.join("summary.json");
    let stopped = || {
        read_json(&summary).is_ok_and(|s: Summary| match s.end {
            End::Budget => false,
            End::Interrupted => true,
            End::Diverged => is_node,
        })
    };
    is_run(folder) && (!summary.exists() || stopped())
}

/// Whether a run has produced something usable: it has ended, or has a checkpoint.
pub(super) fn came_to_something(folder: &Path) -> Result<bool, RunError> {
    let worth = |name: &PathBuf| {
        name.as_os_str() == "summary.json"
            || name.starts_with(CHECKPOINTS) && name.extension().is_none_or(|kind| kind == "old")
    };
    Ok(own(folder)?.iter().any(worth))
}

/// Whether a replaced run is stored there, or is being moved.
pub(super) fn is_aside(folder: &Path) -> bool {
    [REPLACING, REPLACED]
        .iter()
        .any(|name| folder.join(name).is_dir())
}

/// Moves the run of a folder aside.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`]; [`put_back`] then undoes what was done.
pub(super) fn set_aside(folder: &Path) -> Result<(), RunError> {
    let (replacing, replaced) = (folder.join(REPLACING), folder.join(REPLACED));
    move_own(folder, &replacing)?;
    fs::rename(&replacing, &replaced).map_err(RunError::write(&replaced))
}

/// Moves the replaced run back, in place of whatever has been started there since.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`]; the call can be repeated.
pub(super) fn put_back(folder: &Path) -> Result<(), RunError> {
    let (replacing, replaced) = (folder.join(REPLACING), folder.join(REPLACED));
    if replaced.is_dir() && !replacing.is_dir() {
        remove_own(folder)?;
        fs::rename(&replaced, &replacing).map_err(RunError::write(&replacing))?;
    }
    finish_moving(folder)
}

/// Removes the replaced run.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`]; the call can be repeated.
pub(super) fn discard(folder: &Path) -> Result<(), RunError> {
    let replaced = folder.join(REPLACED);
    remove_own(&replaced)?;
    remove_if_empty(&replaced);
    Ok(())
}

/// Completes the move, in either direction, of a process that was killed.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`]; the call can be repeated.
pub(super) fn finish_moving(folder: &Path) -> Result<(), RunError> {
    let replacing = folder.join(REPLACING);
    if replacing.is_dir() {
        move_own(&replacing, folder)?;
        remove_if_empty(&replacing);
    }
    Ok(())
}

/// Completes what a killed process had begun; see the table above.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`]; the call can be repeated.
pub(super) fn settle(folder: &Path) -> Result<(), RunError> {
    finish_moving(folder)?;
    match folder.join(REPLACED).is_dir() {
        true if came_to_something(folder)? => discard(folder),
        true => put_back(folder),
        false => Ok(()),
    }
}

/// Removes the files of a run.
///
/// # Errors
///
/// [`RunError::Read`] or [`RunError::Write`].
pub(super) fn remove_own(folder: &Path) -> Result<(), RunError> {
    for name in own(folder)? {
        let path = folder.join(name);
        match path.is_dir() && !path.is_symlink() {
            true => remove_folder(&path)?,
            false => fs::remove_file(&path).map_err(RunError::write(&path))?,
        }
    }
    remove_if_empty(&folder.join(CHECKPOINTS));
    Ok(())
}

/// The files of a run, as paths inside the folder, and the page about it, which goes where it goes.
fn own(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let there = |name: &PathBuf| folder.join(name).symlink_metadata().is_ok();
    let mut found: Vec<PathBuf> = FILES.iter().map(PathBuf::from).filter(there).collect();
    if is_report(&folder.join(REPORT)) {
        found.push(PathBuf::from(REPORT));
    }
    let checkpoints = folder.join(CHECKPOINTS);
    let entries = match when_free(|| fs::read_dir(&checkpoints)) {
        Ok(entries) => entries,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(found);
        }
        Err(error) => return Err(RunError::read(&checkpoints)(error)),
    };
    for entry in entries {
        let name = entry.map_err(RunError::read(&checkpoints))?.file_name();
        if name.to_str().is_some_and(is_checkpoint) {
            found.push(Path::new(CHECKPOINTS).join(name));
        }
    }
    Ok(found)
}

/// Whether a name is that of a checkpoint, complete or not: `step-16`, `step-16.part` while it is
/// written or removed, `step-16.old` while it is replaced.
pub(super) fn is_checkpoint(name: &str) -> bool {
    let step = name.strip_prefix("step-");
    let step = step.map(|step| {
        let whole = step.strip_suffix(".part").or(step.strip_suffix(".old"));
        whole.unwrap_or(step)
    });
    step.is_some_and(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()))
}

fn move_own(from: &Path, to: &Path) -> Result<(), RunError> {
    for name in own(from)? {
        let target = to.join(&name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(RunError::write(parent))?;
        }
        fs::rename(from.join(&name), &target).map_err(RunError::write(&target))?;
    }
    remove_if_empty(&from.join(CHECKPOINTS));
    Ok(())
}

fn remove_if_empty(folder: &Path) {
    // If it is not empty, it contains something of the user's.
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::report_file::REPORT_MARK;
    use super::*;

    const OLD: &str = r#"{ "version": "", "burn": "", "layout": "old" }"#;
    const NEW: &str = r#"{ "version": "", "burn": "", "layout": "new" }"#;

    /// A run of `mark`, with or without a checkpoint.
    fn write_run(folder: &Path, mark: &str, checkpoint: bool) {
        fs::create_dir_all(folder).unwrap();
        for name in &FILES[..4] {
            fs::write(folder.join(name), mark).unwrap();
        }
        if checkpoint {
            fs::create_dir_all(folder.join("checkpoints/step-4")).unwrap();
            fs::write(folder.join("checkpoints/step-4/state.json"), mark).unwrap();
        }
    }

    /// A finished run of [`OLD`], and a user's files.
    fn old() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_run(folder.path(), OLD, true);
        fs::write(folder.path().join("summary.json"), OLD).unwrap();
        fs::write(folder.path().join("checkpoints/mine"), "mine").unwrap();
        folder
    }

    /// All files, each with the run that it belongs to.
    fn files(folder: &Path) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                let inside = files(&entry.path()).into_iter();
                found.extend(inside.map(|(below, mark)| (format!("{name}/{below}"), mark)));
            } else {
                found.insert((name, fs::read_to_string(entry.path()).unwrap()));
            }
        }
        found
    }

    /// Moves the first `count` files of a run, like a process that is then killed.
    fn move_some(from: &Path, to: &Path, count: usize) {
        for name in own(from).unwrap().into_iter().take(count) {
            fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
            fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    }

    #[test]
    fn an_old_run_is_whole_wherever_setting_it_aside_was_broken_off() {
        for moved in 0..=6 {
            let folder = old();
            let folder = folder.path();
            let before = files(folder);
            fs::create_dir(folder.join(REPLACING)).unwrap();
            move_some(folder, &folder.join(REPLACING), moved);
            settle(folder).unwrap();
            assert_eq!(files(folder), before, "{moved} moved");
            assert!(!folder.join(REPLACING).exists());
        }
    }

    #[test]
    fn an_old_run_is_whole_wherever_putting_it_back_was_broken_off() {
        // A new run that has written this many files, none, or was being removed.
        for written in 0..=4 {
            let folder = old();
            let folder = folder.path();
            let before = files(folder);
            set_aside(folder).unwrap();
            assert_eq!(own(folder).unwrap(), Vec::<PathBuf>::new());
            for name in &FILES[..written] {
                fs::write(folder.join(name), NEW).unwrap();
            }
            fs::create_dir_all(folder.join("checkpoints/step-8.part")).unwrap();
            settle(folder).unwrap();
            assert_eq!(files(folder), before, "{written} written");
        }
        // The new one is removed, and this many files are back.
        for back in 0..=6 {
            let folder = old();
            let folder = folder.path();
            let before = files(folder);
            set_aside(folder).unwrap();
            fs::rename(folder.join(REPLACED), folder.join(REPLACING)).unwrap();
            move_some(&folder.join(REPLACING), folder, back);
            settle(folder).unwrap();
            assert_eq!(files(folder), before, "{back} back");
        }
    }

    #[test]
    fn a_new_run_that_came_to_something_stays_wherever_removing_the_old_one_was_broken_off() {
        for removed in 0..=6 {
            let folder = old();
            let folder = folder.path();
            set_aside(folder).unwrap();
            write_run(folder, NEW, true);
            let replaced = folder.join(REPLACED);
            for name in own(&replaced).unwrap().into_iter().take(removed) {
                let path = replaced.join(name);
                let gone = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
                gone.unwrap();
            }
            settle(folder).unwrap();
            let left = files(folder);
            assert!(left.iter().all(|(_, mark)| mark != OLD), "{left:?}");
            assert_eq!(left.len(), 4 + 1 + 1, "{left:?}");
            assert!(!replaced.exists());
        }
    }

    /// A page of the user's stays; neither is in the way of a run.
    #[test]
    fn the_page_about_a_run_goes_where_it_goes() {
        for (page, goes) in [(REPORT_MARK, true), ("mine", false)] {
            let folder = old();
            let folder = folder.path();
            fs::write(folder.join(REPORT), page).unwrap();
            let before = files(folder);
            set_aside(folder).unwrap();
            assert_eq!(folder.join(REPORT).exists(), !goes);
            assert_eq!(in_the_way(folder).unwrap(), None);
            put_back(folder).unwrap();
            assert_eq!(files(folder), before);
        }
    }

    #[test]
    fn what_a_run_writes_is_known_by_its_name() {
        for own in [
            "config.toml",
            "summary.json",
            "checkpoints",
            "checkpoints/step-16/mean.safetensors",
            "checkpoints/step-16.part",
            ".replaced/config.toml",
            ".lock",
        ] {
            assert!(belongs_to_run(Path::new(own)), "{own}");
        }
        for other in [
            "model.safetensors",
            "plots/config.toml",
            "checkpoints/best.safetensors",
            "checkpoints/step-",
            "checkpoints/step-4x/mean.safetensors",
            "",
        ] {
            assert!(!belongs_to_run(Path::new(other)), "{other}");
        }
    }
}
