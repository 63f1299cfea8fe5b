use proptest::prelude::*;

use super::*;

fn plan(mode: Mode, workers: usize) -> RunPlan {
    RunPlan {
        mode,
        workers,
        steps: Some(6),
        seconds: None,
        evaluate: Every::Steps(4),
        checkpoint: Every::Never,
    }
}

const EVALUATE: Pause = Pause {
    evaluate: true,
    checkpoint: false,
    end: None,
};

const INTERRUPTED: Now = Now {
    seconds: 0.0,
    checkpoints: 0,
    end: Some(End::Interrupted),
};

fn at(seconds: f64) -> Now {
    Now {
        seconds,
        ..Now::default()
    }
}

#[test]
fn one_worker_steps_pauses_and_ends() {
    let mut schedule = PauseSchedule::new(plan(Mode::Sync, 1), 0);
    let actions: Vec<NextAction> = (0..8).map(|_| schedule.next_action(0, at(0.0))).collect();
    let end = Pause {
        end: Some(End::Budget),
        ..Pause::default()
    };
    let mut expected = vec![NextAction::Step; 4];
    expected.push(NextAction::Pause(EVALUATE));
    expected.extend([NextAction::Step, NextAction::Step, NextAction::Pause(end)]);
    assert_eq!(actions, expected);
}

#[test]
fn workers_that_begin_late_keep_the_same_pauses() {
    let late = |start| {
        let mut schedule = PauseSchedule::new(plan(Mode::Sync, 1), start);
        let steps = (0..9).take_while(|_| schedule.next_action(0, at(0.0)) == NextAction::Step);
        (steps.count(), schedule.steps(0))
    };
    assert_eq!(late(3), (1, 4));
    assert_eq!(late(4), (2, 6));
    assert_eq!(late(9), (0, 9));
}

#[test]
fn in_sync_an_interruption_ends_all_workers_after_the_same_step() {
    let mut schedule = PauseSchedule::new(plan(Mode::Sync, 2), 0);
    assert_eq!(schedule.next_action(0, at(0.0)), NextAction::Step);
    assert_eq!(schedule.next_action(0, at(0.0)), NextAction::Step);
    // Worker 1 is two steps behind when the interruption is seen: both end after step 3.
    for _ in 0..3 {
        assert_eq!(schedule.next_action(1, INTERRUPTED), NextAction::Step);
    }
    let end = NextAction::Pause(Pause {
        end: Some(End::Interrupted),
        ..Pause::default()
    });
    assert_eq!(schedule.next_action(1, INTERRUPTED), end);
    assert_eq!(schedule.next_action(0, INTERRUPTED), NextAction::Step);
    assert_eq!(schedule.next_action(0, INTERRUPTED), end);
    assert_eq!([schedule.steps(0), schedule.steps(1)], [3, 3]);
}

/// Requested once, it is written once: in `sync` after the same step of all workers.
#[test]
fn a_checkpoint_that_is_asked_for_comes_one_step_ahead_of_the_furthest() {
    let mut schedule = PauseSchedule::new(plan(Mode::Sync, 2), 0);
    let asked = Now {
        checkpoints: 2,
        ..Now::default()
    };
    let pause = NextAction::Pause(Pause {
        checkpoint: true,
        ..Pause::default()
    });
    assert_eq!(schedule.next_action(0, at(0.0)), NextAction::Step);
    let actions = [0, 0, 1, 1, 1].map(|worker| schedule.next_action(worker, asked));
    assert_eq!(
        actions,
        [
            NextAction::Step,
            pause,
            NextAction::Step,
            NextAction::Step,
            pause
        ]
    );
    // The rest is unaffected.
    let actions = [0, 0, 0].map(|worker| schedule.next_action(worker, asked));
    assert_eq!(
        actions,
        [
            NextAction::Step,
            NextAction::Step,
            NextAction::Pause(EVALUATE)
        ]
    );
}

