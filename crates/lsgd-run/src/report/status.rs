//! How runs stand: their workers and leaders, what their nodes exchange, and what they told last. The same
//! on a page that is made once and on one that follows runs.

use lsgd_core::WorkerId;

use super::charts::{metric, worker};
use super::events::LOG;
use super::html::{bytes, duration, figure, table};
use super::links::Flow;
use super::run::Run;
use super::section::Section;
use crate::storage::State;
use crate::words::count;

/// Most rows of a table that is open at first.
const OPEN: usize = 64;

/// Most rows of what nodes exchange.
const LINKS: usize = 1024;

/// Most runs whose last lines are shown, each in a table of its own.
const LOGS: usize = 8;

/// How the runs stand, as far as their records say. Those of one folder are the nodes of one run.
pub fn sections(runs: &[Run]) -> Vec<Section> {
    // Beside each other, where there is room: the log is the tallest.
    let mut sections: Vec<Section> = workers(runs).into_iter().collect();
    sections.extend(logs(runs));
    sections.extend(links(runs));
    sections
}

/// What one of several runs is called in a table: a node of the only run by its number.
fn label(runs: &[Run], run: &Run) -> String {
    let is_alone = runs.iter().all(|other| other.folder == run.folder);
    match run.node.filter(|_| is_alone) {
        Some(node) => format!("node {node}"),
        None => run.name.clone(),
    }
}

/// Whether one of them goes on, so that this is what a page is opened for.
pub fn is_under_way(runs: &[Run]) -> bool {
    runs.iter().any(|run| run.state.may_go_on())
}

/// Who leads the workers of a run of one node, or of a node, and since which step.
pub fn leader(run: &Run) -> Option<String> {
    let local = &run.events.leadership.local;
    let (_, bands) = local.first_key_value().filter(|_| local.len() == 1)?;
    let (id, since) = bands.now()?;
    Some(format!(
        "worker {} since step {}",
        id.worker,
        figure(since.steps)
    ))
}

fn section(title: &str, body: String, rows: usize) -> Section {
    match rows > OPEN {
        true => Section::closed(title, body),
        false => Section::new(title, body),
    }
}

/// What a worker does, in a word: that of its run, unless the records know better.
fn state(run: &Run, id: WorkerId, loss: Option<f64>) -> String {
    if loss.is_some_and(|loss| !loss.is_finite()) {
        return String::from("diverged");
    }
    match (run.state, run.events.left.get(&id)) {
        // After an error all of them leave.
        (State::BrokenOff, _) => State::BrokenOff.name().to_owned(),
        (_, Some(step)) => format!("left after step {step}"),
        (State::Running, None) => String::from("training"),
        (state, None) => state.name().to_owned(),
    }
}

/// Whom a worker leads, and since which step. One whose process is gone leads nobody.
fn leads(run: &Run, id: WorkerId) -> String {
    if matches!(run.state, State::Killed | State::BrokenOff) || run.events.left.contains_key(&id) {
        return String::new();
    }
    let leadership = &run.events.leadership;
    let local = leadership.local.get(&id.node).into_iter();
    let scopes = local
        .map(|bands| ("its node", bands))
        .chain([("all nodes", &leadership.global)]);
    let led = scopes.filter_map(|(scope, bands)| {
        let (_, since) = bands.now().filter(|(leader, _)| *leader == id)?;
        Some(format!("{scope} ({})", figure(since.steps)))
    });
    led.collect::<Vec<_>>().join(", ")
}

/// What a worker of one of several runs is called.
fn name(runs: &[Run], run: &Run, id: WorkerId) -> String {
    match runs {
        [_] => worker(run, id),
        _ if run.node.is_some() => format!("{}: worker {}", label(runs, run), id.worker),
        _ => format!("{}: {}", label(runs, run), worker(run, id)),
    }
}

/// The metrics that are shown of each worker: of several runs the main one.
fn metrics(runs: &[Run]) -> Vec<(String, String)> {
    let named = |run: &Run, name: &str| (name.to_owned(), metric(run, name));
    match runs {
        [run] => {
            let scored = run.scored().into_iter();
            scored.map(|(name, _)| named(run, name)).collect()
        }
        runs => {
            let main = runs
                .iter()
                .find_map(|run| Some(named(run, run.scored().first()?.0)));
            main.into_iter().collect()
        }
    }
}

