//! Reports of small records, whose numbers are computed by hand.

use lsgd_core::Scope;
use serde_json::json;

use super::*;
use crate::chaos::fault::{Act, Fault};
use crate::chaos::log::{Entry, Seen};
use crate::chaos::records::Run;
use crate::chaos::usage::Usage;
use crate::storage::{MetricInfo, Summary};

pub fn at(at: f64, what: What) -> Entry {
    Entry { at, what }
}

pub fn started(node: u32) -> What {
    What::Started {
        node,
        process: node,
        again: false,
    }
}

pub fn ended(node: u32) -> What {
    What::Ended {
        node,
        end: String::from("killed"),
    }
}

pub fn fault(number: usize, act: Act) -> What {
    What::Fault { number, act }
}

pub fn healed(number: usize) -> What {
    What::Healed { number }
}

pub fn trained(node: u32, step: u64) -> What {
    What::Trained { node, step }
}

pub fn seen(node: u32, line: Seen) -> What {
    What::Seen { node, line }
}

pub fn exchange(node: u32, exchange: u64) -> What {
    let line = Seen::Exchange {
        step: 8 * exchange,
        exchange,
        scope: Scope::Global,
    };
    What::Seen { node, line }
}

/// The summary of a node that counts so many samples; the first one has evaluated the mean.
fn summary(samples: u64, error: Option<f64>) -> Option<Summary> {
    let mean = error.map(|error| json!({ "error": error }));
    let summary = json!({
        "method": "lsgd", "workers": 1, "end": "budget", "steps": 10, "samples": samples,
        "epochs": 1.0, "seconds": 1.0, "training_seconds": 1.0, "samples_per_second": 1.0,
        "test": { "leader": null, "replica_mean": null, "mean_of_all_nodes": mean, "worker_mean": null },
        "best": null, "data_wait_seconds": 0.0, "digests": [], "peak_memory_bytes": null,
        "exchange": { "count": 1, "seconds": 0.0, "wait_seconds": 0.0, "bytes": 1 },
    });
    Some(serde_json::from_value(summary).unwrap())
}

fn sample(at: f64, node: u32, process: u32, resident_kib: u64, cpu_seconds: f64) -> Sample {
    let usage = Usage {
        resident_kib,
        open_files: 10 + u64::from(process),
        cpu_seconds,
    };
    Sample {
        at,
        node,
        process,
        usage,
    }
}

fn records(name: &str, log: Vec<Entry>, summaries: Vec<Option<Summary>>) -> Records {
    let run = Run {
        name: name.to_owned(),
        seed: 1,
        faults: Vec::new(),
    };
    Records {
        run,
        log,
        summaries,
        metric: Some(MetricInfo {
            name: String::from("error"),
            unit: String::from("%"),
            better: Better::Lower,
        }),
        samples: Vec::new(),
        threads: 2,
        mode: String::from("sync"),
        checkpoint_steps: Some(16),
    }
}

/// Two nodes that train from second 1 to second 11.
fn sound(name: &str, error: f64) -> Records {
    let log = vec![
        at(0.0, started(1)),
        at(0.0, started(2)),
        at(1.0, trained(1, 8)),
        at(1.0, exchange(1, 1)),
        at(1.0, exchange(2, 1)),
        at(11.0, trained(2, 80)),
    ];
    records(
        name,
        log,
        vec![summary(500, Some(error)), summary(500, None)],
    )
}

fn faulty() -> Records {
    let kill = Act::Kill { node: 2 };
    let log = vec![
        at(0.0, started(1)),
        at(0.0, started(2)),
        at(1.0, trained(1, 8)),
        at(1.0, exchange(1, 1)),
        at(1.0, exchange(2, 1)),
        at(3.0, trained(2, 24)),
        at(4.0, fault(0, kill)),
        at(4.0, ended(2)),
        at(5.0, seen(1, Seen::NodeLost { lost: 1 })),
        at(5.5, exchange(1, 2)),
        at(6.0, started(2)),
        at(6.5, exchange(1, 3)),
        at(7.0, seen(2, Seen::Joined { step: 16 })),
        at(8.0, trained(2, 20)),
        at(8.5, exchange(1, 4)),
        at(8.5, exchange(2, 4)),
        at(9.0, What::Missed { number: 1 }),
        at(
            10.0,
            What::Removed {
                node: 2,
                file: String::from("metrics.jsonl"),
                lines: 3,
                steps: 30,
            },
        ),
        at(11.0, trained(1, 80)),
    ];
    let mut records = records(
        "faults",
        log,
        vec![summary(500, Some(12.0)), summary(380, None)],
    );
    let fault = |at| Fault { at, act: kill };
    records.run.faults = [3.0, 8.0, 99.0].map(fault).into();
    records
}

