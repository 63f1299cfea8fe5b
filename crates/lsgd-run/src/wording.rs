//! Lines of records in the words in which a run tells of them itself.

use lsgd_core::{Event, WorkerId};
use serde::Deserialize;

use crate::storage::{Evaluation, MetricInfo, Score};
use crate::words::{count, printable};

/// A line for the user, and the second of training that it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub seconds: f64,
    pub line: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Evaluation,
    #[serde(other)]
    Other,
}

/// The field that says what a line of `metrics.jsonl` is.
#[derive(Deserialize)]
struct Metric {
    kind: Kind,
}

/// What a line of `metrics.jsonl` tells, of a run whose task has these metrics: an evaluation.
///
/// # Errors
///
/// If it is no such line.
pub fn metric(line: &[u8], metrics: &[MetricInfo]) -> Result<Option<Told>, serde_json::Error> {
    if serde_json::from_slice::<Metric>(line)?.kind == Kind::Other {
        return Ok(None);
    }
    let evaluation: Evaluation = serde_json::from_slice(line)?;
    let line = match (metrics, evaluation.headline()) {
        ([], Some((_, score))) => evaluation.line(&names(score)),
        _ => evaluation.line(metrics),
    };
    Ok(Some(Told {
        seconds: evaluation.seconds,
        line: printable(&line),
    }))
}

/// The metrics of a run of a version that did not write what they are.
fn names(score: &Score) -> Vec<MetricInfo> {
    let named = |(name, _): (&str, f64)| MetricInfo {
        name: name.to_owned(),
        unit: String::new(),
        better: crate::Better::Lower,
    };
    score.metrics().map(named).collect()
}

/// The fields of a line of `events.jsonl` that are not an [`Event`]'s.
#[derive(Deserialize)]
struct Head {
    event: String,
    #[serde(default)]
    step: u64,
    seconds: f64,
    worker: Option<WorkerId>,
    #[serde(default)]
    changes: Vec<String>,
}

/// What a line of `events.jsonl` of node `own`, from 0, tells: what does not happen in every exchange.
///
/// # Errors
///
/// If it is no such line.
pub fn event(line: &[u8], own: u32) -> Result<Option<Told>, serde_json::Error> {
    let head: Head = serde_json::from_slice(line)?;
    let step = head.step;
    let told = match (head.event.as_str(), head.worker) {
        ("checkpoint", _) => Some(format!("step {step}: checkpoint")),
        ("resumed", _) => {
            let mut parts = vec![format!("continuing after {}", count(step, "step"))];
            parts.extend(head.changes);
            Some(parts.join("; "))
        }
        ("diverged", Some(worker)) => Some(format!(
            "{} has diverged: its loss has not been finite since step {step}",
            name(worker, own)
        )),
        (
            "joined" | "node_connected" | "node_lost" | "not_fetched" | "refused" | "restarted"
            | "left",
            _,
        ) => of_event(&serde_json::from_slice(line)?, own),
        _ => None,
    };
    Ok(told.map(|line| Told {
        seconds: head.seconds,
        line: printable(&line),
    }))
}

fn of_event(event: &Event, own: u32) -> Option<String> {
    Some(match event {
        Event::Joined { step, source, .. } => match source {
            // Every run begins so.
            None if *step == 0 => return None,
            None => format!("joined at step {step}"),
            Some(source) => format!("joined at step {step}, with the parameters of {source}"),
        },
        Event::Refused { step, worker, why } => {
            format!(
                "step {step}: the vector of {} is refused: {why}",
                name(*worker, own)
            )
        }
        Event::Restarted { step, worker, .. } => {
            format!("{} starts again at step {step}", name(*worker, own))
        }
        Event::Left { step, worker } => {
            format!("{} has left after step {step}", name(*worker, own))
        }
        other => return other.notice(),
    })
}

