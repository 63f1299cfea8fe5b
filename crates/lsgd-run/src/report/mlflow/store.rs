//! A folder that MLflow keeps its runs in.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::RunError;
use crate::output::is_of_a_run;
use crate::report::ReportError;
use crate::storage::{FileError, read_bounded, write_whole};

/// What the experiment of all runs is called in paths.
pub const EXPERIMENT: &str = "190510395";

/// Its name.
const NAME: &str = "Leader SGD";

/// Largest description of an experiment that is read, in bytes.
const MAX_META: u64 = 1 << 20;

/// A store, with the experiment of all runs.
#[derive(Debug)]
pub struct Store {
    experiment: PathBuf,
}

impl Store {
    /// Opens or makes a store.
    ///
    /// # Errors
    ///
    /// [`ReportError::NoMlflowStore`] if the folder holds something else; [`FileError::OfARun`];
    /// [`RunError::Read`] or [`RunError::Write`].
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        if is_of_a_run(&resolved(folder)?) {
            let path = folder.to_owned();
            return Err(FileError::OfARun { path }.into());
        }
        fs::create_dir_all(folder).map_err(RunError::write(folder))?;
        let root = folder.canonicalize().map_err(RunError::read(folder))?;
        if !is_fit(&root)? {
            let path = folder.to_owned();
            return Err(ReportError::NoMlflowStore { path }.into());
        }
        let experiment = root.join(EXPERIMENT);
        fs::create_dir_all(&experiment).map_err(RunError::write(&experiment))?;
        let meta = experiment.join("meta.yaml");
        if !meta.exists() {
            let text = format!(
                "artifact_location: {}\nexperiment_id: '{EXPERIMENT}'\nlifecycle_stage: active\n\
                 name: {}\n",
                quoted(&experiment.display().to_string()),
                quoted(NAME)
            );
            write_whole(&meta, text.as_bytes())?;
        }
        Ok(Self { experiment })
    }

    /// Puts the entry of a run in its place, once `fill` has written it to a folder with that of its artifacts
    /// at the end. An earlier entry of the run leaves.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`], or that of `fill`; the earlier entry then stays.
    pub fn put(
        &self,
        id: &str,
        fill: impl FnOnce(&Path, &Path) -> Result<(), RunError>,
    ) -> Result<(), RunError> {
        let place = self.experiment.join(id);
        // MLflow passes over a folder without a description. It is private to its owner; what is in it is not.
        let beside = tempfile::Builder::new()
            .prefix(".lsgd-")
            .tempdir_in(&self.experiment);
        let beside = beside.map_err(RunError::write(&self.experiment))?;
        let (entry, old) = (beside.path().join("new"), beside.path().join("old"));
        fs::create_dir(&entry).map_err(RunError::write(&entry))?;
        fill(&entry, &place.join("artifacts"))?;
        let replaces = match fs::rename(&place, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(RunError::write(&place)(error)),
        };
        let put = fs::rename(&entry, &place);
        if put.is_err() && replaces && fs::rename(&old, &place).is_err() {
            // The earlier entry then stays beside its place.
            let _ = beside.keep();
        }
        put.map_err(RunError::write(&place))
    }
}

/// Where a folder is or would be, without links.
fn resolved(folder: &Path) -> Result<PathBuf, RunError> {
    let absolute = std::path::absolute(folder).map_err(RunError::write(folder))?;
    let existing = absolute.ancestors().find_map(|ancestor| {
        let canonical = ancestor.canonicalize().ok()?;
        Some(canonical.join(absolute.strip_prefix(ancestor).ok()?))
    });
    Ok(existing.unwrap_or(absolute))
}

/// Whether a folder is empty, or has an experiment of MLflow.
fn is_fit(folder: &Path) -> Result<bool, RunError> {
    let mut is_empty = true;
    for entry in fs::read_dir(folder).map_err(RunError::read(folder))? {
        let path = entry.map_err(RunError::read(folder))?.path();
        is_empty = false;
        let meta = path.join("meta.yaml");
        if path.file_name() == Some(EXPERIMENT.as_ref()) && path.is_dir() && !meta.exists() {
            // An export that was killed had only begun.
            return Ok(true);
        }
        let described = |text: Vec<u8>| {
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().any(|line| line.starts_with("experiment_id:"))
        };
        if meta.is_file() && read_bounded(&meta, MAX_META).is_ok_and(described) {
            return Ok(true);
        }
    }
    Ok(is_empty)
}

/// A text as it stands in YAML, which takes what JSON has.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_or_a_store_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/store");
        Store::open(&path).unwrap();
        Store::open(&path).unwrap();
        // As MLflow makes it itself.
        let made = folder.path().join("mlruns");
        fs::create_dir_all(made.join("0")).unwrap();
        fs::write(
            made.join("0/meta.yaml"),
            "artifact_location: x\nexperiment_id: '0'\n",
        )
        .unwrap();
        Store::open(&made).unwrap();
        let mine = folder.path().join("mine");
        fs::create_dir_all(mine.join("notes")).unwrap();
        fs::write(mine.join("notes/meta.yaml"), "about: cats\n").unwrap();
        let error = Store::open(&mine).unwrap_err().to_string();
        assert!(error.contains("neither empty nor"), "{error}");
        assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
        // What an export that was killed had begun.
        let begun = folder.path().join("begun");
        fs::create_dir_all(begun.join(EXPERIMENT)).unwrap();
        Store::open(&begun).unwrap();
    }

    #[test]
    fn an_entry_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let write = |text: &'static str, name: &'static str| {
            move |place: &Path, _: &Path| {
                let path = place.join(name);
                fs::write(&path, text).map_err(RunError::write(&path))
            }
        };
        store.put("a", write("one", "first")).unwrap();
        store.put("b", write("other", "first")).unwrap();
        store.put("a", write("two", "second")).unwrap();
        let files = |id: &str| {
            let entries = fs::read_dir(store.experiment.join(id)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(
            (files("a"), files("b")),
            (vec!["second".into()], vec!["first".into()])
        );
        let failed = store.put("a", |place, artifacts| {
            write("three", "third")(place, artifacts)?;
            Err(RunError::Interrupted)
        });
        assert!(failed.is_err());
        assert_eq!(files("a"), ["second"]);
        // Nothing of it is left beside.
        assert_eq!(files(""), ["a", "b", "meta.yaml"]);
    }
}
