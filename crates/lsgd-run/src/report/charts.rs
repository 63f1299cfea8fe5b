//! The charts of one run.

use std::collections::BTreeMap;

use lsgd_core::{Scope, VectorKind, WorkerId};

use super::chart::{Chart, Series, Shape, X};
use super::leadership::{Band, Bands};
use super::metrics::{Scored, Training, WORKERS};
use super::run::Run;
use super::thinning::{Point, Spent, Thinned};
use crate::words::count;

/// Looks of a palette's cycle that workers have; the other two are those of all workers together.
const OF_WORKERS: usize = 6;
/// The look of a leader.
const LEADER: usize = 6;

/// All charts that the run's records have something for.
pub fn charts(run: &Run) -> Vec<Chart> {
    let mut charts: Vec<Chart> = run
        .scored()
        .iter()
        .map(|(name, of)| scores(run, name, of))
        .collect();
    charts.push(training_loss(run));
    charts.push(leaders(run));
    charts.push(rate(run));
    charts.push(throughput(run));
    charts.push(pace(run));
    charts.push(bytes(run));
    charts.push(pulls(run));
    charts.push(happened(run));
    charts.retain(Chart::has_values);
    charts
}

/// What all moments of a run have.
pub fn base(run: &Run) -> [X; 2] {
    match run.is_simulated() {
        true => [X::VirtualSeconds, X::Steps],
        false => [X::Seconds, X::Steps],
    }
}

/// What its evaluations have.
pub fn of_evaluations(run: &Run) -> Vec<X> {
    let mut xs = base(run).to_vec();
    xs.push(X::Samples);
    if run.has_bytes() {
        xs.push(X::Bytes);
    }
    xs
}

/// `error (%)`: a metric, as an axis names it.
pub fn metric(run: &Run, name: &str) -> String {
    let known = run.record.metrics.iter().find(|metric| metric.name == name);
    match known {
        Some(metric) if !metric.unit.is_empty() => format!("{name} ({})", metric.unit),
        _ => name.to_owned(),
    }
}

/// What a worker is called.
pub fn worker(run: &Run, id: WorkerId) -> String {
    let leaders = run.events.leadership.global.won.keys();
    let mut known = run.metrics.workers.iter().chain(leaders);
    match known.any(|id| id.node > 0) {
        true => format!("node {} worker {}", u64::from(id.node) + 1, id.worker),
        false => format!("worker {}", id.worker),
    }
}

/// The look of a worker, the same in all charts.
fn look(run: &Run, id: WorkerId) -> usize {
    let own = &run.metrics.workers;
    let before = match own.contains(&id) {
        true => own.range(..id).count(),
        // A leader of another node.
        false => {
            let leaders = run.events.leadership.global.won.range(..id);
            own.len() + leaders.filter(|(id, _)| !own.contains(id)).count()
        }
    };
    before / OF_WORKERS * 8 + before % OF_WORKERS
}

/// What is said where not all workers are shown.
fn left_out(run: &Run) -> String {
    match run.metrics.left_out() {
        0 => String::new(),
        more => format!(
            "Of {}, the first {WORKERS} are shown.",
            count(more + run.metrics.training.len(), "worker")
        ),
    }
}

/// What is said of a metric.
fn scores(run: &Run, name: &str, of: &BTreeMap<Scored, Thinned>) -> Chart {
    let y = metric(run, name);
    let mut chart = Chart::new(format!("{y} on held-out examples"), y, &of_evaluations(run));
    chart.note = left_out(run);
    let all_are_shown = run.metrics.left_out() == 0;
    chart.with_all(of.iter().filter_map(|(scored, thinned)| {
        let (name, look) = match scored {
            Scored::Leader => (String::from("leader"), LEADER),
            Scored::ReplicaMean => (String::from("replica mean"), LEADER + 8),
            Scored::WorkerMean if all_are_shown => return None,
            Scored::WorkerMean => (String::from("mean over workers"), LEADER + 16),
            Scored::Ema => (String::from("EMA"), LEADER + 1),
            Scored::Lawa => (String::from("LAWA"), LEADER + 9),
            Scored::Worker(id) if run.metrics.training.contains_key(id) => {
                (worker(run, *id), self::look(run, *id))
            }
            Scored::Worker(_) => return None,
        };
        Some(Series::line(name, look, run.with_bytes(thinned.points())))
    }))
}

fn of_workers(run: &Run, chart: Chart, of: fn(&Training) -> &Thinned) -> Chart {
    let training = run.metrics.training.iter();
    let series = training.map(|(id, training)| {
        Series::line(worker(run, *id), look(run, *id), of(training).points())
    });
    let mut chart = chart.with_all(series);
    chart.note = left_out(run);
    chart
}

fn training_loss(run: &Run) -> Chart {
    let chart = Chart::new("Training loss of each worker", "loss (nats)", &base(run));
    of_workers(run, chart, |training| &training.loss)
}

fn pace(run: &Run) -> Chart {
    let chart = Chart::new("Pace of each worker", "steps per second", &base(run));
    of_workers(run, chart, |training| &training.pace)
}

/// The learning rate of a run, which is a function of the step: its first worker's.
pub fn rate_of(run: &Run) -> Option<(WorkerId, Vec<Point>)> {
    let (id, first) = run.metrics.training.first_key_value()?;
    Some((*id, first.rate.points()))
}

fn rate(run: &Run) -> Chart {
    let mut chart = Chart::new("Learning rate", "learning rate", &base(run));
    if let Some((id, points)) = rate_of(run) {
        chart.note = format!("Of {}.", worker(run, id));
        chart = chart.with(Series::line("learning rate", 0, points));
    }
    chart
}

