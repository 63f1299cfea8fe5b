//! What is refused when a method is made, in words that say what to do, and what is recorded.

use lsgd_core::{
    BatchNorm, Event, ExchangeConfig, Exclusion, LeaderConfig, LeaderSgd, Method, Mode, Scope,
    ShortDigest, SnapshotDigest, Source, VectorKind, WorkerId, elect,
};
use proptest::prelude::*;

use crate::leader_sync::node_of;
use crate::setting::{config, exchanges, lsgd};

fn refusal(change: impl FnOnce(&mut LeaderConfig)) -> String {
    let mut config = config();
    change(&mut config);
    Method::lsgd(&config).map_or_else(|why| why.to_string(), |_| "accepted".into())
}

#[test]
fn refusals_say_what_to_do() {
    assert_eq!(refusal(|_| {}), "accepted");
    assert_eq!(
        refusal(|c| c.local_pull = 1.5),
        "local_pull 1.5 is not in [0, 1]"
    );
    assert_eq!(
        refusal(|c| c.global_pull = -0.1),
        "global_pull -0.1 is not in [0, 1]"
    );
    assert_eq!(
        refusal(|c| c.local_prox = f64::NAN),
        "local_prox NaN is not in [0, 1]"
    );
    assert_eq!(
        refusal(|c| c.global_prox = 2.0),
        "global_prox 2 is not in [0, 1]"
    );
    assert_eq!(
        refusal(|c| c.local_period = 0),
        "local_period is 0; it must be at least 1"
    );
    assert_eq!(
        refusal(|c| c.global_period = 0),
        "global_period is 0; it must be at least 1"
    );
    assert_eq!(
        refusal(|c| c.loss_window = 0),
        "loss_window is 0; it must be at least 1"
    );
    assert_eq!(
        refusal(|c| (c.local_period, c.global_period) = (4, 10)),
        "global_period 10 is not a multiple of local_period 4"
    );
    let leaderless = Method::local_sgd(ExchangeConfig {
        batch_norm: BatchNorm::Leader,
        ..exchanges(4)
    })
    .map_err(|why| why.to_string());
    assert_eq!(
        leaderless.err().as_deref(),
        Some(
            "batch_norm \"leader\" needs a leader, which local_sgd does not have; \
             use \"own\" or \"mean\""
        )
    );
}

proptest! {
    /// Exactly the strengths in [0, 1] and the periods that divide are accepted.
    #[test]
    fn valid_settings_are_accepted(pull in -1.0..2.0_f64, local in 0..6_u64, global in 0..30_u64) {
        let config = LeaderConfig {
            local_pull: pull,
            local_period: local,
            global_period: global,
            ..config()
        };
        let valid = (0.0..=1.0).contains(&pull) && local > 0 && global > 0 && global % local == 0;
        prop_assert_eq!(Method::lsgd(&config).is_ok(), valid);
    }
}

/// "default twice the period"
#[test]
fn reports_are_too_old_after_two_periods() {
    let method = lsgd(LeaderConfig {
        local_period: 2,
        global_period: 2,
        ..config()
    });
    let mut node = node_of(2, &method, Mode::Async);
    // Worker 0 takes only one step; worker 1 continues alone.
    assert_eq!(node.turn(0), Ok(true));
    for _ in 0..60 {
        assert_eq!(node.turn(1), Ok(true));
    }
    let excluded = node.events().iter().rev().find_map(|event| match event {
        Event::Election { election, .. } => election.excluded.first().copied(),
        _ => None,
    });
    let Some((id, Exclusion::Stale { age })) = excluded else {
        panic!("worker 0's report is old: {excluded:?}");
    };
    assert_eq!(id, WorkerId::new(0, 0));
    assert!(age > 4, "{age}");
}

/// A line of `events.jsonl` says as much as the event: each kind is read back as it was.
#[test]
fn events_survive_json() {
    let source = Source::Worker {
        id: WorkerId::new(0, 1),
        step: 4,
    };
    let digest = ShortDigest::from(SnapshotDigest([0x9a; 32]));
    let events = [
        Event::Election {
            step: 4,
            scope: Scope::Local,
            election: elect(&[], 8),
        },
        Event::Exchange {
            step: 4,
            exchange: 1,
            scope: Scope::Local,
            vector: VectorKind::Parameters,
            source,
            workers: 2,
            bytes: 8,
            staleness: 0,
            added: None,
            averaged: vec![(0, 4), (1, 3)],
            digest: Some(digest),
        },
        Event::Exchange {
            step: 4,
            exchange: 2,
            scope: Scope::Local,
            vector: VectorKind::Centre,
            source: Source::Centre { version: 3 },
            workers: 1,
            bytes: 8,
            staleness: 0,
            added: Some(source),
            averaged: Vec::new(),
            digest: None,
        },
        Event::Merged {
            step: 4,
            source: Source::Centre { version: 4 },
            other: Source::Centre { version: 9 },
            digest,
        },
        Event::Led {
            step: 5,
            worker: WorkerId::new(0, 1),
            source,
        },
        Event::Adoption {
            step: 4,
            worker: WorkerId::new(0, 0),
            scope: Scope::Local,
            source,
            strength: 0.25,
            staleness: 1,
            digest: Some(digest),
            factors: None,
        },
        Event::Restarted {
            step: 4,
            worker: WorkerId::new(0, 0),
            source: Some(source),
            scope: Some(Scope::Global),
            digest: Some(digest),
        },
        Event::Left {
            step: 9,
            worker: WorkerId::new(0, 0),
        },
    ];
    for event in events {
        let text = serde_json::to_string(&event).expect("plain data");
        let back: Event = serde_json::from_str(&text).expect("as written");
        assert_eq!(back, event, "{text}");
    }
}

/// The records of earlier versions lack what `async` runs are replayed by.
#[test]
fn events_of_earlier_versions_are_read() {
    for text in [
        r#"{"event":"adoption","step":4,"worker":{"node":0,"worker":1},"scope":"local",
            "source":{"centre":{"version":1}},"strength":0.25,"staleness":1}"#,
        r#"{"event":"restarted","step":4,"worker":{"node":0,"worker":1}}"#,
        r#"{"event":"joined","step":4,"source":null,"bytes":0}"#,
    ] {
        let event: Event = serde_json::from_str(text).expect(text);
        let written = serde_json::to_value(&event).expect("plain data");
        let before: serde_json::Value = serde_json::from_str(text).expect(text);
        assert_eq!(written, before);
    }
}

/// An optimizer can be moved into the thread that uses it.
#[test]
fn optimizer_may_cross_threads() {
    fn crosses<T: Send>() {}
    crosses::<LeaderSgd>();
}
