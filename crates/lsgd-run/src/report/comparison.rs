//! The charts that compare several runs: one series for each.

use std::collections::BTreeSet;

use super::chart::{Chart, Series, X};
use super::charts::{happened, leaders, metric, of_evaluations, rate_of};
use super::metrics::Scored;
use super::run::Run;
use super::thinning::Point;

/// Most runs whose leaders and events are shown, each in a chart of its own.
const EACH: usize = 8;

/// All charts that the runs' records have something for.
pub fn charts(runs: &[Run]) -> Vec<Chart> {
    let scores = |run: &Run, scored: Scored, name: &str| {
        let thinned = run.metrics.scores.get(name)?.get(&scored)?;
        Some(run.with_bytes(thinned.points()))
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in runs.iter().flat_map(Run::scored) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut charts = Vec::new();
    for name in names {
        let scored = [
            (Scored::Leader, "leader"),
            (Scored::ReplicaMean, "replica mean"),
            (Scored::WorkerMean, "mean over workers"),
            (Scored::Ema, "EMA"),
            (Scored::Lawa, "LAWA"),
        ];
        // Where the runs do not agree on the unit, the first that has the metric says it.
        let has = |run: &&Run| run.metrics.scores.contains_key(name);
        let y = runs
            .iter()
            .find(has)
            .map_or_else(String::new, |run| metric(run, name));
        for (scored, who) in scored {
            let title = format!("{y} on held-out examples: {who}");
            charts.push(each(runs, title, &y, true, |run| scores(run, scored, name)));
        }
    }
    charts.push(each(
        runs,
        "Training loss, mean over workers",
        "loss (nats)",
        true,
        |run| Some(run.with_bytes(run.metrics.training_loss.points())),
    ));
    charts.push(each(runs, "Learning rate", "learning rate", false, |run| {
        rate_of(run).map(|(_, points)| points)
    }));
    charts.push(each(
        runs,
        "Throughput",
        "samples per second",
        true,
        |run| Some(run.with_bytes(run.metrics.throughput.points())),
    ));
    charts.push(each(
        runs,
        "Bytes exchanged",
        "bytes so far",
        false,
        |run| Some(run.events.bytes.points()),
    ));
    for run in runs.iter().take(EACH) {
        for chart in [leaders(run), happened(run)] {
            let title = format!("{}: {}", chart.title, run.name);
            charts.push(Chart { title, ..chart });
        }
    }
    charts.retain(Chart::has_values);
    charts
}

fn each(
    runs: &[Run],
    title: impl Into<String>,
    y: &str,
    of_evaluation: bool,
    points: impl Fn(&Run) -> Option<Vec<Point>>,
) -> Chart {
    let xs: Vec<X> = match of_evaluation {
        true => common(runs),
        false => common(runs)
            .into_iter()
            .filter(|x| !matches!(x, X::Samples | X::Bytes))
            .collect(),
    };
    let series = runs
        .iter()
        .enumerate()
        .filter_map(|(index, run)| Some(Series::line(run.name.clone(), index, points(run)?)));
    Chart::new(title, y, &xs).with_all(series)
}

/// What the evaluations of all runs have.
fn common(runs: &[Run]) -> Vec<X> {
    let of: Vec<Vec<X>> = runs.iter().map(of_evaluations).collect();
    let first = of.first().cloned().unwrap_or_default();
    let everywhere = |x: &X| of.iter().all(|xs| xs.contains(x));
    first.into_iter().filter(everywhere).collect()
}

/// Gives runs of the same name a number, so that they can be told apart.
pub fn tell_apart(runs: &mut [Run]) {
    let mut names = BTreeSet::new();
    for run in runs {
        let name = run.name.clone();
        let mut number = 1;
        while !names.insert(run.name.clone()) {
            number += 1;
            run.name = format!("{name} ({number})");
        }
    }
}
