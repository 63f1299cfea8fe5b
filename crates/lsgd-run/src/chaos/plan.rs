//! A chaos file: what is trained, and which faults come when.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{ChaosError, PlanProblem};
use super::fault::Fault;
use super::schedule::{Random, Room, schedule};
use super::written::Written;
use crate::config::looks_like_config;
use crate::error::RunError;
use crate::home;
use crate::storage::read_bounded;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most faults an hour that are drawn.
const MAX_PER_HOUR: f64 = 36_000.0;
/// Longest run, in minutes: a day.
const MAX_MINUTES: f64 = 1440.0;

/// Keys that chaos sets itself, and what to do instead.
const OWN_KEYS: [(&str, &str); 12] = [
    ("run.seed", "give seeds"),
    ("run.name", "give name"),
    ("run.folder", "give folder"),
    ("run.overwrite", "leave it out"),
    ("workers.count", "give workers"),
    ("budget.minutes", "give minutes"),
    ("budget.steps", "give minutes"),
    ("budget.epochs", "give minutes"),
    ("cluster.node", "leave it out"),
    ("cluster.nodes", "give nodes"),
    ("cluster.connect", "leave it out"),
    ("cluster.listen", "leave it out"),
];

/// A chaos file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Name of the folder, within `folder`.
    pub name: String,
    /// Folder of all chaos runs.
    #[serde(default = "runs")]
    pub folder: PathBuf,
    /// The config of every run.
    pub config: PathBuf,
    /// Overrides for every run, `table.key=value`.
    #[serde(default)]
    pub set: Vec<String>,
    /// Number of nodes.
    pub nodes: u32,
    /// Workers of each.
    pub workers: u32,
    /// Seeds of the training: a run without faults for each. The run under faults has the first.
    pub seeds: Vec<u64>,
    /// How long each run trains, in minutes of its own clock.
    pub minutes: f64,
    /// Shortest time of a worker's step, in milliseconds: so that the machine has time to spare.
    #[serde(default)]
    pub pace_millis: u64,
    /// No fault is drawn in the first and the last so many seconds.
    #[serde(default = "quiet")]
    pub quiet_seconds: f64,
    /// How often a node may be started again.
    #[serde(default = "restarts")]
    pub restarts: u32,
    /// Faults that are drawn.
    pub random: Option<Random>,
    /// Faults that are given.
    #[serde(default, rename = "fault")]
    written: Vec<Written>,
}

fn runs() -> PathBuf {
    PathBuf::from("runs")
}

fn quiet() -> f64 {
    5.0
}

fn restarts() -> u32 {
    10_000
}

