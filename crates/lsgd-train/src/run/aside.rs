//! What a run writes into its folder, and how that of one run makes room for another's.
//!
//! Everything else that lies in the folder is somebody else's and stays where it is. An old run is
//! moved into `.replaced`; it is removed once the new one has come to something, and moved back if the
//! new one ends before that. It is moved by way of `.replacing`, so that it can be told at any moment
//! whose the files are, should the process be killed:
//!
//! | there is | files of a run in the folder are | what [`settle`] does |
//! |---|---|---|
//! | `.replacing` | the old one's, and so are those in it | moves all back |
//! | `.replaced` | the new one's | removes the old ones, or if the new one came to nothing, removes its files and moves the old ones back |

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::files::{read_json, remove_folder};
use super::lock::LOCK;
use crate::error::TrainError;

/// The files of a run.
const FILES: [&str; 5] = [
    "config.toml",
    "run.json",
    "metrics.jsonl",
    "events.jsonl",
    "summary.json",
];

/// The folder whose `step-N` are a run's.
const CHECKPOINTS: &str = "checkpoints";

/// Where an old run is while it is moved.
const REPLACING: &str = ".replacing";

/// Where an old run is until the new one has come to something.
const REPLACED: &str = ".replaced";

/// What is looked for in a `run.json` to tell that this program wrote it.
#[derive(Deserialize)]
#[allow(dead_code, reason = "that they are there is all that is asked")]
struct Sign {
    version: String,
    burn: String,
    layout: String,
}

/// Whether a folder holds a run.
pub(crate) fn is_run(folder: &Path) -> bool {
    read_json::<Sign>(&folder.join("run.json")).is_ok()
}

/// What in a folder without a run has the name of a file of a run.
pub(super) fn in_the_way(folder: &Path) -> Result<Option<PathBuf>, TrainError> {
    match is_run(folder) {
        true => Ok(None),
        false => Ok(own(folder)?.into_iter().next()),
    }
}

/// Whether a path inside the folder of a run belongs to the run, there or yet to come.
pub(crate) fn belongs_to_run(inside: &Path) -> bool {
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

/// Whether a run has come to something that can be used: it has ended, or has a checkpoint.
pub(super) fn came_to_something(folder: &Path) -> Result<bool, TrainError> {
    let worth = |name: &PathBuf| {
        name.as_os_str() == "summary.json"
            || name.starts_with(CHECKPOINTS) && name.extension().is_none()
    };
    Ok(own(folder)?.iter().any(worth))
}

/// Whether an old run lies there that made room for another, or is on its way.
pub(super) fn is_aside(folder: &Path) -> bool {
    [REPLACING, REPLACED]
        .iter()
        .any(|name| folder.join(name).is_dir())
}

/// Moves the run of a folder aside.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`]; [`put_back`] then undoes what was done.
pub(super) fn set_aside(folder: &Path) -> Result<(), TrainError> {
    let (replacing, replaced) = (folder.join(REPLACING), folder.join(REPLACED));
    move_own(folder, &replacing)?;
    fs::rename(&replacing, &replaced).map_err(TrainError::write(&replaced))
}

/// Moves the run that was set aside back, in place of whatever has begun there since.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`]; it can be done again.
pub(super) fn put_back(folder: &Path) -> Result<(), TrainError> {
    let (replacing, replaced) = (folder.join(REPLACING), folder.join(REPLACED));
    if replaced.is_dir() && !replacing.is_dir() {
        remove_own(folder)?;
        fs::rename(&replaced, &replacing).map_err(TrainError::write(&replacing))?;
    }
    finish_moving(folder)
}

/// Removes the run that was set aside.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`]; it can be done again.
pub(super) fn discard(folder: &Path) -> Result<(), TrainError> {
    let replaced = folder.join(REPLACED);
    remove_own(&replaced)?;
    remove_if_empty(&replaced);
    Ok(())
}

/// Moves back what was on its way aside, or back, when the process was killed.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`]; it can be done again.
pub(super) fn finish_moving(folder: &Path) -> Result<(), TrainError> {
    let replacing = folder.join(REPLACING);
    if replacing.is_dir() {
        move_own(&replacing, folder)?;
        remove_if_empty(&replacing);
    }
    Ok(())
}

/// Ends what a process that was killed had begun; see the table above.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`]; it can be done again.
pub(super) fn settle(folder: &Path) -> Result<(), TrainError> {
    finish_moving(folder)?;
    match folder.join(REPLACED).is_dir() {
        true if came_to_something(folder)? => discard(folder),
        true => put_back(folder),
        false => Ok(()),
    }
}

/// Removes what is there of a run.
///
/// # Errors
///
/// [`TrainError::Read`] or [`TrainError::Write`].
pub(super) fn remove_own(folder: &Path) -> Result<(), TrainError> {
    for name in own(folder)? {
        let path = folder.join(name);
        match path.is_dir() && !path.is_symlink() {
            true => remove_folder(&path)?,
            false => fs::remove_file(&path).map_err(TrainError::write(&path))?,
        }
    }
    remove_if_empty(&folder.join(CHECKPOINTS));
    Ok(())
}

/// What is there of a run, as paths inside the folder.
fn own(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let there = |name: &PathBuf| folder.join(name).symlink_metadata().is_ok();
    let mut found: Vec<PathBuf> = FILES.iter().map(PathBuf::from).filter(there).collect();
    let checkpoints = folder.join(CHECKPOINTS);
    let entries = match fs::read_dir(&checkpoints) {
        Ok(entries) => entries,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(found);
        }
        Err(error) => return Err(TrainError::read(&checkpoints)(error)),
    };
    for entry in entries {
        let name = entry.map_err(TrainError::read(&checkpoints))?.file_name();
        if name.to_str().is_some_and(is_checkpoint) {
            found.push(Path::new(CHECKPOINTS).join(name));
        }
    }
    Ok(found)
}

/// Whether a name is that of a checkpoint, whole or not: `step-16`, `step-16.part`.
fn is_checkpoint(name: &str) -> bool {
    let step = name.strip_prefix("step-");
    let step = step.map(|step| step.strip_suffix(".part").unwrap_or(step));
    step.is_some_and(|step| !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()))
}

fn move_own(from: &Path, to: &Path) -> Result<(), TrainError> {
    for name in own(from)? {
        let target = to.join(&name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(TrainError::write(parent))?;
        }
        fs::rename(from.join(&name), &target).map_err(TrainError::write(&target))?;
    }
    remove_if_empty(&from.join(CHECKPOINTS));
    Ok(())
}

fn remove_if_empty(folder: &Path) {
    // If it is not, something of somebody else's is in it.
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OLD: &str = r#"{ "version": "", "burn": "", "layout": "old" }"#;
    const NEW: &str = r#"{ "version": "", "burn": "", "layout": "new" }"#;

    /// A run of `mark`, with a checkpoint or without.
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

    /// All files, each with the run that it is of.
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

    /// Moves the first `count` files of a run, as a process does that is killed then.
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
        // A new run that has written so many files, none, or was being removed.
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
        // The new one is removed, and so many files are back.
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