fn workers(runs: &[Run]) -> Option<Section> {
    let metrics = metrics(runs);
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for run in runs {
        for (id, training) in &run.metrics.training {
            let of_evaluation = run.metrics.last_workers.iter();
            let evaluated = of_evaluation.clone().find(|of| of.worker == *id);
            let last = training.loss.last();
            // Records that have no intervals say it of the last evaluation.
            let step = training.last.map(|last| last.steps as u64);
            let step = step.max(evaluated.and_then(|of| of.step));
            let loss = last.map(|point| point.y);
            let shown = loss.or(evaluated.and_then(|of| of.training_loss));
            let mut row = vec![
                name(runs, run, *id),
                state(run, *id, loss),
                step.map_or_else(String::new, |step| step.to_string()),
                shown.map_or_else(String::new, figure),
                leads(run, *id),
            ];
            for (metric, _) in &metrics {
                let value = evaluated
                    .and_then(|of| of.test.as_ref())
                    .and_then(|score| score.get(metric));
                row.push(value.map_or_else(String::new, figure));
            }
            rows.push(row);
        }
        notes.extend(note(runs, run));
    }
    let mut head = vec![
        "worker",
        "state",
        "step",
        "training loss (nats)",
        "leads (since step)",
    ];
    head.extend(metrics.iter().map(|(_, shown)| shown.as_str()));
    let mut body = table(&head, &rows);
    for note in notes {
        body += &format!("<p class=\"note\">{}</p>\n", super::html::escape(&note));
    }
    (!rows.is_empty()).then(|| section("Workers", body, rows.len()))
}

/// What is to be said of a run's workers and nodes besides.
fn note(runs: &[Run], run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let of = match runs {
        [_] => String::new(),
        _ => format!("{}: ", label(runs, run)),
    };
    let shown = run.metrics.training.len();
    if run.metrics.left_out() > 0 {
        let all = count(shown + run.metrics.left_out(), "worker");
        notes.push(format!("{of}of {all}, the first {shown} are shown."));
    }
    if run.state.may_go_on() && !run.events.lost.is_empty() {
        let lost = run.events.lost.iter();
        let lost: Vec<String> = lost
            .map(|node| (u64::from(*node) + 1).to_string())
            .collect();
        notes.push(format!("{of}it goes on without node {}.", lost.join(", ")));
    }
    notes
}

/// Bytes between each node and each other, by kind.
fn links(runs: &[Run]) -> Option<Section> {
    let mut rows = Vec::new();
    for run in runs {
        let of_run = match (runs, run.node) {
            ([_], _) => String::new(),
            (_, Some(_)) => format!("{}: ", label(runs, run)),
            (_, None) => continue,
        };
        let (mut bytes, mut rate) = (Flow::default(), None::<(f64, f64)>);
        let mut of_node = Vec::new();
        for exchanged in run.events.links.exchanged() {
            bytes = bytes.plus(exchanged.bytes);
            if let Some((sent, received)) = exchanged.rate {
                let before = rate.unwrap_or_default();
                rate = Some((before.0 + sent, before.1 + received));
            }
            let with = format!("{of_run}with node {}", u64::from(exchanged.peer) + 1);
            let kind = exchanged.kind.to_owned();
            of_node.push(row(with, kind, exchanged.bytes, exchanged.rate));
        }
        if !of_node.is_empty() {
            rows.push(row(
                format!("{of_run}with all nodes"),
                String::from("all"),
                bytes,
                rate,
            ));
            rows.extend(of_node);
        }
    }
    let all = rows.len();
    rows.truncate(LINKS);
    let head = ["", "kind", "sent", "received", "sending", "receiving"];
    let mut body = table(&head, &rows);
    body += "<p class=\"note\">Payload since each node was last started.";
    if all > LINKS {
        body += &format!(" The first {LINKS} of {all} are shown.");
    }
    body += "</p>\n";
    (!rows.is_empty()).then(|| section("Bytes between nodes", body, rows.len()))
}

