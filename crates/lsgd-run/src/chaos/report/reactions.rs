//! How soon each fault was noticed, and how soon it was over for the run.

use serde::Serialize;

use crate::chaos::fault::Act;
use crate::chaos::log::{Entry, Seen, What};

/// How long after the end of a fault it may still be noticed, in seconds: a lease and a look.
const LATE: f64 = 3.0;

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reaction {
    /// Its number in the schedule.
    pub number: usize,
    /// When it was made, in seconds of the log.
    pub at: f64,
    /// What it was.
    #[serde(flatten)]
    pub act: Act,
    /// Seconds until it was noticed: by another node that no longer waits for the one concerned, or,
    /// for a fault of a worker, by its own node.
    pub noticed: Option<f64>,
    /// Seconds until it was over. For a kill: until the node trains again. For a node that was lost
    /// while it was frozen or cut off: from the end of the fault until it is back. For a fault of a
    /// worker: until it starts again.
    pub recovered: Option<f64>,
    /// For a kill: steps that the node had taken and does not have any more.
    pub lost_steps: Option<u64>,
    /// For a kill: a node was killed again before it trained. For a fault of a worker: its node ended
    /// before it failed. What follows counts for that kill.
    pub overtaken: bool,
}

/// What became of each fault that was made, of a run of `nodes` nodes.
pub fn reactions(log: &[Entry], nodes: u32) -> Vec<Reaction> {
    let made = log.iter().enumerate();
    let made = made.filter_map(|(index, entry)| match entry.what {
        What::Fault { number, act } => Some((index, entry.at, number, act)),
        _ => None,
    });
    made.map(|(index, at, number, act)| {
        let before = &log[..index];
        let after = &log[index..];
        let (noticed, recovered, lost_steps) = match act {
            Act::Kill { node } | Act::ClockJump { node, .. } => {
                let Comeback {
                    trained: recovered,
                    lost,
                    ..
                } = comeback(before, after, node);
                let until = recovered.map_or(f64::INFINITY, |recovered| recovered + LATE);
                let noticed = first_loss(after, until, &[node], None);
                (noticed.map(|loss| loss.at), recovered, lost)
            }
            Act::KillAll => {
                let each = (1..=nodes).map(|node| comeback(before, after, node));
                let each: Vec<Comeback> = each.collect();
                // All of them, or it is not over.
                let all: Option<Vec<f64>> = each.iter().map(|one| one.trained).collect();
                let worst = all.and_then(|all| all.into_iter().max_by(f64::total_cmp));
                (None, worst, each.iter().filter_map(|one| one.lost).max())
            }
            Act::Panic { node, worker } | Act::NanGradient { node, worker } => {
                let (seen, _) = of_worker(after, node, worker);
                (seen, seen, None)
            }
            Act::Stop { node, .. } => {
                let (noticed, back) = away(after, number, &[node], None);
                (noticed, back, None)
            }
            Act::Cut { node, peer, .. } | Act::CutOneWay { node, peer, .. } => {
                let (noticed, back) = away(after, number, &[node, peer], Some(&[node, peer]));
                (noticed, back, None)
            }
            // These are tolerated.
            Act::Delay { .. } | Act::Loss { .. } | Act::DiskFull { .. } | Act::DiskSlow { .. } => {
                (None, None, None)
            }
        };
        Reaction {
            number,
            at,
            act,
            noticed: noticed.map(|then| then - at),
            recovered: match act {
                Act::Stop { .. } | Act::Cut { .. } | Act::CutOneWay { .. } => recovered,
                _ => recovered.map(|then| then - at),
            },
            lost_steps,
            overtaken: match act {
                Act::Kill { node } | Act::ClockJump { node, .. } => {
                    comeback(before, after, node).overtaken
                }
                Act::KillAll => (1..=nodes).any(|node| comeback(before, after, node).overtaken),
                Act::Panic { node, worker } | Act::NanGradient { node, worker } => {
                    of_worker(after, node, worker).1
                }
                _ => false,
            },
        }
    })
    .collect()
}

/// How a node that was killed came back.
#[derive(Debug, Clone, Copy, Default)]
struct Comeback {
    /// When it trained again.
    trained: Option<f64>,
    /// How many of its steps were gone by then.
    lost: Option<u64>,
    /// It ended again before it trained.
    overtaken: bool,
}

fn comeback(before: &[Entry], after: &[Entry], node: u32) -> Comeback {
    let trained = |entry: &Entry| match entry.what {
        What::Trained { node: of, step } if of == node => Some(step),
        _ => None,
    };
    let ended = |entry: &Entry| matches!(entry.what, What::Ended { node: of, .. } if of == node);
    let runs = before.iter().rev().find_map(|entry| match entry.what {
        What::Started { node: of, .. } if of == node => Some(true),
        _ => ended(entry).then_some(false),
    });
    // What it had written until its end is logged before that. If it was not running, it had ended.
    let end = match runs {
        Some(false) => 0,
        _ => after.iter().position(ended).unwrap_or(after.len()),
    };
    let (until, rest) = after.split_at(end);
    let last = before.iter().chain(until).rev().find_map(trained);
    let mut comeback = Comeback::default();
    for entry in rest.iter().skip(1) {
        match entry.what {
            What::Seen {
                node: of,
                line: Seen::Joined { step } | Seen::Resumed { step },
            } if of == node => comeback.lost = Some(last.unwrap_or(0).saturating_sub(step)),
            _ if trained(entry).is_some() => {
                comeback.trained = Some(entry.at);
                break;
            }
            _ if ended(entry) => {
                comeback.overtaken = true;
                break;
            }
            _ => {}
        }
    }
    comeback
}

