//! Which runs of a folder are shown while they go on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::run::{Run, folders};
use crate::error::RunError;
use crate::storage::is_run;
use crate::words::count;

/// The runs that are shown of a folder.
#[derive(Debug)]
pub struct Found {
    /// In the order of their paths, which does not change while they go on.
    pub runs: Vec<Run>,
    /// What is not shown, and why.
    pub left_out: Vec<String>,
}

/// Reads what is to be shown of `root`: the run that it is, or all nodes of one; else of the runs in it or in
/// its `runs`, as a bench has them, those that were written to last. At most `most` are read.
///
/// What cannot be read is left out: a run that begins just now, a folder of another's, a damaged file.
///
/// # Errors
///
/// [`RunError::NothingToShow`] if there is no run yet, or the first error if none can be read.
pub fn read(root: &Path, most: usize) -> Result<Found, RunError> {
    let mut paths = match folders(root) {
        Ok(own) if has_begun(&own) => own,
        _ => newest(root, most)?,
    };
    let mut found = Found {
        runs: Vec::new(),
        left_out: Vec::new(),
    };
    if paths.len() > most {
        let more = count(paths.len() - most, "more node");
        found.left_out.push(format!("{more}, of {}", paths.len()));
        paths.truncate(most);
    }
    let mut first = None;
    for path in paths {
        // On one thread: whoever looks takes no more than one core from those who train.
        match Run::read(&path, 1) {
            Ok(run) => found.runs.push(run),
            Err(why) => {
                found.left_out.push(why.to_string());
                first.get_or_insert(why);
            }
        }
    }
    match (found.runs.is_empty(), first) {
        (false, _) => Ok(found),
        (true, Some(why)) => Err(why),
        (true, None) => Err(RunError::NothingToShow {
            path: root.to_owned(),
        }),
    }
}

fn has_begun(folders: &[PathBuf]) -> bool {
    let has_begun = |path: &PathBuf| is_run(path) && path.join("config.toml").is_file();
    folders.iter().all(has_begun)
}

/// The folders of the runs in `root` and in its `runs` that were written to last, in the order of their paths.
///
/// # Errors
///
/// [`RunError::Read`] if one of both cannot be read.
fn newest(root: &Path, most: usize) -> Result<Vec<PathBuf>, RunError> {
    let mut found = Vec::new();
    for folder in [root.to_owned(), root.join("runs")] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(RunError::read(&folder))?,
        };
        for entry in entries {
            let path = entry.map_err(RunError::read(&folder))?.path();
            // What cannot be read is no run of this user's.
            let Ok(of_it) = folders(&path) else { continue };
            if has_begun(&of_it) {
                let written = |path: &PathBuf| path.join("metrics.jsonl").metadata()?.modified();
                // Of one that has just begun there is no such file yet: it is the newest.
                let written = of_it.iter().map(|path| written(path).ok());
                let newest = written.map(|written| (written.is_none(), written)).max();
                found.push((newest, of_it));
            }
        }
    }
    found.sort_by(|(one, of_one), (other, of_other)| (other, of_one).cmp(&(one, of_other)));
    let mut newest: Vec<PathBuf> = Vec::new();
    for (_, of_it) in found {
        let room = most - newest.len();
        newest.extend(of_it.into_iter().take(room));
    }
    newest.sort();
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        folder
    }

    const SIGN: &str = r#"{"version":"1","burn":"1","layout":"1"}"#;

    #[test]
    fn of_a_folder_of_runs_those_written_last_are_chosen_in_an_order_that_stays() {
        let root = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now();
        for (name, age) in [("c", 1), ("a", 2), ("b", 3)] {
            let files = [
                ("run.json", SIGN),
                ("config.toml", ""),
                ("metrics.jsonl", ""),
            ];
            let folder = made(root.path(), name, &files);
            let file = fs::File::options()
                .append(true)
                .open(folder.join("metrics.jsonl"));
            let age = std::time::Duration::from_secs(age);
            file.unwrap().set_modified(now - age).unwrap();
        }
        // One that has just begun, one that has not, and what is no run.
        made(
            root.path(),
            "new",
            &[("run.json", SIGN), ("config.toml", "")],
        );
        made(root.path(), "begins", &[("run.json", SIGN)]);
        made(root.path(), "lost+found", &[]);
        fs::write(root.path().join("notes"), "").unwrap();
        let chosen = |most| {
            let paths = newest(root.path(), most).unwrap();
            let names = paths
                .iter()
                .map(|path| path.file_name().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(chosen(3), ["a", "c", "new"]);
        assert_eq!(chosen(32), ["a", "b", "c", "new"]);
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let files = [("run.json", SIGN), ("config.toml", "")];
        made(root.path(), "damaged", &files);
        let why = read(root.path(), 32).unwrap_err().to_string();
        assert!(why.contains("damaged"), "{why}");
        let nothing = tempfile::tempdir().unwrap();
        let why = read(nothing.path(), 32).unwrap_err().to_string();
        assert!(why.ends_with("no run has begun here yet"), "{why}");
    }
}
