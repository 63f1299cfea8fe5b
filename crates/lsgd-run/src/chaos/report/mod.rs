//! The report of a chaos folder, made from its records alone.

mod kinds;
mod participation;
mod reactions;
mod text;
mod timeline;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use kinds::{Reactions, Times};
pub use reactions::Reaction;
pub use timeline::Timeline;

use super::fault::{Act, Kind};
use super::log::What;
use super::records::{Records, Runs};
use super::usage::Sample;
use crate::error::RunError;
use crate::storage::write_whole;
use crate::task::Better;

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The runs without faults.
    pub fault_free: Vec<RunReport>,
    /// The run under faults.
    pub faults: RunReport,
    /// Its goodput as a share of the mean of those without faults.
    pub goodput_share: Option<f64>,
    /// The share of all nodes' time in which their processes ran and were not frozen.
    pub capacity: Option<f64>,
    /// `goodput_share` as a share of `capacity`.
    pub goodput_share_of_capacity: Option<f64>,
    /// The share of global exchanges in which nodes took part while they were there. In `async`, where
    /// each node exchanges when it is due: the global exchanges of a node in a second, as a share of
    /// those without faults.
    pub participation: Option<f64>,
    /// By kind, how soon faults were noticed and recovered from.
    pub kinds: BTreeMap<Kind, Reactions>,
    /// The final error beside those without faults.
    pub error: Option<ErrorReport>,
    /// What was lost.
    pub lost: Lost,
    /// Each fault.
    pub reactions: Vec<Reaction>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Its name.
    pub name: String,
    /// Samples that count, of all nodes: those of steps that were not taken back.
    pub samples: u64,
    /// Seconds from the first exchange to the last.
    pub seconds: Option<f64>,
    /// Samples a second.
    pub goodput: Option<f64>,
    /// The task's main metric at the end, of the mean of all nodes' workers.
    pub score: Option<f64>,
    /// Processor time of all its processes, chaos and its proxies included, as a share of the machine's.
    pub cpu_share: Option<f64>,
    /// What its processes used: node 0 is chaos itself.
    pub usage: BTreeMap<u32, NodeUsage>,
}

/// What the processes of a node used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NodeUsage {
    /// Number of processes.
    pub processes: usize,
    /// Memory in RAM, in KiB.
    pub resident_kib: Range,
    /// Open files.
    pub open_files: Range,
}

/// The first, the last and the largest of some values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The largest.
    pub largest: u64,
}

/// The final error under faults.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ErrorReport {
    /// The metric.
    pub metric: String,
    /// Which values are better.
    pub better: Better,
    /// Under faults.
    pub with_faults: Option<f64>,
    /// Without, by seed.
    pub fault_free: Vec<f64>,
    /// Whether that under faults is no worse than the worst without.
    pub within_spread: bool,
}

/// What was lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lost {
    /// Kills, of one node or of all, after which a node did not train again.
    pub not_recovered: usize,
    /// Kills of a node that was killed again before it trained.
    pub overtaken: usize,
    /// Steps that killed nodes had taken and did not have when they came back, in total. Steps that
    /// a node had not yet recorded are not known.
    pub steps: u64,
    /// The most after one kill of one node.
    pub most_steps: u64,
    /// The most after a kill of all nodes.
    pub most_steps_of_all: u64,
    /// The same in checkpoint intervals, if these are counted in steps.
    pub most_intervals_of_all: Option<f64>,
    /// Lines that were removed from records, since a node continued from an earlier checkpoint.
    pub removed_lines: u64,
    /// Steps of workers that these told of; they were taken again.
    pub removed_steps: u64,
    /// Nodes, from 1, that have not ended their run.
    pub unfinished_nodes: Vec<u32>,
    /// Faults that could not be made, since their node was not running.
    pub missed_faults: usize,
    /// Faults that were not yet due when the run ended.
    pub faults_to_come: usize,
}

/// Makes the report of a folder and writes `report.json` and `report.md`. Returns the latter's path.
///
/// # Errors
///
/// [`RunError`] if records cannot be read, or the report not be written.
pub fn write(folder: &Path, runs: &Runs) -> Result<PathBuf, RunError> {
    let read = |run| Records::read(folder, runs.nodes, run);
    let mut records: Vec<Records> = runs.runs.iter().map(read).collect::<Result<_, _>>()?;
    let faults = records
        .pop()
        .ok_or_else(|| RunError::damaged(folder, "its schedule has no run"))?;
    let report = report(&records, &faults);
    let path = folder.join("report.json");
    let text = serde_json::to_vec_pretty(&report);
    let text = text.map_err(|why| RunError::write(&path)(why.into()))?;
    write_whole(&path, &text)?;
    let path = folder.join("report.md");
    write_whole(&path, text::markdown(&report, runs).as_bytes())?;
    Ok(path)
}

/// The report of a run under faults, beside those without.
pub fn report(fault_free: &[Records], faults: &Records) -> Report {
    let reference: Vec<RunReport> = fault_free.iter().map(run_report).collect();
    let run = run_report(faults);
    let timeline = Timeline::of(&faults.log, faults.summaries.len());
    let goodput = mean(reference.iter().filter_map(|run| run.goodput));
    let goodput_share = ratio(run.goodput, goodput);
    let capacity = timeline
        .as_ref()
        .filter(|timeline| timeline.seconds() > 0.0)
        .map(Timeline::capacity);
    let reactions = reactions::reactions(&faults.log, faults.summaries.len() as u32);
    Report {
        goodput_share,
        capacity,
        goodput_share_of_capacity: ratio(goodput_share, capacity),
        participation: timeline.and_then(|timeline| match faults.mode.as_str() {
            "async" => {
                let rates = fault_free.iter().filter_map(|run| {
                    let timeline = Timeline::of(&run.log, run.summaries.len())?;
                    participation::rate(&run.log, &timeline)
                });
                let rate = participation::rate(&faults.log, &timeline);
                ratio(rate, mean(rates)).map(|share| share.min(1.0))
            }
            _ => participation::of_rounds(&faults.log, &timeline),
        }),
        kinds: kinds::by_kind(&reactions),
        error: error(faults, &run, &reference),
        lost: lost(faults, &reactions),
        reactions,
        faults: run,
        fault_free: reference,
    }
}

