//! A bench as its file says it: which runs there are.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::Config;
use crate::error::TrainError;
use crate::home;
use crate::words::count;

/// Largest file that is read, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
/// Most runs of a bench.
const MOST_RUNS: usize = 10_000;

/// Keys that a bench sets itself, and what of its file says their values instead.
const OWN_KEYS: [(&str, &str); 6] = [
    ("run.seed", "seeds"),
    ("workers.count", "workers"),
    ("simulate.nodes", "nodes of a method"),
    ("run.name", "name"),
    ("run.folder", "folder"),
    ("run.overwrite", "name"),
];

/// What cannot be set for all runs besides: a method may have a period of its own.
const KEYS_OF_CASES: [(&str, &str); 1] = [("method.local_period", "periods")];

/// What the command line changes of a bench file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another name.
    pub name: Option<String>,
    /// Overrides for every run; they win over all of the file.
    pub set: Vec<String>,
}

/// A bench file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the bench: its folder below `folder`.
    pub name: String,
    /// Folder of all benches.
    #[serde(default = "runs")]
    pub folder: PathBuf,
    /// The config that every run starts from.
    pub config: PathBuf,
    /// Overrides for every run, `table.key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// How runs are made.
    #[serde(default)]
    pub how: How,
    /// Seeds: a run for each.
    pub seeds: Vec<u64>,
    /// Numbers of workers, over all nodes.
    pub workers: Vec<u64>,
    /// Local periods.
    pub periods: Vec<u64>,
    /// Test errors, in percent: the report says what it takes to come to each.
    #[serde(default)]
    pub errors: Vec<f64>,
    /// What is compared.
    pub method: Vec<Variant>,
    /// The command line's overrides.
    #[serde(skip)]
    overrides: Vec<String>,
}

/// How runs are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By `lsgd-train simulate`.
    #[default]
    Simulate,
    /// For real, on one node.
    Train,
}

/// One of the things that are compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What it is called in the report and in names of runs.
    pub label: String,
    /// Simulated nodes, over which the workers are spread.
    #[serde(default = "one")]
    pub nodes: u64,
    /// Overrides; they win over those for every run.
    #[serde(default)]
    pub set: Vec<String>,
}

fn runs() -> PathBuf {
    PathBuf::from("runs")
}

fn one() -> u64 {
    1
}

/// Runs that differ in their seed alone.
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
pub struct Entry {
    /// What it is one of.
    pub case: Case,
    /// Its seed.
    pub seed: u64,
    /// Its config, folder and name included.
    pub config: Config,
}