/// A worker as a node speaks of it.
fn name(id: WorkerId, own: u32) -> String {
    match id.node == own {
        true => format!("worker {}", id.worker),
        false => format!("worker {} of node {}", id.worker, u64::from(id.node) + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_event(line: &str) -> Option<String> {
        event(line.as_bytes(), 0).unwrap().map(|told| {
            assert_eq!(told.seconds, 2.5);
            told.line
        })
    }

    #[test]
    fn events_are_told_as_a_run_tells_them() {
        let worker = |node: u32| format!("\"worker\":{{\"node\":{node},\"worker\":3}}");
        for (fields, expected) in [
            (
                String::from("\"event\":\"checkpoint\",\"path\":\"x\",\"step\":8"),
                "step 8: checkpoint",
            ),
            (
                String::from(
                    "\"event\":\"resumed\",\"step\":1,\"changes\":[\"budget.steps is 9\"]",
                ),
                "continuing after 1 step; budget.steps is 9",
            ),
            (
                format!("\"event\":\"diverged\",\"step\":4,{}", worker(0)),
                "worker 3 has diverged: its loss has not been finite since step 4",
            ),
            (
                String::from("\"event\":\"node_connected\",\"step\":0,\"node\":1"),
                "node 2 connected",
            ),
            (
                String::from(
                    "\"event\":\"node_lost\",\"step\":4,\"node\":1,\"why\":\"disconnected\"",
                ),
                "node 2 disconnected at step 4; continuing without it",
            ),
            (
                String::from(
                    "\"event\":\"node_lost\",\"step\":4,\"node\":1,\"why\":{\"stalled\":{\"seconds\":30.2}}",
                ),
                "node 2 made no progress for 30 s; continuing without it from step 4",
            ),
            (
                format!(
                    "\"event\":\"refused\",\"step\":4,\"why\":{{\"not_finite\":{{\"index\":7}}}},{}",
                    worker(1)
                ),
                "step 4: the vector of worker 3 of node 2 is refused: value 7 is not finite",
            ),
            (
                format!("\"event\":\"restarted\",\"step\":4,{}", worker(0)),
                "worker 3 starts again at step 4",
            ),
            (
                format!("\"event\":\"left\",\"step\":4,{}", worker(0)),
                "worker 3 has left after step 4",
            ),
            (
                String::from("\"event\":\"joined\",\"step\":4,\"source\":null,\"bytes\":0"),
                "joined at step 4",
            ),
        ] {
            let line = format!("{{{fields},\"seconds\":2.5}}");
            assert_eq!(of_event(&line).as_deref(), Some(expected), "{line}");
        }
        for fields in [
            "\"event\":\"joined\",\"step\":0,\"source\":null,\"bytes\":0",
            "\"event\":\"exchange\",\"step\":4",
            "\"event\":\"of a later version\"",
        ] {
            assert_eq!(of_event(&format!("{{{fields},\"seconds\":2.5}}")), None);
        }
        let nasty = r#"{"event":"resumed","step":2,"changes":["\u001b[2J"],"seconds":2.5}"#;
        assert_eq!(
            of_event(nasty).unwrap(),
            "continuing after 2 steps; \\u{1b}[2J"
        );
        assert!(event(b"{\"event\":\"left\",\"seconds\":1.0}", 0).is_err());
    }

    #[test]
    fn an_evaluation_is_told_as_progress_tells_it() {
        let line = br#"{"kind":"evaluation","step":16,"epoch":1.0,"samples":512,"seconds":0.2,"examples":102,
            "leader":{"worker":{"node":0,"worker":1},"training_loss":1.3,"test":{"error":54.9,"loss":1.25},
            "digest":""},"replica_mean":null,"ema":{"error":null,"loss":2.0},"workers":[]}"#;
        let info = |name: &str, unit: &str| MetricInfo {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better: crate::Better::Lower,
        };
        let metrics = [info("error", "%"), info("loss", "")];
        let told = |metrics: &[MetricInfo]| metric(line, metrics).unwrap().unwrap().line;
        assert_eq!(
            told(&metrics),
            "step 16, epoch 1.00: leader error 54.90 %, loss 1.250; replica mean none; \
             EMA error NaN %, loss 2.000"
        );
        assert!(told(&[]).starts_with("step 16, epoch 1.00: leader error 54.900, loss 1.250; "));
        let interval = b"{\"kind\":\"interval\",\"step\":4}";
        assert_eq!(metric(interval, &metrics).unwrap(), None);
        assert!(metric(b"what?", &metrics).is_err());
    }
}