#[test]
fn goodput_is_measured_by_the_runs_without_faults_and_by_what_survived() {
    let report = report(&[sound("a", 10.0), sound("b", 12.5)], &faulty());
    assert_eq!(report.fault_free[0].goodput, Some(100.0));
    assert_eq!(report.faults.goodput, Some(88.0));
    assert_eq!(report.goodput_share, Some(0.88));
    // One node of two was away for 2 of 10 seconds.
    assert_eq!(report.capacity, Some(0.9));
    assert_eq!(report.goodput_share_of_capacity, Some(0.88 / 0.9));
    // The second node was there at rounds 1, 3 and 4, and took part in two of them.
    assert_eq!(report.participation, Some(6.0 / 7.0));
}

#[test]
fn an_error_is_within_the_spread_if_a_run_without_faults_has_one_as_high() {
    let error = |runs: &[Records]| report(runs, &faulty()).error.unwrap();
    let beside = error(&[sound("a", 10.0), sound("b", 12.5)]);
    assert_eq!(beside.with_faults, Some(12.0));
    assert_eq!(beside.fault_free, [10.0, 12.5]);
    assert!(beside.within_spread);
    assert!(!error(&[sound("a", 10.0)]).within_spread);
    assert!(!error(&[]).within_spread);
}

#[test]
fn what_is_lost_is_counted() {
    let lost = report(&[], &faulty()).lost;
    let expected = Lost {
        not_recovered: 0,
        overtaken: 0,
        steps: 8,
        most_steps: 8,
        most_steps_of_all: 0,
        most_intervals_of_all: Some(0.0),
        removed_lines: 3,
        removed_steps: 30,
        unfinished_nodes: Vec::new(),
        missed_faults: 1,
        faults_to_come: 1,
    };
    assert_eq!(lost, expected);

    let mut records = faulty();
    records.summaries[1] = None;
    // It never comes back.
    records.log.truncate(10);
    records.log.push(at(11.0, trained(1, 80)));
    let lost = report(&[], &records).lost;
    assert_eq!(lost.not_recovered, 1);
    assert_eq!(lost.unfinished_nodes, [2]);
    assert_eq!(lost.faults_to_come, 2);
}

#[test]
fn in_async_participation_is_the_rate_of_exchanges() {
    let mut sound = sound("a", 10.0);
    let mut faulty = faulty();
    (sound.mode, faulty.mode) = (String::from("async"), String::from("async"));
    // 2 in 20 seconds without faults; 6 in 18 with them.
    assert_eq!(report(&[sound.clone()], &faulty).participation, Some(1.0));
    faulty.log.retain(|entry| {
        !matches!(
            entry.what,
            What::Seen {
                node: 1,
                line: Seen::Exchange { exchange: 2.., .. }
            }
        )
    });
    faulty.log.retain(|entry| entry.what != exchange(2, 1));
    // 2 in 18 seconds.
    assert_eq!(report(&[sound.clone()], &faulty).participation, Some(1.0));
    faulty.log.retain(|entry| entry.what != exchange(2, 4));
    let share = report(&[sound], &faulty).participation.unwrap();
    assert!((share - 10.0 / 18.0).abs() < 1e-12, "{share}");
}

#[test]
fn usage_is_told_by_node_and_in_all() {
    let mut records = sound("a", 10.0);
    records.samples = vec![
        sample(0.0, 0, 9, 50, 100.0),
        sample(0.0, 1, 1, 2048, 0.0),
        sample(10.0, 0, 9, 60, 101.0),
        sample(10.0, 1, 1, 4096, 3.0),
        // Another process of the same node.
        sample(20.0, 0, 9, 60, 102.0),
        sample(20.0, 1, 2, 3072, 5.0),
    ];
    let run = run_report(&records);
    // 2 of chaos, 3 and 5 of the node, of twice 20 seconds.
    assert_eq!(run.cpu_share, Some(10.0 / 40.0));
    let usage = run.usage[&1];
    assert_eq!(usage.processes, 2);
    let resident = Range {
        first: 2048,
        last: 3072,
        largest: 4096,
    };
    assert_eq!(usage.resident_kib, resident);
    assert_eq!(usage.open_files.largest, 12);
    assert_eq!(super::cpu_share(&[], 2), None);
}

#[test]
fn the_text_has_all_of_it() {
    let runs = Runs {
        nodes: 2,
        workers: 1,
        pace_millis: 50,
        runs: Vec::new(),
    };
    let report = report(&[sound("a", 10.0), sound("b", 12.5)], &faulty());
    let text = text::markdown(&report, &runs);
    for line in [
        "2 nodes of 1 worker, a step at least every 50 ms. 1 fault in 10 s, 360 an hour.",
        "| goodput, of that without faults | 88.0 % |",
        "| participation | 85.7 % |",
        "| error at the end | 12.0000; without faults 10.0000, 12.5000: within their spread, or better |",
        "| faults | 880 | 10.0 | 88.0 | 12.0000 | - |",
        "| kill | 1 | 1 | 1.0 s | 1.0 s | 1 | 4.0 s | 4.0 s |",
        "| most after the kill of all nodes | 0; 0.00 checkpoint intervals |",
        "| nodes that have not ended their run | none |",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let busy = "give a larger pace_millis";
    assert!(!text.contains(busy));
    let mut report = report;
    report.fault_free[0].cpu_share = Some(0.61);
    assert!(text::markdown(&report, &runs).contains(busy));
}