impl Plan {
    /// Reads a chaos file.
    ///
    /// # Errors
    ///
    /// [`ChaosError::Plan`] for an invalid file and where there is none, or [`RunError::Read`].
    pub fn load(path: &Path) -> Result<Self, RunError> {
        let wrong = |problem| {
            let path = path.to_owned();
            RunError::from(ChaosError::Plan { path, problem })
        };
        let text = read_bounded(path, MAX_FILE).map_err(|error| match error {
            RunError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                wrong(PlanProblem::Absent)
            }
            error => error,
        })?;
        Self::parse(&text).map_err(wrong)
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, PlanProblem> {
        let unread = |reason: String| PlanProblem::Unread {
            reason: reason.replace('\n', " "),
        };
        let text = str::from_utf8(text).map_err(|_| unread(String::from("is not UTF-8 text")))?;
        let mut plan: Self = toml::from_str(text).map_err(|error| match looks_like_config(text) {
            true => unread(String::from(
                "is the config of a run; give a file that names it as its config, with the faults",
            )),
            false => unread(error.message().to_owned()),
        })?;
        for path in [&mut plan.folder, &mut plan.config] {
            *path = home::expand(path).map_err(|why| unread(why.to_string()))?;
        }
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), PlanProblem> {
        let weights = || {
            self.random
                .iter()
                .flat_map(|random| random.weights.values())
        };
        let ranges: [(&str, String, bool, &'static str); 9] = [
            (
                "name",
                format!("{:?}", self.name),
                is_name(&self.name),
                "a folder's name: letters, digits, - and _",
            ),
            (
                "nodes",
                self.nodes.to_string(),
                (2..=64).contains(&self.nodes),
                "from 2 to 64",
            ),
            (
                "workers",
                self.workers.to_string(),
                (1..=64).contains(&self.workers),
                "from 1 to 64",
            ),
            (
                "seeds",
                format!("{:?}", self.seeds),
                is_once_each(&self.seeds),
                "a list of one seed or more, each once",
            ),
            (
                "minutes",
                self.minutes.to_string(),
                self.minutes > 0.0 && self.minutes <= MAX_MINUTES,
                "over 0, at most 1440",
            ),
            (
                "pace_millis",
                self.pace_millis.to_string(),
                self.pace_millis <= 10_000,
                "at most 10000",
            ),
            (
                "quiet_seconds",
                self.quiet_seconds.to_string(),
                self.quiet_seconds >= 0.0 && 2.0 * self.quiet_seconds < 60.0 * self.minutes,
                "at least 0, and under half of the run",
            ),
            (
                "random.per_hour",
                self.random
                    .as_ref()
                    .map(|random| random.per_hour)
                    .unwrap_or_default()
                    .to_string(),
                self.random
                    .as_ref()
                    .is_none_or(|random| (0.0..=MAX_PER_HOUR).contains(&random.per_hour)),
                "from 0 to 36000",
            ),
            (
                "random.weights",
                format!("{:?}", weights().collect::<Vec<_>>()),
                self.random.is_none()
                    || weights().all(|weight| weight.is_finite() && *weight >= 0.0)
                        && weights().sum::<f64>() > 0.0,
                "numbers from 0, one of them over 0",
            ),
        ];
        if let Some((key, value, _, range)) = ranges.into_iter().find(|(.., fits, _)| !fits) {
            return Err(PlanProblem::Range {
                key: key.to_owned(),
                value,
                range,
            });
        }
        check_keys(&self.set)?;
        self.given().map(drop)
    }

    /// Adds overrides, which win over those of the file.
    ///
    /// # Errors
    ///
    /// [`ChaosError::Override`] for a key that chaos sets itself.
    pub fn override_with(&mut self, set: &[String]) -> Result<(), ChaosError> {
        check_keys(set).map_err(|problem| ChaosError::Override { problem })?;
        self.set.extend(set.iter().cloned());
        Ok(())
    }

    /// The faults that the file lists.
    fn given(&self) -> Result<Vec<Fault>, PlanProblem> {
        let numbered = (1..).zip(&self.written);
        numbered
            .map(|(number, written)| written.check(number, self.nodes, self.workers))
            .collect()
    }

    /// All faults, in order of time.
    pub fn faults(&self) -> Vec<Fault> {
        let room = Room {
            nodes: self.nodes,
            workers: self.workers,
            first: self.quiet_seconds,
            last: 60.0 * self.minutes - self.quiet_seconds,
        };
        // A plan that could be made is checked.
        let given = self.given().unwrap_or_default();
        schedule(&given, self.random.as_ref(), room)
    }

    /// The folder of its runs and its report.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// Whether overrides leave alone what chaos sets itself.
fn check_keys(set: &[String]) -> Result<(), PlanProblem> {
    let keys = set
        .iter()
        .map(|set| set.split('=').next().unwrap_or_default().trim());
    for key in keys {
        if let Some((_, instead)) = OWN_KEYS.iter().find(|(own, _)| *own == key) {
            return Err(PlanProblem::Reserved {
                key: key.to_owned(),
                instead,
            });
        }
    }
    Ok(())
}

/// Whether it can be the name of a folder, and is no path.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let dots = name.chars().all(|c| c == '.');
    !dots && name.len() <= 64 && name.chars().all(fits)
}

fn is_once_each(seeds: &[u64]) -> bool {
    let once: std::collections::BTreeSet<_> = seeds.iter().collect();
    !seeds.is_empty() && once.len() == seeds.len()
}

#[cfg(test)]
mod tests {
    use super::super::fault::Act;
    use super::*;

