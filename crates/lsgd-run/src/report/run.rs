//! A run, as far as a page shows it: everything is read from its folder.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::events::{Events, LOG};
use super::links::Counters;
use super::metrics::{Metrics, Scored};
use super::settings::{self, Settings};
use super::thinning::{Point, Spent};
use crate::error::RunError;
use crate::storage::{
    Held, RunFolder, RunRecord, State, Summary, held, node_folders, read_bounded,
};
use crate::wording::Told;

/// Largest `summary.json` that is read, in bytes.
const MAX_RECORD: u64 = 32 << 20;

/// Most values of a summary's list that are shown.
const MAX_LIST: usize = 8;

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it is called on the page.
    pub name: String,
    /// Its `run.json`.
    pub record: RunRecord,
    /// Its `config.toml`.
    pub settings: Settings,
    /// Its `summary.json`, if it has ended.
    pub summary: Option<Summary>,
    /// All of that, as names and values.
    pub figures: Vec<(String, String)>,
    /// How it stands.
    pub state: State,
    /// Its `metrics.jsonl`.
    pub metrics: Metrics,
    /// Its `events.jsonl`.
    pub events: Events,
    /// Its number among the nodes of one run, from 1.
    pub node: Option<u32>,
    /// The folder of the run, in which those of its nodes are.
    pub folder: PathBuf,
    /// The newest of what a run tells while it trains, in order.
    pub log: Vec<Told>,
    /// Bytes of all exchanges until each evaluation.
    bytes: Vec<(f64, f64)>,
}

impl Run {
    /// Reads the folder at `path`, on up to `threads` threads; the run is the same with any number.
    ///
    /// # Errors
    ///
    /// [`RunError`] if it is not a run, or a file of it cannot be read.
    pub fn read(path: &Path, threads: usize) -> Result<Self, RunError> {
        // Before all else: a process that ends writes what it has left before it lets go.
        let held = held(path);
        let folder = RunFolder::read_only(path)?;
        let record = folder.record()?;
        let settings = settings::read(&folder.join("config.toml"))?;
        let (summary, figures) = read_summary(&folder.join("summary.json"))?;
        // The process that writes its summary makes a page as well, and may not have let go yet.
        let held = summary.as_ref().map_or(held, |_| Held::No);
        let state = State::of(path, held, summary.as_ref())?;
        let metrics = Metrics::read(&folder.join("metrics.jsonl"), threads)?;
        let evaluated = metrics.evaluated();
        let node = number(path);
        let own = node.map_or(0, |node| node.saturating_sub(1));
        let mut events = Events::read(&folder.join("events.jsonl"), own, &evaluated, threads)?;
        if let Some(peers) = summary.as_ref().and_then(exchanged) {
            events.links.end(peers);
        }
        let bytes = events.bytes_until().unwrap_or_default();
        Ok(Self {
            name: name(path, &settings),
            log: newest(metrics.log(&record.metrics), &events.log),
            folder: match path.parent() {
                Some(run) if node.is_some() => run.to_owned(),
                _ => path.to_owned(),
            },
            node,
            bytes: evaluated.into_iter().zip(bytes).collect(),
            record,
            settings,
            summary,
            figures,
            state,
            metrics,
            events,
        })
    }

    /// Points of evaluations, with the bytes of all exchanges until then.
    pub fn with_bytes(&self, mut points: Vec<Point>) -> Vec<Point> {
        for point in &mut points {
            let at = &mut point.at;
            let found = self
                .bytes
                .binary_search_by(|(seconds, _)| seconds.total_cmp(&at.seconds));
            at.bytes = found.map_or(f64::NAN, |index| self.bytes[index].1);
        }
        points
    }