/// When the node of a worker recorded that it has failed, and whether the node ended before that: a fault
/// ends with its process, and a later failure is another fault's.
fn of_worker(after: &[Entry], node: u32, worker: u32) -> (Option<f64>, bool) {
    let found = after.iter().find_map(|entry| match entry.what {
        What::Seen {
            node: of,
            line: Seen::Restarted { worker: id } | Seen::Left { worker: id },
        } if of == node && id.worker == worker => Some((Some(entry.at), false)),
        What::Ended { node: of, .. } if of == node => Some((None, true)),
        _ => None,
    });
    found.unwrap_or((None, false))
}

/// That a node was lost by another.
#[derive(Debug, Clone, Copy)]
struct Loss<'a> {
    at: f64,
    /// Who recorded it, from 1.
    by: u32,
    /// Who was lost, from 0.
    lost: u32,
    /// What follows in the log.
    rest: &'a [Entry],
}

/// The first loss of one of `lost`, before `until`; if `by` is given, by a node of those.
fn first_loss<'a>(
    after: &'a [Entry],
    until: f64,
    lost: &[u32],
    by: Option<&[u32]>,
) -> Option<Loss<'a>> {
    let within = after.iter().take_while(|entry| entry.at <= until);
    within
        .enumerate()
        .find_map(|(index, entry)| match entry.what {
            What::Seen {
                node,
                line: Seen::NodeLost { lost: other },
            } if other + 1 != node
                && lost.contains(&(other + 1))
                && by.is_none_or(|by| by.contains(&node)) =>
            {
                Some(Loss {
                    at: entry.at,
                    by: node,
                    lost: other,
                    rest: &after[index..],
                })
            }
            _ => None,
        })
}

/// For a node that is away for the time of a fault: when another lost it, and how long after the end of
/// the fault that one had it back.
fn away(
    after: &[Entry],
    number: usize,
    lost: &[u32],
    by: Option<&[u32]>,
) -> (Option<f64>, Option<f64>) {
    let healed = after.iter().find_map(|entry| match entry.what {
        What::Healed { number: of } if of == number => Some(entry.at),
        _ => None,
    });
    let until = healed.map_or(f64::INFINITY, |healed| healed + LATE);
    let Some(loss) = first_loss(after, until, lost, by) else {
        return (None, None);
    };
    let back = loss.rest.iter().find_map(|entry| match entry.what {
        What::Seen {
            node: of,
            line: Seen::NodeConnected { met },
        } if of == loss.by && met == loss.lost => Some(entry.at),
        _ => None,
    });
    let after_the_end = back
        .zip(healed)
        .map(|(back, healed)| (back - healed).max(0.0));
    (Some(loss.at), after_the_end)
}

#[cfg(test)]
mod tests {
    use lsgd_core::WorkerId;

    use super::super::kinds::by_kind;
    use super::super::tests::{at, ended, fault, healed, seen, started, trained};
    use super::*;
    use crate::chaos::fault::Kind;

