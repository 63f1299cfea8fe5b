//! The pure decisions, for any input: who leads, when an exchange is due, what a window's loss is.

use lsgd_core::{
    Candidate, Due, ExchangeSteps, Exclusion, Incumbent, LossWindow, Periods, Reason, Report,
    Trigger, WindowLoss, WorkerId, elect, elect_or_keep, within,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::setting::window_loss;

const MAX_STALENESS: u64 = 8;

/// Losses that are often alike, and often none.
fn loss() -> impl Strategy<Value = WindowLoss> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 1.5];
    prop_oneof![
        prop::sample::select(odd.to_vec()).prop_map(WindowLoss::Mean),
        (0.0..4.0_f64).prop_map(WindowLoss::Mean),
        (0..16_usize).prop_map(|have| WindowLoss::Filling { have, need: 16 }),
    ]
}

/// Candidates with different ids, in any order.
fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let rest = (loss(), any::<bool>(), 0..MAX_STALENESS * 2);
    prop::collection::btree_map((0..3_u32, 0..4_u32), rest, 0..10)
        .prop_map(|ids| {
            let candidate = |((node, worker), (loss, joined, age))| Candidate {
                report: Report {
                    id: WorkerId::new(node, worker),
                    step: 0,
                    loss,
                    joined,
                },
                age,
            };
            ids.into_iter().map(candidate).collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// The definition, word by word.
fn may_lead(candidate: &Candidate) -> Option<f64> {
    match candidate.report.loss {
        WindowLoss::Mean(loss)
            if loss.is_finite() && candidate.report.joined && candidate.age <= MAX_STALENESS =>
        {
            Some(loss)
        }
        _ => None,
    }
}

proptest! {
    /// The leader is eligible and has the lowest loss; of several, the lowest rank.
    #[test]
    fn leader_has_the_lowest_loss_then_rank(candidates in candidates()) {
        let leader = elect(&candidates, MAX_STALENESS).leader;
        let best = candidates
            .iter()
            .filter_map(|c| Some((may_lead(c)?, c.report.id)))
            .reduce(|a, b| if b.0 < a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a });
        prop_assert_eq!(leader, best.map(|(_, id)| id));
    }

    #[test]
    fn order_of_candidates_does_not_matter(
        (one, other) in candidates().prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle()))
    ) {
        prop_assert_eq!(elect(&one, MAX_STALENESS), elect(&other, MAX_STALENESS));
    }

    /// The reason is the one that a look at the candidates gives.
    #[test]
    fn reason_is_consistent(candidates in candidates()) {
        let election = elect(&candidates, MAX_STALENESS);
        let mut losses: Vec<f64> = candidates.iter().filter_map(may_lead).collect();
        losses.sort_by(|a, b| a.partial_cmp(b).expect("finite"));
        let expected = match losses.as_slice() {
            [] => Reason::NoneEligible,
            [loss] => Reason::OnlyEligible { loss: *loss },
            [loss, next, ..] if loss == next => Reason::LowestIdOfTie { loss: *loss },
            [loss, next, ..] => Reason::LowestLoss { loss: *loss, next: *next },
        };
        prop_assert_eq!(election.reason, expected);
        prop_assert_eq!(election.excluded.len() + losses.len(), candidates.len());
        prop_assert!(election.excluded.is_sorted_by_key(|(id, _)| *id));
    }

    /// The previous leader stays if it is eligible and no worker is better by the margin; otherwise
    /// the election is as if there had been none.
    #[test]
    fn a_leader_stays_by_the_margin(candidates in candidates(), margin in 0.0..1.0_f64, of in 0..8_usize) {
        let plain = elect(&candidates, MAX_STALENESS);
        let Some(last) = candidates.get(of) else {
            return Ok(());
        };
        let id = last.report.id;
        let election = elect_or_keep(&candidates, MAX_STALENESS, Some(Incumbent { id, margin }));
        prop_assert_eq!(&election.excluded, &plain.excluded);
        let eligible = plain.leader.is_some() && plain.excluded.iter().all(|(out, _)| *out != id);
        let lowest = match plain.reason {
            Reason::LowestLoss { loss, .. } | Reason::LowestIdOfTie { loss } => loss,
            _ => f64::NAN,
        };
        match last.report.loss {
            WindowLoss::Mean(loss) if eligible && plain.leader != Some(id) && lowest > loss - margin * loss.abs() => {
                prop_assert_eq!(election.leader, Some(id));
                prop_assert_eq!(election.reason, Reason::Stays { loss, lowest });
            }
            _ => prop_assert_eq!(election, plain),
        }
    }

    /// The reason for an exclusion is true of the excluded worker.
    #[test]
    fn exclusions_are_true(candidates in candidates()) {
        for (id, why) in elect(&candidates, MAX_STALENESS).excluded {
            let candidate = candidates.iter().find(|c| c.report.id == id).expect("a candidate");
            let so = match why {
                Exclusion::NotJoined => !candidate.report.joined,
                Exclusion::WindowNotFull { have, need } =>
                    candidate.report.loss == WindowLoss::Filling { have, need },
                Exclusion::LossNotFinite =>
                    matches!(candidate.report.loss, WindowLoss::Mean(loss) if !loss.is_finite()),
                Exclusion::Stale { age } => age == candidate.age && age > MAX_STALENESS,
            };
            prop_assert!(so, "{:?} is excluded as {:?}", candidate, why);
        }
    }

    /// "when tau divides": step / tau periods have been due by any step.
    #[test]
    fn periods_are_due_when_they_divide(local in 1..20_u64, times in 1..5_u64, steps in 0..200_u64) {
        let periods = Periods { local, global: local * times };
        let (mut locals, mut globals) = (0, 0);
        for step in 0..=steps {
            let due = periods.due(step);
            prop_assert!(!due.global || due.local, "a global exchange comes after a local one");
            locals += u64::from(due.local);
            globals += u64::from(due.global);
        }
        prop_assert_eq!((locals, globals), (steps / local, steps / (local * times)));
    }

    /// ExchangeSteps that are given as steps of every tau are those of the periods, but for one at the end.
    #[test]
    fn given_rounds_are_counted_like_periods(
        local in 1..20_u64, times in 1..5_u64, count in 1..40_u64, beyond in 0..50_u64,
    ) {
        let periods = Periods { local, global: local * times };
        let steps = (1..=count).map(|k| k * local).collect();
        let (every, given) = (ExchangeSteps::every(periods), ExchangeSteps::after(periods, steps).expect("in order"));
        let last = count * local;
        for step in 0..last {
            prop_assert_eq!(given.due(step), every.due(step));
            prop_assert_eq!(given.global_until(step), every.global_until(step));
        }
        prop_assert_eq!(given.due(last), Due { local: true, global: true });
        prop_assert_eq!(given.global_until(last), count.div_ceil(times));
        prop_assert_eq!(given.due(last + 1 + beyond), Due::default());
        prop_assert_eq!(given.global_until(last + beyond), count.div_ceil(times));
    }

    /// Round r is the one after whose steps there have been r, and no other steps end one.
    #[test]
    fn rounds_and_their_steps_belong_together(
        gaps in vec(1..30_u64, 1..40), times in 1..5_u64,
    ) {
        let steps: Vec<u64> = gaps
            .iter()
            .scan(0, |at, gap| {
                *at += gap;
                Some(*at)
            })
            .collect();
        let last = steps[steps.len() - 1];
        let periods = Periods { local: 1, global: times };
        let rounds = ExchangeSteps::after(periods, steps.clone()).expect("in order");
        for round in 0..=rounds.global_until(last) {
            let step = rounds.step_of_global(round);
            prop_assert_eq!(rounds.global_until(step), round);
            prop_assert_eq!(rounds.due(step).global, round > 0);
        }
        for step in 1..=last {
            let due = rounds.due(step);
            prop_assert_eq!(due.local, steps.contains(&step));
            let ended = rounds.global_until(step) - rounds.global_until(step - 1);
            prop_assert_eq!(u64::from(due.global), ended);
        }
    }

    /// A filter of no width lets the leader through and those that tie with it, an infinite one all that
    /// are eligible; a wider one never fewer.
    #[test]
    fn a_wider_filter_lets_more_through(
        candidates in candidates(), narrow in 0.0..2.0_f64, more in 0.0..2.0_f64,
    ) {
        let through = |margin| within(&candidates, MAX_STALENESS, margin);
        let election = elect(&candidates, MAX_STALENESS);
        let none = through(0.0);
        prop_assert_eq!(none.first().map(|(id, _)| *id), election.leader);
        prop_assert!(none.iter().all(|(_, loss)| *loss == none[0].1));
        let all = through(f64::INFINITY);
        prop_assert_eq!(all.len(), candidates.len() - election.excluded.len());
        let (narrow, wide) = (through(narrow), through(narrow + more));
        prop_assert!(narrow.iter().all(|one| wide.contains(one)));
        prop_assert!(wide.iter().all(|one| all.contains(one)));
        prop_assert!(all.is_sorted_by_key(|(id, _)| *id));
    }

    /// With a constant set of workers the trigger fires at every `live * tau`-th step: "when n l
    /// tau divides the total number of steps".
    #[test]
    fn trigger_fires_when_the_total_divides(live in 1..6_usize, period in 1..9_u64, total in 1..300_u64) {
        let mut trigger = Trigger::default();
        for step in 1..=total {
            trigger.count(1);
            let divides = step.is_multiple_of(live as u64 * period);
            prop_assert_eq!(trigger.fire(live, period), divides, "at step {}", step);
        }
    }

    /// Only increments count: after a death or a return it takes at most a period of those live
    /// now, less what has already come; a death never makes it later.
    #[test]
    fn death_never_moves_the_trigger_back(
        live in 2..6_usize, period in 1..9_u64, before in 0..40_u64, dead in 1..5_usize,
    ) {
        let left = live.saturating_sub(dead).max(1);
        let mut trigger = Trigger::default();
        for _ in 0..before {
            trigger.count(1);
            trigger.fire(live, period);
        }
        let until = |mut trigger: Trigger, live: usize| {
            let mut steps = 0;
            while !trigger.fire(live, period) {
                trigger.count(1);
                steps += 1;
            }
            steps
        };
        let (with_all, with_left) = (until(trigger.clone(), live), until(trigger, left));
        prop_assert!(with_left <= with_all);
        prop_assert!(with_left <= left as u64 * period);
    }

    /// A window's loss is that of its last losses, bit for bit, whatever went before.
    #[test]
    fn window_forgets_all_but_the_last(
        size in 1..20_usize, before in vec(any::<f32>(), 0..40), last in vec(-10.0..10.0_f32, 20),
    ) {
        let last = &last[..size];
        let all: Vec<f32> = before.iter().chain(last).copied().collect();
        prop_assert_eq!(window_loss(size, &all), window_loss(size, last));
        let mean = last.iter().map(|&l| f64::from(l)).sum::<f64>() / size as f64;
        prop_assert_eq!(window_loss(size, &all), WindowLoss::Mean(mean));
        let short = &last[..size - 1];
        prop_assert_eq!(window_loss(size, short), WindowLoss::Filling { have: size - 1, need: size });
    }
}

