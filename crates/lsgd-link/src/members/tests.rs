use super::*;

fn hello(node: u32, incarnation: u64) -> Hello {
    Hello {
        node,
        incarnation,
        nodes: 3,
        description: BTreeMap::new(),
    }
}

/// A status of node 1.
fn status(incarnation: u64, sequence: u64) -> Status {
    Status {
        node: 1,
        incarnation,
        sequence,
        heartbeat: false,
        phase: lsgd_core::NodePhase::Training,
        progress: 0,
        rounds: 0,
        exchanged: 0,
        steps: 0,
        trained: 0,
        workers: 1,
        proposals: [None, None],
        join_point: None,
        result: None,
        checkpoints: Vec::new(),
    }
}

/// The actions, in short.
fn line(actions: &[MemberAction]) -> String {
    let word = |action: &MemberAction| match action {
        MemberAction::Emit(Incoming::Connected { node, incarnation }) => {
            format!("{node}/{incarnation} connected")
        }
        MemberAction::Emit(Incoming::Disconnected { node, incarnation }) => {
            format!("{node}/{incarnation} disconnected")
        }
        MemberAction::Emit(Incoming::DuplicateNode { incarnation, .. }) => {
            format!("duplicate {incarnation}")
        }
        MemberAction::Emit(Incoming::Refused { node, .. }) => format!("{node} refused"),
        MemberAction::Emit(other) => format!("{other:?}"),
        MemberAction::RequestHello { node, incarnation } => format!("ask {node}/{incarnation}"),
        MemberAction::ResendStatus => String::from("resend"),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_successor_waits_until_the_life_before_it_is_gone() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
    assert_eq!(
        line(&members.hello(&hello(1, 5), start)),
        "1/5 connected, resend"
    );
    assert_eq!(line(&members.token(1, 6, start).unwrap()), "");
    assert_eq!(line(&members.hello(&hello(1, 6), start)), "");
    assert_eq!(members.present(), BTreeMap::from([(1, 5)]));
    assert_eq!(
        line(&members.gone(1, 5, start)),
        "1/5 disconnected, ask 1/6"
    );
    assert_eq!(
        line(&members.hello(&hello(1, 6), start)),
        "1/6 connected, resend"
    );
}

#[test]
fn who_does_not_answer_is_asked_again_while_it_is_there() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    assert_eq!(line(&members.token(2, 5, start).unwrap()), "ask 2/5");
    assert_eq!(line(&members.tick(start + HELLO_RETRY / 2)), "");
    assert_eq!(line(&members.tick(start + HELLO_RETRY)), "ask 2/5");
    assert_eq!(line(&members.gone(2, 5, start + HELLO_RETRY)), "");
    assert_eq!(line(&members.tick(start + 3 * HELLO_RETRY)), "");
}

/// The node that refuses first would otherwise be gone before the other knows why.
#[test]
fn a_refusal_is_said_once_the_other_can_have_seen_it_too() {
    let other = Hello {
        nodes: 4,
        ..hello(1, 5)
    };
    let known = || {
        let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
        assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
        assert_eq!(line(&members.hello(&other, start)), "");
        assert_eq!(line(&members.tick(start + REFUSAL_DELAY / 2)), "");
        (members, start)
    };
    let (mut members, start) = known();
    assert_eq!(line(&members.tick(start + REFUSAL_DELAY)), "1 refused");
    assert_eq!(line(&members.gone(1, 5, start + REFUSAL_DELAY)), "");
    let (mut members, start) = known();
    assert_eq!(line(&members.gone(1, 5, start)), "1 refused");
    assert_eq!(line(&members.tick(start + REFUSAL_DELAY)), "");
}

/// No node can make another remember tokens without limit, or keep the run's own nodes out.
#[test]
fn tokens_beyond_reason_are_refused() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    for node in [0, 1] {
        for incarnation in 100..100 + MAX_INCARNATIONS as u64 {
            assert!(members.token(node, incarnation, start).is_ok());
        }
        let why = members.token(node, 200, start).unwrap_err();
        assert_eq!(why, format!("too many incarnations of node {node}"));
        members.gone(node, 100, start);
        assert!(
            members.token(node, 200, start).is_ok(),
            "there is room again"
        );
    }
    // The run has nodes 0 to 2.
    for unknown in 3..3 + MAX_UNKNOWN_NODES as u32 {
        assert!(members.token(unknown, 1, start).is_ok());
    }
    let why = members.token(1000, 1, start).unwrap_err();
    assert_eq!(why, "too many nodes beyond the run's 3");
    assert!(members.token(3, 2, start).is_ok(), "one that is known");
    assert!(members.token(2, 1, start).is_ok(), "one of the run");
    members.gone(4, 1, start);
    assert!(members.token(1000, 1, start).is_ok(), "there is room again");
}