impl Plan {
    /// Reads a bench file, and changes it.
    ///
    /// # Errors
    ///
    /// [`TrainError::Read`], or [`TrainError::Bench`] for what makes no sense.
    pub fn load(path: &Path, changes: Changes) -> Result<Self, TrainError> {
        let wrong = |why: String| TrainError::Bench {
            path: path.to_owned(),
            why,
        };
        let advice = "give a bench file, such as configs/bench/smoke.toml";
        match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(wrong(format!("there is no such file; {advice}")));
            }
            Ok(found) if found.is_dir() => {
                return Err(wrong(format!("is a folder; {advice}")));
            }
            _ => {}
        }
        let text = crate::run::read_bounded(path, LARGEST_FILE)?;
        let text = String::from_utf8(text).map_err(|_| wrong(String::from("is not UTF-8 text")))?;
        let mut plan: Self = toml::from_str(&text).map_err(|error| wrong(one_line(&error)))?;
        for (key, path) in [("folder", &mut plan.folder), ("config", &mut plan.config)] {
            let expanded = home::expand(path);
            *path = expanded.map_err(|error| wrong(format!("{key} {path:?} {error}")))?;
        }
        plan.check().map_err(wrong)?;
        plan.change(changes)?;
        Ok(plan)
    }

    fn change(&mut self, Changes { name, set }: Changes) -> Result<(), TrainError> {
        let argument = |argument: &str| {
            let path = PathBuf::from(argument);
            |why| TrainError::Bench { path, why }
        };
        if let Some(name) = name {
            check_name("name", &name).map_err(argument("--name"))?;
            self.name = name;
        }
        check_keys(&set, OWN_KEYS.iter().chain(&KEYS_OF_CASES)).map_err(argument("--set"))?;
        self.overrides = set;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        check_name("name", &self.name)?;
        check_once("label", self.method.iter().map(|variant| &variant.label))?;
        check_once("seeds", &self.seeds)?;
        check_once("workers", &self.workers)?;
        check_once("periods", &self.periods)?;
        let of_methods = self.method.iter().flat_map(|variant| &variant.set);
        check_keys(self.set.iter().chain(of_methods), &OWN_KEYS)?;
        for Variant { label, nodes, .. } in &self.method {
            check_name("label", label)?;
            for workers in &self.workers {
                if *nodes == 0 || !workers.is_multiple_of(*nodes) {
                    return Err(format!(
                        "{} cannot be spread over the {} of {label:?}; give a multiple",
                        count(workers, "worker"),
                        count(nodes, "node"),
                    ));
                }
            }
            if *nodes > 1 && self.how == How::Train {
                return Err(format!(
                    "{label:?} has {nodes} nodes, and how = \"train\" has one; use \"simulate\""
                ));
            }
        }
        for (key, there) in [
            ("method", self.method.len()),
            ("seeds", self.seeds.len()),
            ("workers", self.workers.len()),
            ("periods", self.periods.len()),
        ] {
            if there == 0 {
                return Err(format!("{key} is empty; give at least one"));
            }
        }
        let runs = [self.seeds.len(), self.workers.len(), self.periods.len()];
        let runs = runs
            .iter()
            .fold(self.method.len(), |all, n| all.saturating_mul(*n));
        match runs > MOST_RUNS {
            true => Err(format!("{runs} runs are more than {MOST_RUNS}; give fewer")),
            false => Ok(()),
        }
    }

    /// Where everything is.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// All runs, those of a case together.
    ///
    /// # Errors
    ///
    /// [`TrainError::Config`] of the first whose config is wrong.
    pub fn entries(&self) -> Result<Vec<Entry>, TrainError> {
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

    fn entry(
        &self,
        variant: &Variant,
        workers: u64,
        period: u64,
        seed: u64,
    ) -> Result<Entry, TrainError> {
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
            // What a run that was killed has left is in the way of nothing.
            String::from("run.overwrite=true"),
        ];
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
            config: Config::load(&self.config, &set)?,
        })
    }
}

/// Whether a name can be that of a folder, or a part of it.
fn check_name(key: &str, name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let dots = name.chars().all(|c| c == '.');
    match !dots && name.len() <= 64 && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "{key} {name:?} is no name of a folder; use letters, digits, - and _"
        )),
    }
}

/// Whether overrides leave alone the keys that something else says.
fn check_keys<'a>(
    sets: impl IntoIterator<Item = &'a String>,
    keys: impl IntoIterator<Item = &'a (&'static str, &'static str)> + Clone,
) -> Result<(), String> {
    for set in sets {
        let (set, _) = set.split_once('=').unwrap_or((set, ""));
        let said = keys.clone().into_iter().find(|(key, _)| *key == set.trim());
        if let Some((key, instead)) = said {
            return Err(format!(
                "{key} cannot be set in a bench; change {instead} in its file"
            ));
        }
    }
    Ok(())
}

/// Whether nothing stands twice.
fn check_once<T: Ord + Debug>(
    key: &str,
    values: impl IntoIterator<Item = T>,
) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for value in values {
        let text = format!("{key} {value:?} stands twice; give each once");
        if !seen.insert(value) {
            return Err(text);
        }
    }
    Ok(())
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().replace('\n', " ")
}
