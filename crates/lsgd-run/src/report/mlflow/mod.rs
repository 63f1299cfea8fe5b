//! A run as MLflow keeps it in files: what its tracking store of a folder reads.
//!
//! | place in the store | what |
//! |---|---|
//! | `EXPERIMENT/meta.yaml` | the experiment, one for all runs |
//! | `EXPERIMENT/RUN/meta.yaml` | name, start, end and state of a run |
//! | `EXPERIMENT/RUN/params/KEY` | a key of its config |
//! | `EXPERIMENT/RUN/tags/KEY` | where it comes from |
//! | `EXPERIMENT/RUN/metrics/NAME` | a line for each value: milliseconds since 1970, the value, the step |

mod metrics;
mod names;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::settings;
use crate::error::RunError;
use crate::report::ReportError;
use crate::storage::{RunFolder, RunRecord, State, held};
use names::Names;
use store::Store;

/// Most characters of a parameter's value, as MLflow has it.
const VALUE: usize = 6000;

/// Writes the runs in these folders to the store at `folder`, reading on up to `threads` threads. An entry that
/// it has of one of them is replaced.
///
/// # Errors
///
/// If a run cannot be read, two have one entry, `folder` holds something else than a store, or it cannot be
/// written. The entries of runs before it are then there, and none is half-written.
pub fn write(runs: &[PathBuf], folder: &Path, threads: usize) -> Result<(), RunError> {
    let sources = runs.iter().map(|path| Source::read(path));
    let sources = sources.collect::<Result<Vec<Source>, RunError>>()?;
    let mut entries: BTreeMap<String, &Path> = BTreeMap::new();
    for (source, run) in sources.iter().zip(runs) {
        if let Some(first) = entries.insert(source.id(), run) {
            let [first, second] = [first, run].map(Path::to_owned);
            return Err(ReportError::OneMlflowEntry { first, second }.into());
        }
    }
    let store = Store::open(folder)?;
    for source in &sources {
        store.put(&source.id(), |place, artifacts| {
            source.write(place, artifacts, threads)
        })?;
    }
    Ok(())
}

/// A run to be exported.
struct Source {
    folder: RunFolder,
    name: String,
    record: RunRecord,
    settings: settings::Settings,
    state: State,
}

impl Source {
    fn read(path: &Path) -> Result<Self, RunError> {
        // The name of a node is that of its folder, however it is reached.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // Before all else: a process that ends writes what it has left before it lets go.
        let held = held(path);
        let folder = RunFolder::read_only(path)?;
        let settings = settings::read(&folder.join("config.toml"))?;
        let summary = folder.summary_if_any()?;
        Ok(Self {
            name: super::run::name(path, &settings),
            record: folder.record()?,
            state: State::of(path, held, summary.as_ref())?,
            settings,
            folder,
        })
    }

    /// What it is called in a store: the same for a run wherever it is moved, and however often it is
    /// continued.
    fn id(&self) -> String {
        let RunRecord { start, seed, .. } = &self.record;
        let own = format!("{}\n{start}\n{seed}", self.name);
        let digest = blake3::hash(own.as_bytes()).to_hex();
        digest.chars().take(32).collect()
    }

    /// Writes its entry into a new folder.
    fn write(&self, place: &Path, artifacts: &Path, threads: usize) -> Result<(), RunError> {
        for folder in ["params", "tags", "metrics", "artifacts"] {
            let folder = place.join(folder);
            fs::create_dir(&folder).map_err(RunError::write(&folder))?;
        }
        let mut names = Names::default();
        for (key, value) in &self.settings {
            let value: String = plain(value).chars().take(VALUE).collect();
            file(&place.join("params").join(names.of(key)), &value)?;
        }
        for (key, value) in self.tags() {
            let value: String = value.chars().take(VALUE).collect();
            file(&place.join("tags").join(key), &value)?;
        }
        let start = milliseconds(&self.record.start).unwrap_or(0);
        metrics::write(&self.folder, start, &place.join("metrics"), threads)?;
        file(&place.join("meta.yaml"), &self.meta(start, artifacts))
    }

    fn tags(&self) -> Vec<(&'static str, String)> {
        let record = &self.record;
        let machine = &record.machine;
        let mut tags = vec![
            ("mlflow.runName", self.name.clone()),
            ("mlflow.source.name", String::from("lsgd-run")),
            ("state", self.state.name().to_owned()),
            ("version", record.version.clone()),
            ("burn", record.burn.clone()),
            (
                "machine",
                format!("{} {}", machine.os, machine.architecture),
            ),
            ("devices", record.devices.join(", ")),
            ("parameters", record.parameters.to_string()),
        ];
        if let Some(commit) = &record.commit {
            tags.push(("mlflow.source.git.commit", commit.clone()));
        }
        tags
    }

    fn meta(&self, start: u64, artifacts: &Path) -> String {
        let end = self.record.end.as_deref().and_then(milliseconds);
        // The end of a run that has continued since is that of an earlier stop.
        let end =
            end.filter(|_| matches!(self.state, State::Ended | State::Stopped | State::Diverged));
        let end = end.map_or_else(|| String::from("null"), |end| end.to_string());
        let id = self.id();
        format!(
            "artifact_uri: {}\nend_time: {end}\nentry_point_name: ''\nexperiment_id: '{}'\n\
             lifecycle_stage: active\nrun_id: '{id}'\nrun_name: {}\nrun_uuid: '{id}'\nsource_name: ''\n\
             source_type: 4\nsource_version: ''\nstart_time: {start}\nstatus: {}\ntags: []\nuser_id: ''\n",
            store::quoted(&artifacts.display().to_string()),
            store::EXPERIMENT,
            store::quoted(&self.name),
            status(self.state)
        )
    }
}

/// MLflow's number of a state: running 1, finished 3, failed 4, killed 5.
fn status(state: State) -> u8 {
    match state {
        State::Running | State::Starting | State::NotEnded => 1,
        State::Ended => 3,
        State::Diverged | State::BrokenOff => 4,
        State::Stopped | State::Killed => 5,
    }
}

/// A value of the config: a text without its quotes, any other as TOML has it.
fn plain(value: &str) -> String {
    let table: Result<toml::Table, _> = format!("value = {value}").parse();
    match table.ok().and_then(|mut table| table.remove("value")) {
        Some(toml::Value::String(text)) => text,
        _ => value.to_owned(),
    }
}

/// A time in RFC 3339 as milliseconds since 1970.
fn milliseconds(time: &str) -> Option<u64> {
    let time: SystemTime = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

fn file(path: &Path, text: &str) -> Result<(), RunError> {
    fs::write(path, text).map_err(RunError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_their_quotes_and_nothing_else() {
        for (value, expected) in [
            ("\"lsgd\"", "lsgd"),
            (r#""a \"b\"""#, "a \"b\""),
            ("0.1", "0.1"),
            ("[1, 2]", "[1, 2]"),
            ("\"\"", ""),
        ] {
            assert_eq!(plain(value), expected);
        }
    }

    #[test]
    fn times_are_milliseconds() {
        assert_eq!(milliseconds("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(milliseconds("then"), None);
    }
}