#[test]
fn a_token_that_comes_twice_is_one_life() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
    assert_eq!(line(&members.token(1, 5, start).unwrap()), "");
    assert_eq!(
        line(&members.hello(&hello(1, 5), start)),
        "1/5 connected, resend"
    );
    assert_eq!(line(&members.hello(&hello(1, 5), start)), "");
    assert_eq!(
        line(&members.tick(start + HELLO_RETRY)),
        "",
        "it has answered"
    );
    assert_eq!(line(&members.gone(1, 6, start)), "", "that was never there");
    assert_eq!(line(&members.gone(1, 5, start)), "1/5 disconnected");
    assert_eq!(line(&members.gone(1, 5, start)), "");
    assert_eq!(members.present(), BTreeMap::new());
}

/// A status that arrives before its node's hello is kept until then, the newest of several.
#[test]
fn an_early_status_is_heard_after_the_hello() {
    let message = status;
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    assert_eq!(
        members.accept_status(message(5, 1)),
        None,
        "nobody is there"
    );
    members.token(1, 5, start).unwrap();
    for sequence in [3, 7, 6] {
        assert_eq!(members.accept_status(message(5, sequence)), None);
    }
    let actions = members.hello(&hello(1, 5), start);
    let heard = actions.into_iter().find_map(|action| match action {
        MemberAction::Emit(Incoming::Status(status)) => Some(status.sequence),
        _ => None,
    });
    assert_eq!(heard, Some(7));
    assert_eq!(members.accept_status(message(5, 8)), Some(message(5, 8)));
    assert_eq!(
        members.accept_status(message(4, 9)),
        None,
        "another incarnation"
    );

    // The status of a node with different settings is ignored, early or late.
    let (mut members, other) = (
        Members::new(hello(0, 1)),
        Hello {
            nodes: 4,
            ..hello(1, 5)
        },
    );
    members.token(1, 5, start).unwrap();
    assert_eq!(members.accept_status(message(5, 1)), None);
    assert_eq!(line(&members.hello(&other, start)), "");
    assert_eq!(members.accept_status(message(5, 2)), None);
    assert_eq!(line(&members.tick(start + REFUSAL_DELAY)), "1 refused");
}

/// After a network cut all tokens are reported again.
#[test]
fn whoever_is_forgotten_has_vanished() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    for node in [1, 2] {
        members.token(node, 5, start).unwrap();
    }
    members.hello(&hello(1, 5), start);
    assert_eq!(
        line(&members.forget()),
        "1/5 disconnected",
        "2 has not appeared"
    );
    assert_eq!(members.present(), BTreeMap::new());
    assert_eq!(line(&members.token(1, 5, start).unwrap()), "ask 1/5");
}

#[test]
fn what_a_dead_process_left_is_no_twin() {
    let (mut members, start) = (Members::new(hello(0, 9)), Instant::now());
    for incarnation in [7, 8, 9] {
        assert_eq!(line(&members.token(0, incarnation, start).unwrap()), "");
    }
    // Another node's incarnation with the same number is no duplicate.
    assert_eq!(line(&members.gone(1, 8, start)), "");
    assert_eq!(line(&members.gone(0, 7, start + DUPLICATE_TIMEOUT / 2)), "");
    assert_eq!(
        line(&members.tick(start + DUPLICATE_TIMEOUT)),
        "duplicate 8"
    );
    assert_eq!(line(&members.tick(start + 2 * DUPLICATE_TIMEOUT)), "");
}

/// Its token was lost with a connection while another stayed.
#[test]
fn who_is_heard_from_for_long_without_a_token_is_unseen() {
    let (mut members, start) = (Members::new(hello(0, 1)), Instant::now());
    let status = |node, incarnation| Status {
        node,
        ..status(incarnation, 1)
    };
    assert!(!members.is_unseen(&status(1, 5), start), "it may come yet");
    assert!(!members.is_unseen(&status(1, 5), start + UNSEEN / 2));
    assert!(!members.is_unseen(&status(2, 5), start + UNSEEN));
    assert!(members.is_unseen(&status(1, 5), start + UNSEEN));
    // It was away for long, and its token comes later than its first status.
    assert!(!members.is_unseen(&status(1, 5), start + 9 * UNSEEN));
    assert!(!members.is_unseen(&status(1, 5), start + 9 * UNSEEN + UNSEEN / 2));
    assert!(members.is_unseen(&status(1, 5), start + 10 * UNSEEN));
    // A token, even of a process that waits for the one before it to go.
    members.token(1, 5, start + UNSEEN).unwrap();
    members.token(1, 6, start + UNSEEN).unwrap();
    for incarnation in [5, 6] {
        for half in 0..9 {
            assert!(!members.is_unseen(&status(1, incarnation), start + half * UNSEEN / 2));
        }
    }
    // Neither this node nor one that the run does not have.
    for node in [0, 3] {
        for half in 0..9 {
            assert!(!members.is_unseen(&status(node, 7), start + half * UNSEEN / 2));
        }
    }
}
