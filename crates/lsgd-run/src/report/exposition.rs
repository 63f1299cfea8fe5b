//! The latest figures of runs in Prometheus' text format (version 0.0.4), which its server scrapes.
//!
//! Names follow its conventions: base units, and `_total` for what only grows. A run that is continued
//! from an earlier step is a counter that begins anew.

use std::fmt::Write;

use lsgd_core::{Scope, WorkerId};

use super::charts::vector;
use super::metrics::{Scored, Training};
use super::run::Run;
use super::thinning::Thinned;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family of figures does over time.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Figures of one name.
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: Vec<(String, f64)>,
}

impl Family {
    fn counter(name: &'static str, help: &'static str) -> Self {
        let (kind, samples) = (Kind::Counter, Vec::new());
        Self {
            name,
            kind,
            help,
            samples,
        }
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        let kind = Kind::Gauge;
        Self {
            kind,
            ..Self::counter(name, help)
        }
    }

    /// Adds a figure.
    fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        self.samples.push((labels.join(","), value));
    }

    fn write(&self, text: &mut String) {
        let Self { name, help, .. } = self;
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        if !self.samples.is_empty() {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        for (labels, value) in &self.samples {
            let _ = writeln!(text, "{name}{{{labels}}} {}", number(*value));
        }
    }
}

/// A label's value as it stands between quotes.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => String::from("NaN"),
        value if value == f64::INFINITY => String::from("+Inf"),
        value if value == f64::NEG_INFINITY => String::from("-Inf"),
        value => value.to_string(),
    }
}

/// The latest figures of all runs.
pub fn exposition(runs: &[Run]) -> String {
    let families = [
        vec![info(runs), seconds(runs)],
        of_evaluations(runs),
        of_workers(runs),
        of_exchanges(runs),
        vec![pulls(runs), elections(runs), events(runs)],
    ];
    let mut text = String::new();
    for family in families.iter().flatten() {
        family.write(&mut text);
    }
    text
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Local => "local",
        Scope::Global => "global",
    }
}

fn info(runs: &[Run]) -> Family {
    let mut info = Family::gauge("lsgd_run_info", "What a run is, and its state; always 1.");
    for run in runs {
        let setting = |key| run.setting(key).unwrap_or_default();
        let labels = [
            ("run", run.name.as_str()),
            ("method", setting("method.name")),
            ("mode", setting("run.mode")),
            ("state", run.state.name()),
        ];
        info.add(&labels, 1.0);
    }
    info
}

fn seconds(runs: &[Run]) -> Family {
    let mut seconds = Family::counter(
        "lsgd_training_seconds_total",
        "Seconds of training until the last record; of a simulation, of its virtual clock.",
    );
    for run in runs {
        if let Some(end) = run.end() {
            seconds.add(&[("run", &run.name)], end.seconds);
        }
    }
    seconds
}

fn of_evaluations(runs: &[Run]) -> Vec<Family> {
    let mut scores = Family::gauge(
        "lsgd_score",
        "The last value of a metric on held-out examples.",
    );
    let mut samples = Family::counter(
        "lsgd_samples_total",
        "Training examples seen by all workers until the last evaluation.",
    );
    let mut pace = Family::gauge(
        "lsgd_samples_per_second",
        "Training examples a second of all workers between the last two evaluations.",
    );
    for run in runs {
        for (metric, of) in run.scored() {
            let known = run.record.metrics.iter().find(|known| known.name == metric);
            let unit = known.map_or("", |known| known.unit.as_str());
            for (scored, series) in of {
                let labels = [
                    ("run", run.name.as_str()),
                    ("metric", metric),
                    ("unit", unit),
                ];
                let (of, node, worker) = match scored {
                    Scored::Leader => ("leader", None, None),
                    Scored::ReplicaMean => ("replica_mean", None, None),
                    Scored::WorkerMean => ("mean_over_workers", None, None),
                    Scored::Ema => ("ema", None, None),
                    Scored::Lawa => ("lawa", None, None),
                    Scored::Worker(id) => {
                        let (node, worker) = names(*id);
                        ("worker", Some(node), Some(worker))
                    }
                };
                let place = [("node", &node), ("worker", &worker)];
                let place = place
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value.as_deref()?)));
                let labels: Vec<_> = labels
                    .into_iter()
                    .chain([("of", of)])
                    .chain(place)
                    .collect();
                if let Some(last) = series.last() {
                    scores.add(&labels, last.y);
                }
            }
        }
        if let Some(last) = run.metrics.throughput.last() {
            samples.add(&[("run", &run.name)], last.at.samples);
            pace.add(&[("run", &run.name)], last.y);
        }
    }
    vec![scores, samples, pace]
}

/// A node, counted from 1, and a worker, as labels.
fn names(id: WorkerId) -> (String, String) {
    ((u64::from(id.node) + 1).to_string(), id.worker.to_string())
}