fn row(with: String, kind: String, flow: Flow, rate: Option<(f64, f64)>) -> Vec<String> {
    let rate_of = |rate: f64| format!("{}/s", bytes(rate.round() as u64));
    let (sent, received) = rate.map_or_else(Default::default, |(sent, received)| {
        (rate_of(sent), rate_of(received))
    });
    let (all_sent, all_received) = (bytes(flow.sent), bytes(flow.received));
    vec![with, kind, all_sent, all_received, sent, received]
}

/// What the runs told last: the nodes of one run together.
fn logs(runs: &[Run]) -> Vec<Section> {
    let mut folders: Vec<&std::path::Path> = Vec::new();
    for run in runs {
        if !folders.contains(&run.folder.as_path()) {
            folders.push(&run.folder);
        }
    }
    let alone = folders.len() == 1;
    let logs = folders.into_iter().take(LOGS).filter_map(|folder| {
        let own: Vec<&Run> = runs.iter().filter(|run| run.folder == folder).collect();
        let title = match own.first() {
            Some(first) if !alone => format!("Last lines, newest first: {}", first.name),
            _ => String::from("Last lines, newest first"),
        };
        let body = log(&own)?;
        Some(match alone {
            true => Section::new(&title, body),
            false => Section::closed(&title, body),
        })
    });
    logs.collect()
}

