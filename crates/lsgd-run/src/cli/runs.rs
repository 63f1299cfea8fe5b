//! `runs`: the runs in a folder, a line each.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use console::Term;
use serde::Serialize;

use super::path::path;
use super::printable::printable_error;
use super::say::say;
use super::table::{Row, table};
use crate::error::RunError;
use crate::glance::{Found, Glance, Listed, list};
use crate::storage::State;
use crate::words::{count, printable};

/// Arguments of `runs`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Runs {
    /// The folder that holds them, or that of a bench, a chaos run or a run of several nodes
    #[arg(value_name = "FOLDER", default_value = "runs", value_parser = path())]
    pub folder: PathBuf,

    /// Print a JSON object a line, for scripts
    #[arg(long)]
    pub json: bool,
}

/// Prints the runs that are asked for.
///
/// # Errors
///
/// [`RunError`] if the folder cannot be read. A run that cannot be read is a line that says so.
pub(super) fn runs(arguments: &Runs) -> Result<(), RunError> {
    let runs = list(&arguments.folder).map_err(printable_error)?;
    let now = SystemTime::now();
    let name = |run: &Listed| match run.name.as_os_str().is_empty() {
        true => arguments.folder.display().to_string(),
        false => run.name.display().to_string(),
    };
    let text = match (arguments.json, runs.is_empty()) {
        (true, _) => {
            let lines = runs.iter().map(|run| {
                let folder = arguments.folder.join(&run.name);
                json(&name(run), &folder, run, now)
            });
            lines.collect()
        }
        (false, true) => {
            let folder = printable(&arguments.folder.display().to_string());
            format!(
                "no runs in {folder}; those of a bench are in its own folder, such as {folder}/NAME\n"
            )
        }
        (false, false) => {
            let rows: Vec<Row<8>> = runs.iter().map(|run| row(&name(run), run, now)).collect();
            let width = Term::stdout()
                .size_checked()
                .map(|(_, columns)| usize::from(columns));
            table(&HEAD, &rows, width)
        }
    };
    // In one piece: a reader that has seen enough ends it, and is no error.
    match text.strip_suffix('\n') {
        Some(text) => say(format_args!("{text}")),
        None => Ok(()),
    }
}

/// What is most asked for first: a narrow terminal cuts the last ones.
const HEAD: [&str; 8] = [
    "RUN", "STATE", "AGE", "STEPS", "METRIC", "METHOD", "WORKERS", "NODES",
];

fn row(name: &str, run: &Listed, now: SystemTime) -> Row<8> {
    let name = printable(name);
    let age = age(now, run.last());
    match &run.found {
        Found::Run(glance) => {
            let metric = glance.metric.as_ref();
            Row::Whole([
                name,
                state(glance),
                age,
                steps(glance),
                metric.map_or_else(none, |metric| printable(&metric.shown())),
                printable(&glance.method),
                glance.workers.to_string(),
                glance.nodes.to_string(),
            ])
        }
        Found::Unreadable { why, .. } => {
            Row::Cut(vec![name, String::from("unreadable"), age], printable(why))
        }
    }
}

fn none() -> String {
    String::from("-")
}

/// Its state, and of how many nodes, if not of all.
fn state(glance: &Glance) -> String {
    match glance.in_state == glance.nodes {
        true => String::from(glance.state.name()),
        false => format!(
            "{} {}/{}",
            glance.state.name(),
            glance.in_state,
            glance.nodes
        ),
    }
}

/// Its steps: of how many, if the budget is one of steps, else which part of the budget is used up, which a
/// run that has ended may miss by what is no whole step.
fn steps(glance: &Glance) -> String {
    let Some(steps) = glance.steps else {
        return none();
    };
    match (glance.budget.steps, glance.used) {
        (Some(all), _) => format!("{steps}/{all}"),
        (None, Some(used)) if glance.state != State::Ended => {
            format!("{steps} ({:.0}%)", (100.0 * used).floor())
        }
        (None, _) => steps.to_string(),
    }
}

/// How long ago that was, in the largest unit of which it is at least two, or seconds. A clock of another
/// machine may be ahead.
fn age(now: SystemTime, then: SystemTime) -> String {
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => count(seconds / 86_400, "day"),
    }
}

/// A run as a script reads it. What is not known is null.
#[derive(Debug, Serialize)]
struct Json<'a> {
    name: &'a str,
    path: String,
    state: &'a str,
    #[serde(flatten)]
    of: Option<JsonRun<'a>>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// RFC 3339.
    last_record: String,
    age_seconds: u64,
}

/// What is known of a run that can be read.
#[derive(Debug, Serialize)]
struct JsonRun<'a> {
    nodes_in_state: usize,
    method: &'a str,
    workers: usize,
    nodes: usize,
    steps: Option<u64>,
    budget_steps: Option<u64>,
    budget_epochs: Option<f64>,
    budget_minutes: Option<f64>,
    budget_used: Option<f64>,
    metric: Option<&'a str>,
    metric_of: Option<&'a str>,
    unit: Option<&'a str>,
    /// Null, too, if it is no finite number.
    value: Option<f64>,
}

fn json(name: &str, path: &Path, run: &Listed, now: SystemTime) -> String {
    let last = run.last();
    let (of, error) = match &run.found {
        Found::Run(glance) => (Some(json_run(glance)), None),
        Found::Unreadable { why, .. } => (None, Some(why.as_str())),
    };
    let line = Json {
        name,
        path: path.display().to_string(),
        state: match &run.found {
            Found::Run(glance) => glance.state.name(),
            Found::Unreadable { .. } => "unreadable",
        },
        of,
        error,
        last_record: humantime::format_rfc3339_seconds(last).to_string(),
        age_seconds: now.duration_since(last).unwrap_or_default().as_secs(),
    };
    // Names and numbers: nothing in it can fail.
    serde_json::to_string(&line).map_or_else(|_| String::new(), |line| line + "\n")
}

fn json_run(glance: &Glance) -> JsonRun<'_> {
    let metric = glance.metric.as_ref();
    JsonRun {
        nodes_in_state: glance.in_state,
        method: &glance.method,
        workers: glance.workers,
        nodes: glance.nodes,
        steps: glance.steps,
        budget_steps: glance.budget.steps,
        budget_epochs: glance.budget.epochs,
        budget_minutes: glance.budget.minutes,
        budget_used: glance.used,
        metric: metric.map(|metric| metric.metric.name.as_str()),
        metric_of: metric.map(|metric| metric.of.name()),
        unit: metric.map(|metric| metric.metric.unit.as_str()),
        value: metric.map(|metric| metric.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_one_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        for (seconds, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_199, "119 min"),
            (7_200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(age(now, now - Duration::from_secs(seconds)), expected);
        }
        assert_eq!(age(now, now + Duration::from_secs(9)), "0 s");
    }
}