/// A figure of a worker's training, if there is one yet.
type OfTraining = fn(&Training) -> Option<f64>;

fn last(series: &Thinned) -> Option<f64> {
    series.last().map(|point| point.y)
}

fn of_workers(runs: &[Run]) -> Vec<Family> {
    let figures: [(Family, OfTraining); 4] = [
        (
            Family::counter("lsgd_worker_steps_total", "Steps of a worker."),
            |training| training.loss.last().map(|point| point.at.steps),
        ),
        (
            Family::gauge(
                "lsgd_worker_training_loss_nats",
                "Mean training loss of a worker over its last interval, in nats.",
            ),
            |training| last(&training.loss),
        ),
        (
            Family::gauge("lsgd_worker_learning_rate", "Learning rate of a worker."),
            |training| last(&training.rate),
        ),
        (
            Family::gauge(
                "lsgd_worker_steps_per_second",
                "Steps a second of a worker in its last interval.",
            ),
            |training| last(&training.pace),
        ),
    ];
    figures
        .into_iter()
        .map(|(mut family, of)| {
            for run in runs {
                for (id, training) in &run.metrics.training {
                    let (node, worker) = names(*id);
                    let labels = [
                        ("run", run.name.as_str()),
                        ("node", &node),
                        ("worker", &worker),
                    ];
                    if let Some(value) = of(training) {
                        family.add(&labels, value);
                    }
                }
            }
            family
        })
        .collect()
}

fn of_exchanges(runs: &[Run]) -> Vec<Family> {
    let mut count = Family::counter("lsgd_exchanges_total", "Exchanges that carried something.");
    let mut bytes = Family::counter("lsgd_exchange_bytes_total", "Payload of exchanges.");
    for run in runs {
        for of in &run.events.exchanges {
            let labels = [
                ("run", run.name.as_str()),
                ("scope", scope(of.scope)),
                ("vector", vector(of.vector)),
            ];
            count.add(&labels, of.count as f64);
            bytes.add(&labels, of.bytes as f64);
        }
    }
    vec![count, bytes, links(runs)]
}

fn links(runs: &[Run]) -> Family {
    let mut links = Family::counter(
        "lsgd_link_bytes_total",
        "Payload between a node and another since the node was last started, as last put on record.",
    );
    for run in runs {
        for exchanged in run.events.links.exchanged() {
            let peer = (u64::from(exchanged.peer) + 1).to_string();
            let flow = exchanged.bytes;
            for (way, bytes) in [("sent", flow.sent), ("received", flow.received)] {
                let labels = [
                    ("run", run.name.as_str()),
                    ("peer", &peer),
                    ("kind", exchanged.kind),
                    ("way", way),
                ];
                links.add(&labels, bytes as f64);
            }
        }
    }
    links
}

fn pulls(runs: &[Run]) -> Family {
    let mut pulls = Family::counter("lsgd_pulls_total", "Pulls of workers.");
    for run in runs {
        for of in &run.events.pulls {
            let labels = [("run", run.name.as_str()), ("scope", scope(of.scope))];
            pulls.add(&labels, of.count as f64);
        }
    }
    pulls
}

fn elections(runs: &[Run]) -> Family {
    let mut won = Family::counter("lsgd_elections_won_total", "Elections that a worker won.");
    for run in runs {
        let leadership = &run.events.leadership;
        let local = leadership.local.values().map(|bands| (Scope::Local, bands));
        let global = (Scope::Global, &leadership.global);
        for (of, bands) in local.chain([global]) {
            for (id, elections) in &bands.won {
                let (node, worker) = names(*id);
                let labels = [
                    ("run", run.name.as_str()),
                    ("scope", scope(of)),
                    ("node", &node),
                    ("worker", &worker),
                ];
                won.add(&labels, *elections as f64);
            }
        }
    }
    won
}

fn events(runs: &[Run]) -> Family {
    let mut events = Family::counter(
        "lsgd_events_total",
        "Checkpoints, restarts, losses of nodes and the like.",
    );
    for run in runs {
        for (kind, of) in run.events.marks.kinds() {
            let kind = kind.name().replace(' ', "_");
            let labels = [("run", run.name.as_str()), ("kind", &kind)];
            events.add(&labels, of.count as f64);
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_end_its_line() {
        let mut family = Family::gauge("a", "b");
        family.add(&[("run", "x\"} 1\ny\\")], f64::NAN);
        let mut text = String::new();
        family.write(&mut text);
        assert_eq!(
            text,
            "# HELP a b\n# TYPE a gauge\na{run=\"x\\\"} 1\\ny\\\\\"} NaN\n"
        );
    }

    #[test]
    fn numbers_are_as_prometheus_reads_them() {
        for (value, expected) in [
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
            (1e21, "1000000000000000000000"),
            (0.25, "0.25"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_family_without_figures_is_left_out() {
        assert_eq!(exposition(&[]), "");
    }
}