fn run_report(records: &Records) -> RunReport {
    let summaries = records.summaries.iter().flatten();
    let samples = summaries.clone().map(|summary| summary.samples).sum();
    let timeline = Timeline::of(&records.log, records.summaries.len());
    let seconds = timeline
        .map(|timeline| timeline.seconds())
        .filter(|seconds| *seconds > 0.0);
    let score = records.metric.as_ref().and_then(|metric| {
        let means = summaries.filter_map(|summary| summary.test.mean_of_all_nodes.as_ref());
        means.filter_map(|mean| mean.get(&metric.name)).next()
    });
    RunReport {
        name: records.run.name.clone(),
        samples,
        seconds,
        goodput: seconds.map(|seconds| samples as f64 / seconds),
        score,
        cpu_share: cpu_share(&records.samples, records.threads),
        usage: usage(&records.samples),
    }
}

fn error(faults: &Records, run: &RunReport, reference: &[RunReport]) -> Option<ErrorReport> {
    let metric = faults.metric.as_ref()?;
    let fault_free: Vec<f64> = reference.iter().filter_map(|run| run.score).collect();
    let reaches = |score: f64| {
        fault_free
            .iter()
            .any(|one| metric.better.reaches(score, *one))
    };
    Some(ErrorReport {
        metric: metric.name.clone(),
        better: metric.better,
        with_faults: run.score,
        within_spread: run.score.is_some_and(reaches),
        fault_free,
    })
}

fn lost(faults: &Records, reactions: &[Reaction]) -> Lost {
    let of_one = || {
        let kills = reactions.iter();
        kills.filter(|one| matches!(one.act, Act::Kill { .. } | Act::ClockJump { .. }))
    };
    let of_all = || reactions.iter().filter(|one| one.act == Act::KillAll);
    let all_kills = || of_one().chain(of_all());
    let steps = |reaction: &Reaction| reaction.lost_steps.unwrap_or(0);
    let mut lost = Lost {
        not_recovered: all_kills()
            .filter(|kill| kill.recovered.is_none() && !kill.overtaken)
            .count(),
        overtaken: all_kills().filter(|kill| kill.overtaken).count(),
        steps: all_kills().map(steps).sum(),
        most_steps: of_one().map(steps).max().unwrap_or(0),
        most_steps_of_all: of_all().map(steps).max().unwrap_or(0),
        unfinished_nodes: (1..)
            .zip(&faults.summaries)
            .filter_map(|(node, summary)| summary.is_none().then_some(node))
            .collect(),
        ..Lost::default()
    };
    let interval = faults.checkpoint_steps.filter(|steps| *steps > 0);
    lost.most_intervals_of_all =
        interval.map(|interval| lost.most_steps_of_all as f64 / interval as f64);
    for entry in &faults.log {
        match &entry.what {
            What::Missed { .. } => lost.missed_faults += 1,
            What::Removed { lines, steps, .. } => {
                lost.removed_lines += lines;
                lost.removed_steps += steps;
            }
            _ => {}
        }
    }
    let done = reactions.len() + lost.missed_faults;
    lost.faults_to_come = faults.run.faults.len().saturating_sub(done);
    lost
}

/// Processor time of all processes as a share of the time of all `threads` of the machine.
fn cpu_share(samples: &[Sample], threads: usize) -> Option<f64> {
    let (first, last) = (samples.first()?.at, samples.last()?.at);
    let mut processes: BTreeMap<(u32, u32), (f64, f64)> = BTreeMap::new();
    for sample in samples {
        let cpu = sample.usage.cpu_seconds;
        // A node's process began with the run; chaos has run before.
        let begin = if sample.node == 0 { cpu } else { 0.0 };
        let (_, until) = processes
            .entry((sample.node, sample.process))
            .or_insert((begin, cpu));
        *until = cpu;
    }
    let used: f64 = processes.values().map(|(from, to)| to - from).sum();
    let all = (last - first) * threads as f64;
    (all > 0.0).then(|| used / all)
}

fn usage(samples: &[Sample]) -> BTreeMap<u32, NodeUsage> {
    let mut nodes: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        nodes.entry(sample.node).or_default().push(sample);
    }
    let node = |samples: Vec<&Sample>| {
        let mut processes: Vec<u32> = samples.iter().map(|sample| sample.process).collect();
        processes.sort_unstable();
        processes.dedup();
        let range = |of: fn(&Sample) -> u64| {
            let values = || samples.iter().map(|sample| of(sample));
            Range {
                first: values().next().unwrap_or(0),
                last: values().next_back().unwrap_or(0),
                largest: values().max().unwrap_or(0),
            }
        };
        NodeUsage {
            processes: processes.len(),
            resident_kib: range(|sample| sample.usage.resident_kib),
            open_files: range(|sample| sample.usage.open_files),
        }
    };
    let nodes = nodes.into_iter();
    nodes.map(|(number, all)| (number, node(all))).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to.filter(|to| *to > 0.0)?)
}

#[cfg(test)]
mod tests;
