//! A bench file and the runs it defines.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{BenchError, PlanProblem};
use crate::config::{Config, ConfigError, TaskTables, looks_like_config};
use crate::error::RunError;
use crate::home;
use crate::storage::read_bounded;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most runs of a bench.
const MAX_RUNS: usize = 10_000;

/// Keys that a bench sets itself, and the key of its file that gives their values.
const OWN_KEYS: [(&str, &str); 6] = [
    ("run.seed", "seeds"),
    ("workers.count", "workers"),
    ("simulate.nodes", "nodes of a method"),
    ("run.name", "name"),
    ("run.folder", "folder"),
    ("run.overwrite", "name"),
];

/// A key that cannot be set for all runs either: a method may have a period of its own.
const KEYS_OF_CASES: [(&str, &str); 1] = [("method.local_period", "periods")];

/// Changes that the command line makes to a bench file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another name.
    pub name: Option<String>,
    /// Overrides for every run; they take precedence over the file.
    pub set: Vec<String>,
}

/// A bench file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the bench: its folder within `folder`.
    pub name: String,
    /// Folder of all benches.
    #[serde(default = "runs")]
    pub folder: PathBuf,
    /// The config that every run starts from.
    pub config: PathBuf,
    /// Overrides for every run, `table.key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// How the runs are made.
    #[serde(default)]
    pub how: How,
    /// Seeds, one run each.
    pub seeds: Vec<u64>,
    /// Numbers of workers, over all nodes.
    pub workers: Vec<u64>,
    /// Local periods.
    pub periods: Vec<u64>,
    /// Values of the task's main metric: the report says what it takes to reach each.
    #[serde(default)]
    pub targets: Vec<f64>,
    /// What is compared.
    pub method: Vec<Variant>,
    /// The command line's overrides.
    #[serde(skip)]
    overrides: Vec<String>,
}

/// How the runs are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// All nodes in one process, under a virtual clock.
    #[default]
    Simulate,
    /// Actually trained, on one node.
    Train,
}

/// One of the variants that are compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its label in the report and in names of runs.
    pub label: String,
    /// Simulated nodes, over which the workers are spread.
    #[serde(default = "one")]
    pub nodes: u64,
    /// Overrides; they take precedence over those for every run.
    #[serde(default)]
    pub set: Vec<String>,
}

fn runs() -> PathBuf {
    PathBuf::from("runs")
}

fn one() -> u64 {
    1
}

/// Runs that differ only in their seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The variant's label.
    pub label: String,
    /// Workers over all nodes.
    pub workers: u64,
    /// Nodes.
    pub nodes: u64,
    /// The local period.
    pub period: u64,
}

/// A run to make.
#[derive(Debug)]
pub struct Entry<T> {
    /// The case it belongs to.
    pub case: Case,
    /// Its seed.
    pub seed: u64,
    /// Its config, folder and name included.
    pub config: Config<T>,
}

impl<T> Entry<T> {
    /// Where the run's folder is.
    pub fn folder(&self) -> PathBuf {
        let run = &self.config.settings.run;
        run.path()
    }
}

impl Plan {
    /// Reads a bench file for a program with the tables `T`, and applies the changes.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], or [`BenchError::Plan`] for an invalid file.
    pub fn load<T: TaskTables>(path: &Path, changes: Changes) -> Result<Self, RunError> {
        let plan = Self::read(path, T::MISSING_BENCH)?;
        Ok(plan.change(changes)?)
    }