    #[test]
    fn a_kill_is_over_when_the_node_trains_again() {
        let log = [
            at(0.0, started(1)),
            at(1.0, trained(2, 36)),
            at(2.0, fault(0, Act::Kill { node: 2 })),
            // Written before it was killed, read after.
            at(2.1, trained(2, 40)),
            at(2.1, ended(2)),
            at(3.0, seen(1, Seen::NodeLost { lost: 1 })),
            at(3.1, started(2)),
            at(3.2, trained(1, 44)),
            at(3.5, seen(2, Seen::Joined { step: 32 })),
            at(4.5, trained(2, 36)),
        ];
        let found = reactions(&log, 2);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].noticed, Some(1.0));
        assert_eq!(found[0].recovered, Some(2.5));
        assert_eq!(found[0].lost_steps, Some(8));
        // It is killed again before it trains: only the second time counts.
        let mut twice = log[..9].to_vec();
        twice.push(at(3.6, fault(1, Act::Kill { node: 2 })));
        twice.push(at(3.7, ended(2)));
        twice.push(at(4.0, seen(2, Seen::Resumed { step: 16 })));
        twice.push(at(5.0, trained(2, 20)));
        let found = reactions(&twice, 2);
        assert!(found[0].overtaken && !found[1].overtaken);
        assert_eq!((found[0].recovered, found[0].lost_steps), (None, Some(8)));
        assert_eq!(found[1].lost_steps, Some(24));
        // It has not come back yet.
        let found = reactions(&log[..8], 2);
        assert_eq!((found[0].recovered, found[0].lost_steps), (None, None));
    }

    #[test]
    fn all_nodes_are_back_when_the_last_one_is() {
        let mut log = vec![
            at(1.0, trained(1, 50)),
            at(1.0, trained(2, 52)),
            at(2.0, fault(0, Act::KillAll)),
            at(2.0, ended(1)),
            at(2.0, ended(2)),
            at(4.0, seen(1, Seen::Resumed { step: 40 })),
            at(4.0, seen(2, Seen::Resumed { step: 40 })),
            at(5.0, trained(1, 44)),
        ];
        let found = reactions(&log, 2);
        assert_eq!((found[0].recovered, found[0].lost_steps), (None, Some(12)));
        log.push(at(5.5, trained(2, 44)));
        let found = reactions(&log, 2);
        assert_eq!(found[0].recovered, Some(3.5));
    }

    /// Of a node that had ended already, the next end is another fault's.
    #[test]
    fn all_nodes_are_killed_while_one_is_down() {
        let log = [
            at(0.0, started(1)),
            at(0.0, started(2)),
            at(1.0, trained(2, 50)),
            at(2.0, fault(0, Act::Kill { node: 2 })),
            at(2.1, ended(2)),
            at(2.2, fault(1, Act::KillAll)),
            at(2.3, ended(1)),
            at(3.0, started(2)),
            at(3.0, started(1)),
            at(3.5, seen(2, Seen::Resumed { step: 40 })),
            at(4.0, trained(1, 44)),
            at(4.5, trained(2, 44)),
            at(20.0, fault(2, Act::Kill { node: 2 })),
            at(20.1, ended(2)),
            at(22.0, trained(2, 90)),
        ];
        let found = reactions(&log, 2);
        assert_eq!(found[1].recovered, Some(4.5 - 2.2));
        assert_eq!(found[1].lost_steps, Some(10));
        assert_eq!(found[2].recovered, Some(2.0));
    }

    #[test]
    fn a_fault_of_a_worker_ends_with_its_process() {
        let worker = WorkerId::new(0, 1);
        let log = [
            at(1.0, fault(0, Act::Panic { node: 1, worker: 1 })),
            at(1.1, ended(1)),
            at(9.0, fault(1, Act::Panic { node: 1, worker: 1 })),
            at(9.5, seen(1, Seen::Restarted { worker })),
        ];
        let found = reactions(&log, 2);
        assert_eq!((found[0].recovered, found[0].overtaken), (None, true));
        assert_eq!((found[1].recovered, found[1].overtaken), (Some(0.5), false));
    }

    #[test]
    fn a_cut_is_noticed_by_either_end_and_over_when_that_one_has_the_other_back() {
        let cut = Act::CutOneWay {
            node: 1,
            peer: 3,
            seconds: 4.0,
        };
        let log = [
            at(1.0, fault(0, cut)),
            // Another pair.
            at(1.5, seen(2, Seen::NodeLost { lost: 2 })),
            at(2.5, seen(3, Seen::NodeLost { lost: 0 })),
            at(4.0, seen(3, Seen::NodeConnected { met: 1 })),
            at(5.0, healed(0)),
            at(5.75, seen(3, Seen::NodeConnected { met: 0 })),
        ];
        let found = reactions(&log, 3);
        assert_eq!(
            (found[0].noticed, found[0].recovered),
            (Some(1.5), Some(0.75))
        );
        // A stop so short that nobody notices.
        let stop = Act::Stop {
            node: 3,
            seconds: 1.0,
        };
        let log = [
            at(1.0, fault(0, stop)),
            at(2.0, healed(0)),
            at(5.5, seen(1, Seen::NodeLost { lost: 2 })),
        ];
        let found = reactions(&log, 3);
        assert_eq!((found[0].noticed, found[0].recovered), (None, None));
    }

    #[test]
    fn a_worker_is_missed_by_its_own_node() {
        let worker = |node, worker| WorkerId::new(node, worker);
        let log = [
            at(1.0, fault(0, Act::Panic { node: 2, worker: 1 })),
            at(
                1.2,
                seen(
                    2,
                    Seen::Restarted {
                        worker: worker(1, 0),
                    },
                ),
            ),
            at(
                1.5,
                seen(
                    2,
                    Seen::Restarted {
                        worker: worker(1, 1),
                    },
                ),
            ),
            at(2.0, fault(1, Act::NanGradient { node: 1, worker: 0 })),
            at(
                4.0,
                seen(
                    1,
                    Seen::Left {
                        worker: worker(0, 0),
                    },
                ),
            ),
        ];
        let found = reactions(&log, 2);
        assert_eq!(found[0].recovered, Some(0.5));
        assert_eq!(found[1].recovered, Some(2.0));
        let kinds = by_kind(&found);
        assert_eq!(kinds[&Kind::Panic].recovered.median, Some(0.5));
        assert_eq!(kinds[&Kind::NanGradient].made, 1);
    }
}
