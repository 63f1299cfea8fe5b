//! The centre variable, for asynchronous EASGD and DOWNPOUR: set, want, add.

use std::sync::Arc;

use lsgd_core::{Event, LocalLeader, Message, Mode, Order, Refusal, Snapshot, Source, Vector};

use crate::setting::{config, lsgd, snapshot};

fn with_centre(start: &[f32]) -> LocalLeader {
    let mut leader = LocalLeader::new(0, 2, lsgd(config()), Mode::Async).expect("runs in async");
    leader.set_centre(&snapshot(0, 0, start)).expect("finite");
    leader
}

fn add(worker: u32, addition: &[f32]) -> Message {
    Message::Publish(Vector::Centre, Ok(snapshot(worker, 1, addition)))
}

/// The centre that is ordered next, and for whom.
fn next_centre(leader: &mut LocalLeader) -> Option<(u32, Arc<Snapshot>)> {
    match leader.next_order() {
        Some((worker, Order::Centre(centre))) => Some((worker, centre)),
        other => {
            assert!(other.is_none(), "{other:?}");
            None
        }
    }
}

#[test]
fn set_then_want() {
    let mut leader = with_centre(&[1.0, 2.0]);
    leader.receive(1, Message::WantCentre);
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (1, &[1.0, 2.0][..]));
    assert_eq!(centre.source(), Source::Centre { version: 0 });
    assert!(next_centre(&mut leader).is_none(), "nobody else asked");
}

/// `centre <- centre + addition`; whoever adds is told the sum.
#[test]
fn add_then_want() {
    let mut leader = with_centre(&[1.0, 2.0]);
    leader.receive(0, add(0, &[0.5, -4.0]));
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (0, &[1.5, -2.0][..]));
    leader.receive(1, add(1, &[0.5, 0.0]));
    let (worker, centre) = next_centre(&mut leader).expect("an answer");
    assert_eq!((worker, centre.parameters()), (1, &[2.0, -2.0][..]));
    assert_eq!(centre.source(), Source::Centre { version: 2 });
    let counted = |event: &Event| {
        matches!(
            event,
            Event::Exchange {
                vector: Vector::Centre,
                workers: 1,
                bytes: 8,
                ..
            }
        )
    };
    let events: Vec<Event> = std::iter::from_fn(|| leader.next_event()).collect();
    assert_eq!(
        events.iter().filter(|e| counted(e)).count(),
        2,
        "{events:?}"
    );
}

/// What is not finite, or makes the sum so, or is of another model leaves the centre as it is.
/// The worker is answered nevertheless: it waits.
#[test]
fn unfit_addition_is_refused() {
    for unfit in [&[f32::NAN, 0.0][..], &[3e38, 0.0], &[1.0], &[1.0, 1.0, 1.0]] {
        let mut leader = with_centre(&[3e38, 2.0]);
        leader.receive(0, add(0, unfit));
        let (_, centre) = next_centre(&mut leader).expect("an answer");
        assert_eq!(centre.parameters(), [3e38, 2.0], "{unfit:?}");
        let refused = |event: Event| matches!(event, Event::Refused { .. });
        assert!(
            std::iter::from_fn(|| leader.next_event()).any(refused),
            "{unfit:?}"
        );
    }
}

#[test]
fn centre_that_is_not_finite_is_refused() {
    let mut leader = LocalLeader::new(0, 2, lsgd(config()), Mode::Async).expect("runs in async");
    let refusal = leader.set_centre(&snapshot(0, 0, &[1.0, f32::NAN]));
    assert_eq!(refusal, Err(Refusal::NotFinite { index: 1 }));
}
