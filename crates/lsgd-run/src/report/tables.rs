//! The tables of a page.

use std::collections::BTreeMap;
use std::slice;

use super::charts::{metric, scope, vector, worker};
use super::html::{bytes, duration, figure, table};
use super::metrics::Scored;
use super::origin;
use super::run::Run;
use super::section::Section;
use super::settings::{Settings, differences};
use super::status;
use crate::storage::{HeldOut, Score, Summary};

/// Most rows of what happened.
const HAPPENED: usize = 100;

/// The tables of one run that come before its charts, and those that come after them.
pub fn of_run(run: &Run) -> (Vec<Section>, Vec<Section>) {
    let mut before: Vec<Section> = final_scores(run).into_iter().collect();
    let status = status::sections(slice::from_ref(run));
    let mut after = Vec::new();
    match run.state.may_go_on() {
        true => before.extend(status),
        false => after.extend(status),
    }
    let more = [
        time(run),
        exchanges(run),
        led(run),
        happened(run),
        Some(Section::closed("Origin", origin::origin(run))),
        Some(Section::closed("Config", origin::config(run))),
        (!run.figures.is_empty()).then(|| {
            let rows = run
                .figures
                .iter()
                .map(|(name, value)| vec![name.clone(), value.clone()]);
            Section::closed("summary.json", table(&[], &rows.collect::<Vec<_>>()))
        }),
    ];
    after.extend(more.into_iter().flatten());
    (before, after)
}

/// Those of several runs.
pub fn of_runs(runs: &[Run]) -> (Vec<Section>, Vec<Section>) {
    let mut head = vec![
        "run",
        "state",
        "method",
        "workers",
        "steps",
        "training time",
        "bytes",
        "leader",
    ];
    let main = runs
        .iter()
        .find_map(|run| Some(run.scored().first()?.0.to_owned()));
    let main_head = main.as_ref().map(|name| {
        let unit = runs
            .iter()
            .find(|run| run.metrics.scores.contains_key(name));
        let name = unit.map_or_else(|| name.clone(), |run| metric(run, name));
        ["leader", "replica mean", "mean over workers"].map(|who| format!("{name}, {who}"))
    });
    head.extend(main_head.iter().flatten().map(String::as_str));
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let mut row = vec![run.name.clone()];
            row.extend(spent(run));
            if let Some(name) = &main {
                for scored in [Scored::Leader, Scored::ReplicaMean, Scored::WorkerMean] {
                    row.push(last(run, scored, name).map_or_else(String::new, figure));
                }
            }
            row
        })
        .collect();
    let ended = runs.iter().filter(|run| run.summary.is_some()).count();
    let title = match ended {
        0 => "So far",
        ended if ended == runs.len() => "At the end",
        _ => "At the end, or so far",
    };
    let mut before = vec![Section::new(title, table(&head, &rows))];
    let status = status::sections(runs);
    let settings: Vec<&Settings> = runs.iter().map(|run| &run.settings).collect();
    let mut head = vec!["key"];
    head.extend(runs.iter().map(|run| run.name.as_str()));
    let rows: Vec<Vec<String>> = differences(&settings)
        .into_iter()
        .map(|(key, values)| {
            let values = values
                .into_iter()
                .map(|value| value.unwrap_or("not set").to_owned());
            std::iter::once(key.to_owned()).chain(values).collect()
        })
        .collect();
    let body = match rows.is_empty() {
        true => String::from("<p>The configs are the same, but for names and folders.</p>"),
        false => table(&head, &rows),
    };
    let mut after = Vec::new();
    match status::is_under_way(runs) {
        true => before.extend(status),
        false => after.extend(status),
    }
    after.push(Section::new("Keys of the config that differ", body));
    (before, after)
}