fn throughput(run: &Run) -> Chart {
    let mut chart = Chart::new("Throughput", "samples per second", &of_evaluations(run));
    chart.note = String::from("Of all workers, between evaluations.");
    let points = run.with_bytes(run.metrics.throughput.points());
    chart.with(Series::line("samples per second", 0, points))
}

/// Within a node or over all, in words.
pub fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Local => "within the node",
        Scope::Global => "over all nodes",
    }
}

/// What an exchange carries, in words.
pub fn vector(vector: VectorKind) -> &'static str {
    match vector {
        VectorKind::Parameters => "parameters",
        VectorKind::Mean => "mean",
        VectorKind::Centre => "centre",
        VectorKind::Gradient => "gradient",
    }
}

fn bytes(run: &Run) -> Chart {
    let mut chart = Chart::new("Bytes exchanged", "bytes so far", &base(run));
    chart.note = String::from("Payload of all exchanges, without the protocol around it.");
    let kinds = run.events.exchanges.iter().enumerate();
    let kinds = kinds.map(|(index, of)| {
        let name = format!("{} {}", vector(of.vector), scope(of.scope));
        Series::line(name, index, of.course.points())
    });
    let chart = chart.with_all(kinds);
    match chart.series.len() {
        0 | 1 => chart,
        _ => chart.with(Series::line("all", LEADER, run.events.bytes.points())),
    }
}

fn pulls(run: &Run) -> Chart {
    let chart = Chart::new("Pulls", "pulls so far", &base(run));
    let scopes = run.events.pulls.iter().enumerate();
    chart.with_all(
        scopes.map(|(index, of)| Series::line(scope(of.scope), index, of.course.points())),
    )
}

/// Who led when: a row for each worker, and in it a bar while it led its node, with a thin line while
/// it led all nodes.
pub fn leaders(run: &Run) -> Chart {
    let mut chart = Chart::new("Who led when", "", &base(run));
    let leadership = &run.events.leadership;
    let end = run.end().unwrap_or(Spent::new(0.0, 0));
    let mut won: BTreeMap<WorkerId, u64> = BTreeMap::new();
    for bands in leadership.local.values().chain([&leadership.global]) {
        for (id, elections) in &bands.won {
            *won.entry(*id).or_default() += elections;
        }
    }
    let mut most: Vec<(WorkerId, u64)> = won.into_iter().collect();
    most.sort_by_key(|(id, elections)| (std::cmp::Reverse(*elections), *id));
    let all = most.len();
    most.truncate(WORKERS);
    // The first worker in the topmost row.
    most.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    chart.rows = most.iter().map(|(id, _)| worker(run, *id)).collect();
    let local: Vec<Band> = leadership
        .local
        .values()
        .flat_map(|bands| bands.until(end))
        .collect();
    let global = leadership.global.until(end);
    for (row, (id, _)) in most.iter().enumerate().rev() {
        let name = worker(run, *id);
        let all_nodes = format!("{name}, over all nodes");
        let of_it = [
            (name, look(run, *id), Shape::Band, &local),
            (all_nodes, LEADER, Shape::Core, &global),
        ];
        chart = chart.with_all(of_it.map(|(name, look, shape, bands)| Series {
            name,
            look,
            shape,
            points: line(bands, *id, row),
        }));
    }
    chart.note = told(leadership.local.values(), &leadership.global, all);
    chart
}

/// Bands of one worker as a line in its row, with a gap after each.
fn line(bands: &[Band], id: WorkerId, row: usize) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for Band { from, to, .. } in bands.iter().filter(|band| band.leaders.contains(&id)) {
        if let Some(last) = points.last() {
            // Between the two: a place of its own, so that the gap replaces neither end.
            let between = |one: f64, other: f64| f64::midpoint(one, other);
            let at = Spent {
                seconds: between(last.at.seconds, from.seconds),
                steps: between(last.at.steps, from.steps),
                ..*from
            };
            points.push(Point { at, y: f64::NAN });
        }
        let y = row as f64;
        points.extend([Point { at: *from, y }, Point { at: *to, y }]);
    }
    points
}

fn told<'a>(local: impl Iterator<Item = &'a Bands>, global: &Bands, leaders: usize) -> String {
    let (mut elections, mut changes, mut is_coarse) = (0, 0, global.is_coarse);
    for bands in local {
        elections += bands.elections();
        changes += bands.changes;
        is_coarse |= bands.is_coarse;
    }
    let mut note = format!(
        "{}, {} of leader.",
        count(elections, "election"),
        count(changes, "change")
    );
    if global.elections() > 0 {
        note += &format!(
            " Over all nodes {}, {}: the thin line.",
            count(global.elections(), "election"),
            count(global.changes, "change")
        );
    }
    if leaders > WORKERS {
        note += &format!(" Of {leaders} workers that led, the {WORKERS} that led most are shown.");
    }
    if is_coarse {
        note += " There were too many changes to draw each: a bar says that its worker led at some time in it.";
    }
    note
}

/// What does not happen in every exchange.
pub fn happened(run: &Run) -> Chart {
    let mut chart = Chart::new("What happened", "", &base(run));
    let kinds: Vec<_> = run.events.marks.kinds().collect();
    chart.rows = kinds
        .iter()
        .rev()
        .map(|(kind, _)| String::from(kind.name()))
        .collect();
    let rows = kinds.len();
    chart.with_all(kinds.into_iter().enumerate().map(|(index, (kind, of))| {
        let y = (rows - 1 - index) as f64;
        Series {
            name: String::from(kind.name()),
            look: index,
            shape: Shape::Dots,
            points: of
                .marks
                .iter()
                .map(|mark| Point { at: mark.at, y })
                .collect(),
        }
    }))
}