    /// Whether the bytes of exchanges are on record.
    pub fn has_bytes(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// A key of its config, without quotes.
    pub fn setting(&self, key: &str) -> Option<&str> {
        let value = self.settings.get(key)?;
        Some(value.trim_matches('"'))
    }

    /// Whether its seconds are those of a virtual clock.
    pub fn is_simulated(&self) -> bool {
        // Records of earlier versions say it only at the end.
        let simulated = |summary: &Summary| summary.simulated.is_some();
        self.record.simulated || self.summary.as_ref().is_some_and(simulated)
    }

    /// The last moment on record.
    pub fn end(&self) -> Option<Spent> {
        let ends = [self.metrics.end, self.events.end].into_iter().flatten();
        ends.max_by(|one, other| one.seconds.total_cmp(&other.seconds))
    }

    /// The metrics that have scores, the main one first.
    pub fn scored(&self) -> Vec<(&str, &BTreeMap<Scored, super::thinning::Thinned>)> {
        let known = self
            .record
            .metrics
            .iter()
            .map(|metric| metric.name.as_str());
        let other = self.metrics.scores.keys().map(String::as_str);
        let mut names: Vec<&str> = Vec::new();
        for name in known.take(MAX_METRICS).chain(other) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let scores = |name: &'_ str| self.metrics.scores.get_key_value(name);
        let scored = names.into_iter().filter_map(scores);
        scored.map(|(name, of)| (name.as_str(), of)).collect()
    }
}

/// The number of the node in this folder, from 1; of a run of one node, none.
fn number(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("node-")?.parse().ok()
}

/// What a node has exchanged with others, as its summary says.
fn exchanged(summary: &Summary) -> Option<Counters> {
    // Another build writes it in another type.
    let mut traffic = serde_json::to_value(&summary.nodes.as_ref()?.traffic).ok()?;
    serde_json::from_value(traffic.get_mut("peers")?.take()).ok()
}

/// The newest of both, in order.
fn newest(evaluations: Vec<Told>, events: &VecDeque<Told>) -> Vec<Told> {
    let mut log = evaluations;
    log.extend(events.iter().cloned());
    log.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    log.split_off(log.len().saturating_sub(LOG))
}

/// What a run is called: by its config; of a node, also which one it is.
pub fn name(path: &Path, settings: &Settings) -> String {
    let name = settings.get("run.name").map(|name| name.trim_matches('"'));
    let last = path.file_name().map(|name| name.to_string_lossy());
    let node = last.as_deref().filter(|last| last.starts_with("node-"));
    match (name, node) {
        (Some(name), Some(node)) => format!("{name} {node}"),
        (Some(name), None) => name.to_owned(),
        (None, _) => path.display().to_string(),
    }
}

/// The folders that a path stands for: a run of several nodes for the folders of all of them.
///
/// # Errors
///
/// [`RunError::Read`].
pub fn folders(path: &Path) -> Result<Vec<PathBuf>, RunError> {
    if path.join("config.toml").exists() || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut nodes: Vec<PathBuf> = node_folders(path)?
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    // One that has not begun has nothing to show.
    nodes.retain(|folder| folder.join("config.toml").exists());
    if nodes.is_empty() {
        nodes.push(path.to_owned());
    }
    Ok(nodes)
}

/// Most figures of a summary that are shown.
const MAX_FIGURES: usize = 2000;
/// Most metrics of a record that are looked for.
const MAX_METRICS: usize = 64;

/// Values by name, in the order of their file.
type Figures = Vec<(String, String)>;

/// The summary, if the run has ended, and all its values.
fn read_summary(path: &Path) -> Result<(Option<Summary>, Figures), RunError> {
    if !path.exists() {
        return Ok((None, Vec::new()));
    }
    let text = read_bounded(path, MAX_RECORD)?;
    let damaged = |why: serde_json::Error| RunError::damaged(path, why);
    let summary: Summary = serde_json::from_slice(&text).map_err(damaged)?;
    let value: Value = serde_json::from_slice(&text).map_err(damaged)?;
    let mut figures = Vec::new();
    flatten("", &value, &mut figures);
    figures.truncate(MAX_FIGURES);
    Ok((Some(summary), figures))
}

fn flatten(name: &str, value: &Value, figures: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match name {
                    "" => field.clone(),
                    name => format!("{name}.{field}"),
                };
                flatten(&name, value, figures);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().take(MAX_LIST).enumerate() {
                flatten(&format!("{name}.{index}"), value, figures);
            }
            if values.len() > MAX_LIST {
                let more = format!("{} more", values.len() - MAX_LIST);
                figures.push((name.to_owned(), more));
            }
        }
        Value::Null => {}
        Value::String(text) => figures.push((name.to_owned(), text.clone())),
        value => figures.push((name.to_owned(), value.to_string())),
    }
}