fn spent(run: &Run) -> [String; 7] {
    let summary = run.summary.as_ref();
    let end = run.end();
    let steps = summary.map(|summary| summary.steps as f64);
    let seconds = summary.map(|summary| summary.training_seconds);
    let of_end = |value: Option<f64>| value.map_or_else(String::new, figure);
    let workers = summary.map_or(run.metrics.workers.len(), |summary| summary.workers);
    [
        run.state.name().to_owned(),
        run.setting("method.name").unwrap_or_default().to_owned(),
        workers.to_string(),
        of_end(steps.or(end.map(|end| end.steps))),
        seconds
            .or(end.map(|end| end.seconds))
            .map_or_else(String::new, duration),
        bytes(run.events.total_bytes()),
        status::leader(run).unwrap_or_default(),
    ]
}

/// A metric at the end: as the summary has it, or of the last evaluation.
pub fn last(run: &Run, scored: Scored, name: &str) -> Option<f64> {
    let held_out = run.summary.as_ref().map(|summary| &summary.test);
    match held_out {
        Some(test) => of_summary(test, scored)?.get(name),
        None => Some(run.metrics.scores.get(name)?.get(&scored)?.last()?.y),
    }
}

fn of_summary(test: &HeldOut, scored: Scored) -> Option<&Score> {
    let score = match scored {
        Scored::Leader => &test.leader,
        Scored::ReplicaMean => &test.replica_mean,
        Scored::WorkerMean => &test.worker_mean,
        Scored::Ema => &test.ema,
        Scored::Lawa => &test.lawa,
        Scored::Worker(_) => &None,
    };
    score.as_ref()
}