/// Steps that came while an exchange was under way count toward the next; whole periods that were
/// missed are not made up for one after another.
#[test]
fn trigger_keeps_what_came_beyond_a_period() {
    let mut trigger = Trigger::default();
    let count = |trigger: &mut Trigger, steps| (0..steps).for_each(|_| trigger.count(1));
    count(&mut trigger, 8 + 8 + 3);
    assert!(trigger.fire(2, 4));
    assert!(!trigger.fire(2, 4));
    count(&mut trigger, 4);
    assert!(!trigger.fire(2, 4));
    count(&mut trigger, 1);
    assert!(trigger.fire(2, 4));
}

/// The examples a reader would try first.
#[test]
fn elections_checked_by_hand() {
    let candidate = |worker, loss| Candidate {
        report: Report {
            id: WorkerId::new(0, worker),
            step: 5,
            loss: WindowLoss::Mean(loss),
            joined: true,
        },
        age: 0,
    };
    let leader = |losses: &[f64]| {
        let candidates: Vec<_> = (0..).zip(losses).map(|(w, &l)| candidate(w, l)).collect();
        elect(&candidates, 0).leader.map(|id| id.worker)
    };
    assert_eq!(leader(&[]), None);
    assert_eq!(leader(&[3.0, 1.0, 2.0]), Some(1));
    assert_eq!(leader(&[2.0, 1.0, 1.0]), Some(1));
    assert_eq!(leader(&[0.0, -0.0]), Some(0));
    assert_eq!(leader(&[f64::NAN, 9.0]), Some(1));
    assert_eq!(leader(&[f64::NAN, f64::NEG_INFINITY]), None);
}