#[test]
fn in_async_the_budget_is_a_mean() {
    let mut schedule = PauseSchedule::new(
        RunPlan {
            evaluate: Every::Never,
            ..plan(Mode::Async, 2)
        },
        0,
    );
    // Worker 0 alone takes all twelve steps of the two workers' budget of six each.
    for _ in 0..12 {
        assert_eq!(schedule.next_action(0, at(0.0)), NextAction::Step);
    }
    assert!(matches!(
        schedule.next_action(0, at(0.0)),
        NextAction::Pause(_)
    ));
    assert!(matches!(
        schedule.next_action(1, at(0.0)),
        NextAction::Pause(_)
    ));
    assert_eq!(schedule.total(), 12);
}

#[test]
fn the_clock_asks_once_a_period() {
    let mut schedule = PauseSchedule::new(
        RunPlan {
            steps: None,
            seconds: Some(10.0),
            evaluate: Every::Seconds(2.0),
            ..plan(Mode::Async, 1)
        },
        0,
    );
    assert_eq!(schedule.next_action(0, at(1.9)), NextAction::Step);
    assert_eq!(
        schedule.next_action(0, at(4.5)),
        NextAction::Pause(EVALUATE)
    );
    assert_eq!(schedule.next_action(0, at(5.9)), NextAction::Step);
    let end = Pause {
        end: Some(End::Budget),
        ..EVALUATE
    };
    assert_eq!(schedule.next_action(0, at(10.0)), NextAction::Pause(end));
}

/// Periods that passed while a node was away are skipped.
#[test]
fn the_clock_goes_on_where_it_was() {
    let plan = RunPlan {
        steps: None,
        seconds: Some(10.0),
        evaluate: Every::Seconds(2.0),
        checkpoint: Every::Seconds(3.0),
        ..plan(Mode::Async, 1)
    };
    let mut schedule = PauseSchedule::new(plan, 7).after(6.5);
    assert_eq!(schedule.next_action(0, at(6.5)), NextAction::Step);
    assert_eq!(schedule.next_action(0, at(7.9)), NextAction::Step);
    assert_eq!(
        schedule.next_action(0, at(8.0)),
        NextAction::Pause(EVALUATE)
    );
    let mut late = PauseSchedule::new(plan, 7).after(12.0);
    let end = Pause {
        end: Some(End::Budget),
        ..Pause::default()
    };
    assert_eq!(late.next_action(0, at(12.0)), NextAction::Pause(end));
}

proptest! {
    /// Whatever the order of workers and the time of an interruption, all attend the same
    /// pauses; in sync each after the same step, and no worker waits forever.
    #[test]
    fn all_attend_the_same_pauses(
        order in prop::collection::vec(0usize..3, 0..200),
        interrupt_after in 0usize..250,
        save_after in 0usize..250,
        sync in any::<bool>(),
    ) {
        let mode = if sync { Mode::Sync } else { Mode::Async };
        let mut schedule = PauseSchedule::new(RunPlan { steps: Some(20), ..plan(mode, 3) }, 0);
        let mut attended: Vec<Vec<(u64, Pause)>> = vec![Vec::new(); 3];
        let mut waiting = [false; 3];
        let rest = (0..).map(|worker| worker % 3);
        for (count, worker) in order.into_iter().chain(rest).enumerate() {
            prop_assert!(count < 1000, "the run does not end");
            if waiting[worker] {
                continue;
            }
            let now = Now {
                seconds: 0.0,
                checkpoints: u64::from(count >= save_after),
                end: (count >= interrupt_after).then_some(End::Interrupted),
            };
            if let NextAction::Pause(pause) = schedule.next_action(worker, now) {
                attended[worker].push((schedule.steps(worker), pause));
                waiting[worker] = true;
            }
            if waiting == [true; 3] {
                if pace_is_over(&attended[0]) {
                    break;
                }
                waiting = [false; 3];
            }
        }
        for worker in 1..3 {
            prop_assert_eq!(attended[0].len(), attended[worker].len());
            for (first, other) in attended[0].iter().zip(&attended[worker]) {
                prop_assert_eq!(first.1, other.1);
                prop_assert!(!sync || first.0 == other.0);
            }
        }
        prop_assert!(schedule.total() <= 60);
    }
}

fn pace_is_over(attended: &[(u64, Pause)]) -> bool {
    attended
        .last()
        .is_some_and(|(_, pause)| pause.end.is_some())
}
