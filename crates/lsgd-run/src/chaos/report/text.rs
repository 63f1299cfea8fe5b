//! A report as text.

use std::fmt::Write;

use super::{Lost, Range, Report, RunReport, Times};
use crate::chaos::records::Runs;
use crate::words::count;

/// The share of the machine's processor time above which runs are not comparable.
const BUSY: f64 = 0.6;

/// The report as Markdown.
pub(super) fn markdown(report: &Report, runs: &Runs) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, report, runs);
    text
}

fn write(text: &mut String, report: &Report, runs: &Runs) -> std::fmt::Result {
    let made: usize = report.kinds.values().map(|kind| kind.made).sum();
    let seconds = report.faults.seconds.unwrap_or(0.0);
    writeln!(
        text,
        "# Faults and what they cost\n\n{} of {}, a step at least every {} ms. {} in {seconds:.0} s{}.\n",
        count(runs.nodes, "node"),
        count(runs.workers, "worker"),
        runs.pace_millis,
        count(made, "fault"),
        match seconds > 0.0 {
            true => format!(", {:.0} an hour", made as f64 * 3600.0 / seconds),
            false => String::new(),
        },
    )?;
    writeln!(text, "| | |\n|---|---|")?;
    for (name, value) in [
        ("goodput, of that without faults", report.goodput_share),
        ("capacity that survived", report.capacity),
        (
            "goodput, of that capacity",
            report.goodput_share_of_capacity,
        ),
        ("participation", report.participation),
    ] {
        writeln!(text, "| {name} | {} |", percent(value))?;
    }
    if let Some(error) = &report.error {
        let values: Vec<String> = error
            .fault_free
            .iter()
            .map(|one| format!("{one:.4}"))
            .collect();
        writeln!(
            text,
            "| {} at the end | {}; without faults {}: {} |",
            error.metric,
            number(error.with_faults, 4),
            values.join(", "),
            match error.within_spread {
                true => "within their spread, or better",
                false => "worse than all of these",
            }
        )?;
    }
    writeln!(
        text,
        "\n| run | samples | seconds | samples/s | score | of the machine's processor time |\n\
         |---|---|---|---|---|---|"
    )?;
    for run in report.fault_free.iter().chain([&report.faults]) {
        let RunReport { name, samples, .. } = run;
        writeln!(
            text,
            "| {name} | {samples} | {} | {} | {} | {} |",
            number(run.seconds, 1),
            number(run.goodput, 1),
            number(run.score, 4),
            percent(run.cpu_share)
        )?;
    }
    let mut shares = report.fault_free.iter().chain([&report.faults]);
    if shares.any(|run| run.cpu_share.is_some_and(|share| share > BUSY)) {
        writeln!(
            text,
            "\nThe machine was so busy that a node that is away makes the others faster: give a larger \
             pace_millis."
        )?;
    }
    writeln!(
        text,
        "\n| fault | made | noticed | after (median) | (worst) | recovered | after (median) | (worst) |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for (kind, all) in &report.kinds {
        let times = |times: &Times| {
            format!(
                "{} | {} | {}",
                times.count,
                seconds_of(times.median),
                seconds_of(times.worst)
            )
        };
        writeln!(
            text,
            "| {kind} | {} | {} | {} |",
            all.made,
            times(&all.noticed),
            times(&all.recovered)
        )?;
    }
    write_lost(text, &report.lost)?;
    writeln!(
        text,
        "\n| node | processes | memory in MiB: first, last, largest | open files: first, last, largest |\n\
         |---|---|---|---|"
    )?;
    for (node, usage) in &report.faults.usage {
        let node = match node {
            0 => String::from("chaos"),
            node => node.to_string(),
        };
        writeln!(
            text,
            "| {node} | {} | {} | {} |",
            usage.processes,
            range(usage.resident_kib, 1024),
            range(usage.open_files, 1)
        )?;
    }
    Ok(())
}

fn write_lost(text: &mut String, lost: &Lost) -> std::fmt::Result {
    writeln!(text, "\n| lost | |\n|---|---|")?;
    let intervals = match lost.most_intervals_of_all {
        Some(intervals) => format!("; {intervals:.2} checkpoint intervals"),
        None => String::new(),
    };
    let nodes: Vec<String> = lost.unfinished_nodes.iter().map(u32::to_string).collect();
    for (name, value) in [
        ("kills without a recovery", lost.not_recovered.to_string()),
        (
            "kills overtaken by another before the node trained",
            lost.overtaken.to_string(),
        ),
        (
            "steps of killed nodes, recorded before and gone after",
            lost.steps.to_string(),
        ),
        (
            "most after the kill of one node",
            lost.most_steps.to_string(),
        ),
        (
            "most after the kill of all nodes",
            format!("{}{intervals}", lost.most_steps_of_all),
        ),
        (
            "lines removed from records, and told again",
            lost.removed_lines.to_string(),
        ),
        (
            "workers' steps that these told of",
            lost.removed_steps.to_string(),
        ),
        (
            "nodes that have not ended their run",
            match nodes.is_empty() {
                true => String::from("none"),
                false => nodes.join(", "),
            },
        ),
        (
            "faults not made, since their node was not running",
            lost.missed_faults.to_string(),
        ),
        (
            "faults not made, since the run had ended",
            lost.faults_to_come.to_string(),
        ),
    ] {
        writeln!(text, "| {name} | {value} |")?;
    }
    Ok(())
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(unknown, |share| format!("{:.1} %", 100.0 * share))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(unknown, |value| format!("{value:.digits$}"))
}

fn seconds_of(value: Option<f64>) -> String {
    value.map_or_else(unknown, |value| format!("{value:.1} s"))
}

fn unknown() -> String {
    String::from("-")
}

fn range(range: Range, unit: u64) -> String {
    let Range {
        first,
        last,
        largest,
    } = range;
    format!("{}, {}, {}", first / unit, last / unit, largest / unit)
}