/// `max_staleness` itself is still fresh enough.
#[test]
fn report_as_old_as_max_staleness_may_lead() {
    let aged = |age| Candidate {
        report: Report {
            id: WorkerId::new(0, 0),
            step: 1,
            loss: WindowLoss::Mean(1.0),
            joined: true,
        },
        age,
    };
    assert!(elect(&[aged(8)], 8).leader.is_some());
    assert!(elect(&[aged(9)], 8).leader.is_none());
}

/// A cleared window has to fill again.
#[test]
fn cleared_window_does_not_rank() {
    let mut window = LossWindow::new(2);
    window.push(1.0);
    window.push(2.0);
    assert_eq!(window.losses().collect::<Vec<_>>(), [1.0, 2.0]);
    window.clear();
    window.push(5.0);
    assert_eq!(window.loss(), WindowLoss::Filling { have: 1, need: 2 });
}

/// A window takes memory as losses come, not as large as a config says it may become.
#[test]
fn window_of_any_size_can_be_made() {
    let mut window = LossWindow::new(usize::MAX);
    window.push(1.0);
    let filling = WindowLoss::Filling {
        have: 1,
        need: usize::MAX,
    };
    assert_eq!(window.loss(), filling);
}

/// Half of 2 is a loss lower by the margin, and leads; of -2 it would have to be -3.
#[test]
fn a_margin_checked_by_hand() {
    let of = |worker, loss| Candidate {
        report: Report {
            id: WorkerId::new(0, worker),
            step: 5,
            loss: WindowLoss::Mean(loss),
            joined: true,
        },
        age: 0,
    };
    for (led, other, leader) in [
        (2.0, 1.0, 1),
        (2.0, 1.001, 0),
        (-2.0, -3.0, 1),
        (-2.0, -2.999, 0),
    ] {
        let incumbent = Incumbent {
            id: WorkerId::new(0, 0),
            margin: 0.5,
        };
        let election = elect_or_keep(&[of(0, led), of(1, other)], 0, Some(incumbent));
        assert_eq!(
            election.leader,
            Some(WorkerId::new(0, leader)),
            "{led} {other}"
        );
    }
}

#[test]
fn steps_of_exchanges_are_in_order() {
    let periods = Periods {
        local: 4,
        global: 8,
    };
    for steps in [vec![0, 4], vec![4, 4], vec![8, 4]] {
        assert_eq!(ExchangeSteps::after(periods, steps), None);
    }
    let none = ExchangeSteps::after(periods, Vec::new()).expect("in order");
    assert_eq!((none.global_until(9), none.step_of_global(3)), (0, 0));
    assert_eq!(none.due(8), Due::default());
}