/// The newest lines of a run, or of all of its nodes, whose clock is the same.
fn log(nodes: &[&Run]) -> Option<String> {
    let mut lines: Vec<(f64, String)> = Vec::new();
    for run in nodes {
        lines.extend(run.log.iter().map(|told| {
            let line = match run.node {
                Some(node) if nodes.len() > 1 => format!("node {node} | {}", told.line),
                _ => told.line.clone(),
            };
            (told.seconds, line)
        }));
    }
    // Stable: the lines of one node stay in their order.
    lines.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let newest = lines.into_iter().rev().take(LOG);
    let rows: Vec<Vec<String>> = newest
        .map(|(seconds, line)| vec![duration(seconds), line])
        .collect();
    let body = format!(
        "<div class=\"log\" tabindex=\"0\" role=\"region\" aria-label=\"last lines\">{}</div>\n",
        table(&["time", "line"], &rows)
    );
    (!rows.is_empty()).then_some(body)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    const RECORD: &str = r#"{ "version": "0.1.0", "burn": "0.22.1", "devices": ["flex"], "seed": 1,
        "machine": { "os": "linux", "architecture": "x86_64", "threads": 2 }, "agreement": {},
        "layout": "", "parameters": 4, "start": "2026-11-30T06:02:28Z",
        "metrics": [{ "name": "error", "unit": "%", "better": "lower" }] }"#;

    /// A run of node `node`, from 1, whose name is markup, with these lines of events.
    fn run(folder: &Path, node: u32, events: &str) -> Run {
        fs::create_dir_all(folder).unwrap();
        let own = node - 1;
        let interval = |worker: u32, loss: &str| {
            format!(
                "{{\"kind\":\"interval\",\"step\":20,\"steps\":10,\"seconds\":2.0,\"worker\":\
                 {{\"node\":{own},\"worker\":{worker}}},\"loss\":{loss},\"learning_rate\":0.1}}\n"
            )
        };
        let evaluation = format!(
            "{{\"kind\":\"evaluation\",\"step\":20,\"epoch\":1.0,\"samples\":1,\"seconds\":2.5,\"examples\":1,\
             \"leader\":null,\"replica_mean\":{{\"error\":40.0}},\"workers\":[{{\"worker\":\
             {{\"node\":{own},\"worker\":0}},\"step\":20,\"training_loss\":1.0,\"test\":\
             {{\"error\":41.5}},\"digest\":\"\"}}]}}\n"
        );
        let metrics =
            interval(0, "1.25") + &interval(1, "null") + &interval(2, "2.0") + &evaluation;
        for (name, text) in [
            ("run.json", RECORD),
            ("config.toml", "[run]\nname = \"<b>\"\n"),
            ("metrics.jsonl", &metrics),
            ("events.jsonl", events),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        Run::read(folder, 1).unwrap()
    }

    fn events(own: u32, scope: &str) -> String {
        let worker = |worker: u32| format!("{{\"node\":{own},\"worker\":{worker}}}");
        let election = format!(
            "{{\"event\":\"election\",\"step\":8,\"scope\":\"{scope}\",\"leader\":{},\"reason\":\
             \"none_eligible\",\"excluded\":[],\"seconds\":0.8}}\n",
            worker(0)
        );
        let left = format!(
            "{{\"event\":\"left\",\"step\":17,\"worker\":{},\"seconds\":1.7}}\n",
            worker(2)
        );
        election + &left
    }

    fn traffic(seconds: u32, sent: u64) -> String {
        format!(
            "{{\"event\":\"traffic\",\"step\":1,\"peers\":{{\"1\":{{\"parameters\":{{\"sent\":{sent},\
             \"received\":500}}}}}},\"link\":null,\"seconds\":{seconds}.0}}\n"
        )
    }

    fn body(sections: &[Section], title: &str) -> String {
        let found = sections.iter().find(|section| section.title == title);
        found.map_or_else(String::new, |section| section.body.clone())
    }

    #[test]
    fn each_worker_has_the_state_that_the_records_tell() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(folder.path(), 1, &events(0, "local"));
        let body = body(&sections(&[run]), "Workers");
        for row in [
            "<th scope=\"row\">worker 0</th><td>killed</td><td>20</td><td>1.25</td>\
             <td></td><td>41.5</td>",
            "<th scope=\"row\">worker 1</th><td>diverged</td><td>20</td><td>not finite</td>",
            "<th scope=\"row\">worker 2</th><td>left after step 17</td><td>20</td><td>2</td>",
            "<th scope=\"col\">error (%)</th>",
        ] {
            assert!(body.contains(row), "{row}: {body}");
        }
    }

    /// As of a run that a process has open.
    #[test]
    fn the_nodes_of_a_run_are_told_together_and_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let place = |node: u32| folder.path().join(format!("node-{node}"));
        let lost = "{\"event\":\"node_lost\",\"step\":9,\"node\":1,\"why\":\"disconnected\",\"seconds\":1.0}\n";
        let of_first = events(0, "global") + lost + &traffic(5, 1000) + &traffic(10, 6000);
        let mut runs = vec![
            run(&place(1), 1, &of_first),
            run(&place(2), 2, &events(1, "local")),
        ];
        for run in &mut runs {
            run.state = State::Running;
        }
        let sections = sections(&runs);
        let workers = body(&sections, "Workers");
        for part in [
            "node 1: worker 0</th><td>training</td>",
            "<td>all nodes (8)</td>",
            "<td>its node (8)</td>",
            "node 1: it goes on without node 2.",
        ] {
            assert!(workers.contains(part), "{part}: {workers}");
        }
        let links = body(&sections, "Bytes between nodes");
        let row = "node 1: with node 2</th><td>parameters</td><td>6.0 kB</td><td>500 B</td>\
                   <td>1.0 kB/s</td><td>0 B/s</td>";
        assert!(links.contains(row), "{links}");
        let log = body(&sections, "Last lines, newest first");
        let lines: Vec<usize> = [
            "node 2 | step 20, epoch 1.00: leader none; replica mean error 40.00 %",
            "node 1 | step 20, epoch 1.00",
            "node 2 | worker 2 has left after step 17",
            "node 1 | worker 2 has left after step 17",
            "node 1 | node 2 disconnected at step 9; continuing without it",
        ]
        .into_iter()
        .map(|line| log.find(line).unwrap_or_else(|| panic!("{line}: {log}")))
        .collect();
        assert!(lines.is_sorted(), "{log}");
        // Beside another run each has its whole name.
        let other = run(&folder.path().join("other"), 1, "");
        runs.push(other);
        let all = super::sections(&runs);
        let workers = body(&all, "Workers");
        assert!(
            workers.contains("&lt;b&gt; node-1: worker 0</th>"),
            "{workers}"
        );
        for section in sections.iter().chain(&all) {
            assert!(!section.body.contains("<b>"), "{}", section.body);
        }
    }

    #[test]
    fn runs_of_several_folders_have_logs_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let runs = [
            run(&folder.path().join("one"), 1, &events(0, "local")),
            run(&folder.path().join("two"), 1, ""),
        ];
        let sections = sections(&runs);
        let logs = sections
            .iter()
            .filter(|section| section.title.starts_with("Last lines, newest first: "));
        assert_eq!(logs.filter(|section| section.closed).count(), 2);
    }
}
