use std::path::Path;
use std::sync::Arc;

use lsgd_core::{Scope, ShortDigest, SnapshotDigest, Source, VectorKind, WireFormat, WorkerId};
use proptest::prelude::*;

use super::log::{Decision, NodeLog, Place, Recorded};
use super::planner::{Shape, plan};
use super::script::{Act, Script};
use crate::error::RunError;

const WORKERS: u32 = 2;

/// What happens in a generated run, one after another.
#[derive(Debug, Clone)]
enum Happens {
    /// A worker takes so many steps and publishes.
    Publishes { worker: usize, steps: u64 },
    /// It takes so many and adopts one of those that were published last.
    Adopts {
        worker: usize,
        steps: u64,
        back: usize,
    },
}

fn happens() -> impl Strategy<Value = Vec<Happens>> {
    let workers = 0..2 * WORKERS as usize;
    let publishes = (workers.clone(), 1..5_u64)
        .prop_map(|(worker, steps)| Happens::Publishes { worker, steps });
    let adopts =
        (workers, 0..5_u64, 0..4_usize).prop_map(|(worker, steps, back)| Happens::Adopts {
            worker,
            steps,
            back,
        });
    proptest::collection::vec(prop_oneof![publishes, adopts], 1..60)
}

fn id(worker: usize) -> WorkerId {
    let worker = u32::try_from(worker).unwrap();
    WorkerId::new(worker / WORKERS, worker % WORKERS)
}

/// The records of two nodes in which that happens.
fn logs(happens: &[Happens]) -> Vec<NodeLog> {
    let mut logs: Vec<NodeLog> = (0..2)
        .map(|node| NodeLog {
            node,
            decisions: Vec::new(),
            evaluations: Vec::new(),
        })
        .collect();
    let mut at = [0; 2 * WORKERS as usize];
    let mut published: Vec<(Source, ShortDigest)> = Vec::new();
    for (number, happens) in happens.iter().enumerate() {
        let mut digest = [0; 32];
        digest[0] = u8::try_from(number).unwrap();
        let digest: ShortDigest = SnapshotDigest(digest).into();
        let (worker, decision) = match *happens {
            Happens::Publishes { worker, steps } => {
                at[worker] += steps;
                let source = Source::Worker {
                    id: id(worker),
                    step: at[worker],
                };
                published.push((source, digest));
                let decision = Decision::Exchange {
                    scope: Scope::Local,
                    vector: VectorKind::Parameters,
                    source,
                    added: None,
                    averaged: None,
                    digest: Some(digest),
                };
                (worker, decision)
            }
            Happens::Adopts {
                worker,
                steps,
                back,
            } => {
                let latest = published.len().checked_sub(back + 1);
                let Some((source, digest)) = latest.and_then(|at| published.get(at)) else {
                    continue;
                };
                at[worker] = (at[worker] + steps).max(1);
                let Source::Worker { id: leader, .. } = *source else {
                    unreachable!("only workers publish here");
                };
                let local = leader.node == id(worker).node;
                let decision = Decision::Adoption {
                    step: at[worker],
                    worker: id(worker),
                    scope: if local { Scope::Local } else { Scope::Global },
                    source: *source,
                    strength: 0.1,
                    digest: Some(*digest),
                };
                (worker, decision)
            }
        };
        let log = &mut logs[id(worker).node as usize];
        let file: Arc<Path> = Path::new("events.jsonl").into();
        let line = log.decisions.len() as u64 + 1;
        log.decisions.push(Recorded {
            place: Place { file, line },
            seconds: number as f64,
            decision,
        });
    }
    logs
}

fn planned(logs: &[NodeLog]) -> Result<Script, RunError> {
    let shape = Shape {
        workers: WORKERS,
        wire: WireFormat::F32,
        has_centre: false,
        budget_counts: false,
    };
    plan(shape, logs)
}

proptest! {
    /// Whatever workers did can be done again: doing one thing after another, each as soon as what it
    /// takes is there, comes to the end, for all of the run and for every part of it.
    #[test]
    fn every_run_can_be_followed_to_its_end(happens in happens(), until in 0..100_u64) {
        let script = planned(&logs(&happens)).unwrap();
        let told: usize = script.stages.iter().map(|stage| stage.actions.len()).sum();
        prop_assert_eq!(told, script.lines);
        for until in [None, Some(until)] {
            let needed = script.needed(until);
            let mut done = vec![0; needed.len()];
            loop {
                let before = done.clone();
                for (number, stage) in script.stages.iter().enumerate() {
                    while done[number] < needed[number] {
                        let is_there = match &stage.actions[done[number]].act {
                            Act::Adopt { taken, .. } => done[taken.from.0] > taken.from.1,
                            _ => true,
                        };
                        if !is_there {
                            break;
                        }
                        done[number] += 1;
                    }
                }
                if done == before {
                    break;
                }
            }
            prop_assert_eq!(&done, &needed);
            for (stage, needed) in script.stages.iter().zip(&needed) {
                let own = stage.actions.iter().filter(|a| until.is_none_or(|until| a.step <= until));
                prop_assert!(*needed >= own.count());
            }
        }
    }

    /// A vector whose publication is not recorded is not replaced by another.
    #[test]
    fn a_lost_line_is_noticed(happens in happens(), lost in 0..60_usize) {
        let mut logs = logs(&happens);
        let is_exchange = |r: &Recorded| matches!(r.decision, Decision::Exchange { .. });
        let exchanges = logs.iter().map(|log| log.decisions.iter().filter(|r| is_exchange(r)).count());
        let count: usize = exchanges.sum();
        prop_assume!(count > 0);
        let mut left = lost % count;
        let mut gone = None;
        for log in &mut logs {
            log.decisions.retain(|recorded| {
                let is_it = is_exchange(recorded) && left == 0 && gone.is_none();
                left = left.saturating_sub(usize::from(is_exchange(recorded)));
                if is_it {
                    gone = Some(recorded.decision.clone());
                }
                !is_it
            });
        }
        let Some(Decision::Exchange { digest: gone, .. }) = gone else {
            return Ok(());
        };
        let is_taken = logs.iter().flat_map(|log| &log.decisions).any(|recorded| {
            matches!(&recorded.decision, Decision::Adoption { digest, .. } if *digest == gone)
        });
        prop_assert_eq!(planned(&logs).is_err(), is_taken);
    }
}