fn final_scores(run: &Run) -> Option<Section> {
    let names: Vec<&str> = run.scored().into_iter().map(|(name, _)| name).collect();
    let of = |name: &str, value: &dyn Fn(&str) -> Option<f64>| {
        let values: Vec<Option<f64>> = names.iter().map(|name| value(name)).collect();
        let shown = values
            .iter()
            .map(|value| value.map_or_else(String::new, figure));
        let row: Vec<String> = std::iter::once(name.to_owned()).chain(shown).collect();
        values.iter().any(Option::is_some).then_some(row)
    };
    let all_nodes = run.summary.as_ref();
    let all_nodes = all_nodes.and_then(|summary| summary.test.mean_of_all_nodes.as_ref());
    let best = run
        .summary
        .as_ref()
        .and_then(|summary| summary.best.as_ref());
    let best_name = best.map(|best| format!("best, at step {}", best.step));
    let rows = [
        of("leader", &|name| last(run, Scored::Leader, name)),
        of("replica mean", &|name| last(run, Scored::ReplicaMean, name)),
        of("mean over workers", &|name| {
            last(run, Scored::WorkerMean, name)
        }),
        of("mean of all nodes", &|name| all_nodes?.get(name)),
        of("EMA", &|name| last(run, Scored::Ema, name)),
        of("LAWA", &|name| last(run, Scored::Lawa, name)),
        best_name.and_then(|row| {
            of(&row, &|name| {
                best.filter(|best| best.metric == name)
                    .map(|best| best.value)
            })
        }),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().flatten().collect();
    let names: Vec<String> = names.iter().map(|name| metric(run, name)).collect();
    let mut head = vec!["on held-out examples"];
    head.extend(names.iter().map(String::as_str));
    let title = match run.summary {
        Some(_) => "At the end",
        None => "At the last evaluation",
    };
    (!rows.is_empty()).then(|| Section::new(title, table(&head, &rows)))
}

/// Where a worker's time went.
fn time(run: &Run) -> Option<Section> {
    let summary: &Summary = run.summary.as_ref()?;
    let share = |seconds: f64| match summary.training_seconds > 0.0 {
        true => format!("{:.2} %", 100.0 * seconds / summary.training_seconds),
        false => String::new(),
    };
    let row = |name: &str, seconds: f64| vec![name.to_owned(), duration(seconds), share(seconds)];
    let mut rows = vec![
        row("training", summary.training_seconds),
        row("waiting for data", summary.data_wait_seconds),
        row("in exchanges, without waiting", summary.exchange.seconds),
        row(
            "waiting for other workers in exchanges",
            summary.exchange.wait_seconds,
        ),
    ];
    rows.push(vec![
        String::from("start to end of the last process"),
        duration(summary.seconds),
        String::new(),
    ]);
    let checkpoints = summary.checkpoints;
    if let Some(seconds) = checkpoints.write_seconds {
        let name = format!(
            "writing a checkpoint while training went on (mean of {})",
            checkpoints.written
        );
        rows.push(vec![name, duration(seconds), String::new()]);
    }
    let head = ["mean over workers", "time", "of training time"];
    Some(Section::new("Time", table(&head, &rows)))
}

fn exchanges(run: &Run) -> Option<Section> {
    let exchanges = run.events.exchanges.iter().map(|of| {
        vec![
            format!("exchanges of {} {}", vector(of.vector), scope(of.scope)),
            of.count.to_string(),
            bytes(of.bytes),
            String::new(),
            String::new(),
        ]
    });
    let pulls = run.events.pulls.iter().map(|of| {
        vec![
            format!("pulls {}", scope(of.scope)),
            of.count.to_string(),
            String::new(),
            figure(of.strength / of.count as f64),
            figure(of.staleness / of.count as f64),
        ]
    });
    let rows: Vec<Vec<String>> = exchanges.chain(pulls).collect();
    let head = [
        "",
        "number",
        "bytes",
        "mean strength",
        "mean staleness (steps)",
    ];
    (!rows.is_empty()).then(|| Section::new("Exchanges and pulls", table(&head, &rows)))
}

/// How often each worker led.
fn led(run: &Run) -> Option<Section> {
    let leadership = &run.events.leadership;
    let mut rows: BTreeMap<_, [u64; 2]> = BTreeMap::new();
    for (id, won) in leadership.local.values().flat_map(|bands| &bands.won) {
        rows.entry(*id).or_default()[0] += won;
    }
    for (id, won) in &leadership.global.won {
        rows.entry(*id).or_default()[1] += won;
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, won)| std::cmp::Reverse(*won));
    let has_global = leadership.global.elections() > 0;
    let rows = rows
        .into_iter()
        .take(super::metrics::WORKERS)
        .map(|(id, [local, global])| {
            let mut row = vec![worker(run, id), local.to_string()];
            row.extend(has_global.then(|| global.to_string()));
            row
        });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut head = vec!["worker", "elections won in its node"];
    head.extend(has_global.then_some("over all nodes"));
    (!rows.is_empty()).then(|| Section::new("Who led how often", table(&head, &rows)))
}

fn happened(run: &Run) -> Option<Section> {
    if run.events.marks.is_empty() {
        return None;
    }
    let kinds = run.events.marks.kinds();
    let counts = kinds.map(|(kind, of)| vec![kind.name().to_owned(), of.count.to_string()]);
    let counts: Vec<Vec<String>> = counts.collect();
    let marks = run
        .events
        .marks
        .kinds()
        .flat_map(|(kind, of)| of.marks.iter().map(move |mark| (*kind, mark)));
    let mut marks: Vec<_> = marks.collect();
    marks.sort_by(|(_, one), (_, other)| one.at.seconds.total_cmp(&other.at.seconds));
    let all = marks.len();
    let rows = marks.into_iter().take(HAPPENED).map(|(kind, mark)| {
        let time = duration(mark.at.seconds);
        vec![time, kind.name().to_owned(), mark.text.clone()]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut body = table(&["event", "number"], &counts);
    body += &table(&["time", "event", ""], &rows);
    if all > HAPPENED {
        body += &format!("<p>The first {HAPPENED} of {all} are listed.</p>\n");
    }
    Some(Section::closed("What happened", body))
}