    fn read(path: &Path, advice: &'static str) -> Result<Self, RunError> {
        let wrong = |problem| BenchError::Plan {
            place: path.display().to_string(),
            problem,
        };
        match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(wrong(PlanProblem::Missing { advice }).into());
            }
            Ok(found) if found.is_dir() => {
                return Err(wrong(PlanProblem::Folder { advice }).into());
            }
            _ => {}
        }
        let text = read_bounded(path, MAX_FILE)?;
        let plan = Self::parse(text, advice).and_then(|plan| plan.check().map(|()| plan));
        Ok(plan.map_err(wrong)?)
    }

    fn parse(text: Vec<u8>, advice: &'static str) -> Result<Self, PlanProblem> {
        let text = String::from_utf8(text).map_err(|_| PlanProblem::NotText)?;
        let mut plan: Self =
            toml::from_str(&text).map_err(|error| match looks_like_config(&text) {
                true => PlanProblem::Config { advice },
                false => PlanProblem::Unread {
                    reason: error.message().replace('\n', " "),
                },
            })?;
        for (key, path) in [("folder", &mut plan.folder), ("config", &mut plan.config)] {
            let expanded = home::expand(path);
            *path = expanded.map_err(|reason| PlanProblem::Path {
                key,
                path: path.clone(),
                reason,
            })?;
        }
        Ok(plan)
    }

    fn change(mut self, Changes { name, set }: Changes) -> Result<Self, BenchError> {
        let argument = |argument: &str| {
            let place = argument.to_owned();
            |problem| BenchError::Plan { place, problem }
        };
        if let Some(name) = name {
            check_name("name", &name).map_err(argument("--name"))?;
            self.name = name;
        }
        check_keys(&set, OWN_KEYS.iter().chain(&KEYS_OF_CASES)).map_err(argument("--set"))?;
        self.overrides = set;
        Ok(self)
    }

    fn check(&self) -> Result<(), PlanProblem> {
        check_name("name", &self.name)?;
        check_once("label", self.method.iter().map(|variant| &variant.label))?;
        check_once("seeds", &self.seeds)?;
        check_once("workers", &self.workers)?;
        check_once("periods", &self.periods)?;
        let of_methods = self.method.iter().flat_map(|variant| &variant.set);
        check_keys(self.set.iter().chain(of_methods), &OWN_KEYS)?;
        for variant in &self.method {
            self.check_variant(variant)?;
        }
        let lists = [
            ("method", self.method.len()),
            ("seeds", self.seeds.len()),
            ("workers", self.workers.len()),
            ("periods", self.periods.len()),
        ];
        if let Some((key, _)) = lists.into_iter().find(|(_, len)| *len == 0) {
            return Err(PlanProblem::Empty { key });
        }
        let runs = lists
            .into_iter()
            .fold(1, |runs: usize, (_, len)| runs.saturating_mul(len));
        match runs > MAX_RUNS {
            true => Err(PlanProblem::TooMany {
                runs,
                most: MAX_RUNS,
            }),
            false => Ok(()),
        }
    }

    fn check_variant(&self, variant: &Variant) -> Result<(), PlanProblem> {
        let Variant { label, nodes, .. } = variant;
        check_name("label", label)?;
        let uneven = |workers: &&u64| *nodes == 0 || !workers.is_multiple_of(*nodes);
        if let Some(workers) = self.workers.iter().find(uneven) {
            return Err(PlanProblem::Uneven {
                workers: *workers,
                nodes: *nodes,
                label: label.clone(),
            });
        }
        match *nodes > 1 && self.how == How::Train {
            true => Err(PlanProblem::SeveralNodes {
                label: label.clone(),
                nodes: *nodes,
            }),
            false => Ok(()),
        }
    }

    /// The folder of the bench.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// All runs, those of a case together.
    ///
    /// # Errors
    ///
    /// The error of the first run whose config is invalid.
    pub fn entries<T: TaskTables>(&self) -> Result<Vec<Entry<T>>, ConfigError> {
        let mut entries = Vec::new();
        for &workers in &self.workers {
            for &period in &self.periods {
                for variant in &self.method {
                    for &seed in &self.seeds {
                        entries.push(self.entry(variant, workers, period, seed)?);
                    }
                }
            }
        }
        Ok(entries)
    }

    fn entry<T: TaskTables>(
        &self,
        variant: &Variant,
        workers: u64,
        period: u64,
        seed: u64,
    ) -> Result<Entry<T>, ConfigError> {
        let Variant { label, nodes, set } = variant;
        let general = [
            format!("workers.count={}", workers / nodes),
            format!("simulate.nodes={nodes}"),
            format!("method.local_period={period}"),
            format!("run.seed={seed}"),
        ];
        let folder = toml::Value::from(self.path().join("runs").to_string_lossy().into_owned());
        let place = [
            format!("run.folder={folder}"),
            format!("run.name=\"{label}-w{workers}-p{period}-s{seed}\""),
            // What a killed run left behind does no harm.
            String::from("run.overwrite=true"),
        ];
        // Not every method uses what is set for all.
        let key = |set: &String| Some(set.split_once('=')?.0.trim().to_string());
        let own: BTreeSet<String> = set.iter().filter_map(key).collect();
        let shared = self.set.iter().chain(&self.overrides).filter_map(key);
        let shared = shared.filter(|key| !own.contains(key)).collect();
        let given = [set, &self.overrides].into_iter().flatten().cloned();
        let set = self.set.iter().cloned().chain(general);
        let set: Vec<String> = set.chain(given).chain(place).collect();
        Ok(Entry {
            case: Case {
                label: label.clone(),
                workers,
                nodes: *nodes,
                period,
            },
            seed,
            config: Config::load_shared(&self.config, &set, &shared)?,
        })
    }
}

/// Whether a name can be that of a folder, or part of one.
fn check_name(key: &'static str, name: &str) -> Result<(), PlanProblem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let dots = name.chars().all(|c| c == '.');
    match !dots && name.len() <= 64 && name.chars().all(fits) {
        true => Ok(()),
        false => Err(PlanProblem::Name {
            key,
            name: name.to_owned(),
        }),
    }
}

/// Whether overrides leave alone the keys that are set elsewhere.
fn check_keys<'a>(
    sets: impl IntoIterator<Item = &'a String>,
    keys: impl IntoIterator<Item = &'a (&'static str, &'static str)> + Clone,
) -> Result<(), PlanProblem> {
    for set in sets {
        let (set, _) = set.split_once('=').unwrap_or((set, ""));
        let said = keys.clone().into_iter().find(|(key, _)| *key == set.trim());
        if let Some(&(key, instead)) = said {
            return Err(PlanProblem::Reserved { key, instead });
        }
    }
    Ok(())
}

/// Whether there are no duplicates.
fn check_once<T: Ord + Debug>(
    key: &'static str,
    values: impl IntoIterator<Item = T>,
) -> Result<(), PlanProblem> {
    let mut seen = BTreeSet::new();
    for value in values {
        let text = format!("{value:?}");
        if !seen.insert(value) {
            return Err(PlanProblem::Repeated { key, value: text });
        }
    }
    Ok(())
}