    const LEAST: &str =
        "name = \"a\"\nconfig = \"c.toml\"\nnodes = 3\nworkers = 2\nseeds = [1]\nminutes = 1\n";

    fn parse(more: &str) -> Result<Plan, String> {
        Plan::parse(format!("{LEAST}{more}").as_bytes()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_file_lists_faults_or_lets_them_be_drawn() {
        let plan = parse(
            "[[fault]]\nat = 3\nkind = \"kill_all\"\n\
             [[fault]]\nat = 1.5\nkind = \"cut_one_way\"\nnode = 1\npeer = 3\nseconds = 2\n\
             [random]\nseed = 1\nper_hour = 72\nweights = { panic = 1 }\n",
        );
        let faults = plan.unwrap().faults();
        let one_way = Act::CutOneWay {
            node: 1,
            peer: 3,
            seconds: 2.0,
        };
        assert_eq!(faults.len(), 3);
        assert_eq!(
            faults[0],
            Fault {
                at: 1.5,
                act: one_way
            }
        );
        assert_eq!(
            faults[1],
            Fault {
                at: 3.0,
                act: Act::KillAll
            }
        );
    }

    #[test]
    fn the_files_that_come_with_the_program_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/chaos");
        let mut names: Vec<String> = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let plan = Plan::load(&path).unwrap();
            assert!(!plan.faults().is_empty(), "{}", path.display());
            names.push(plan.name);
        }
        names.sort();
        assert_eq!(
            names,
            [
                "all-killed",
                "chaos-smoke",
                "storm",
                "storm-600",
                "storm-hour"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        for (more, expected) in [
            ("nonsense = 1\n", "unknown field `nonsense`"),
            (
                "[[fault]]\nat = 1\nkind = \"earthquake\"\n",
                "unknown variant `earthquake`",
            ),
            (
                "[random]\nseed = 1\nper_hour = 9\nweights = { earthquake = 1 }\n",
                "earthquake",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"kill\"\n",
                "fault 1, kill: lacks node",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"kill\"\nnode = 4\n",
                "fault 1, kill: node 4 is not the number of a node, from 1",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"kill\"\nnode = 1\nseconds = 2\n",
                "fault 1, kill: does not use seconds; remove it",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"cut\"\nnode = 1\npeer = 1\nseconds = 2\n",
                "fault 1, cut: peer 1 is not another node than `node`",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"stop\"\nnode = 1\nseconds = 601\n",
                "fault 1, stop: seconds 601 is not over 0, at most 600",
            ),
            (
                "[[fault]]\nat = 1\nkind = \"panic\"\nnode = 1\nworker = 2\n",
                "fault 1, panic: worker 2 is not a worker of a node, from 0",
            ),
            (
                "[[fault]]\nat = -1\nkind = \"kill_all\"\n",
                "fault 1, kill_all: at -1 is not seconds, from 0 to 86400",
            ),
            (
                "[[fault]]\nat = 1e20\nkind = \"kill_all\"\n",
                "at 100000000000000000000 is not seconds, from 0 to 86400",
            ),
            (
                "[random]\nseed = 1\nper_hour = 9\nweights = { kill = 0 }\n",
                "random.weights [0.0] is not numbers from 0, one of them over 0",
            ),
            (
                "[random]\nseed = 1\nper_hour = -1\nweights = { kill = 1 }\n",
                "random.per_hour -1 is not from 0 to 36000",
            ),
            (
                "quiet_seconds = 30\n",
                "quiet_seconds 30 is not at least 0, and under half of the run",
            ),
            (
                "set = [\"budget.steps=5\"]\n",
                "set: budget.steps cannot be set here; give minutes",
            ),
        ] {
            let problem = parse(more).unwrap_err();
            assert!(problem.contains(expected), "{more}: {problem}");
        }
    }
}
