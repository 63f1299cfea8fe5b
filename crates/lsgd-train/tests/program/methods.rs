//! What a method does to parameters, told by their digests: equal digests mean equal bits.

use std::collections::BTreeSet;

use super::program::{Run, Runs, SMOKE};

fn exchanges(run: &Run) -> u64 {
    run.summary()["exchange"]["count"].as_u64().unwrap()
}

/// How many different workers there are at the end.
fn different(run: &Run) -> usize {
    run.digests().into_iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn workers_of_sgd_never_exchange_anything() {
    let runs = Runs::new();
    for mode in ["run.mode=sync", "run.mode=async"] {
        let run = runs.train(SMOKE, "sgd", &["workers.count=3", "method.name=sgd", mode]);
        assert_eq!(
            (exchanges(&run), &run.summary()["exchange"]["bytes"]),
            (0, &0.into())
        );
        for event in ["election", "exchange", "adoption"] {
            assert!(run.events(event).is_empty(), "{event}");
        }
        assert_eq!(different(&run), 3);
    }
}

/// A single worker leads itself.
#[test]
fn one_worker_is_plain_sgd_by_every_method() {
    let runs = Runs::new();
    let sgd = runs.train(SMOKE, "sgd", &["workers.count=1", "method.name=sgd"]);
    let others = [
        ["method.name=lsgd", "run.mode=sync"],
        ["method.name=lsgd", "run.mode=async"],
        ["method.name=local_sgd", "run.mode=sync"],
    ];
    for [method, mode] in others {
        let run = runs.train(SMOKE, "other", &["workers.count=1", method, mode]);
        assert_eq!(run.digests(), sgd.digests(), "{method} {mode}");
        assert!(exchanges(&run) > 0);
    }
}

/// A pull of zero leaves the bits alone, a pull of one lands exactly on the leader.
#[test]
fn pulls_of_nought_and_one() {
    let runs = Runs::new();
    let digests = |name: &str, set: &[&str]| {
        let run = runs.train(SMOKE, name, &[&["workers.count=3"], set].concat());
        assert_eq!(exchanges(&run), if name == "sgd" { 0 } else { 2 });
        run.digests()
    };
    let steps = "budget.steps=8";
    let sgd = digests("sgd", &["method.name=sgd", steps]);
    assert_eq!(digests("nought", &["method.local_pull=0", steps]), sgd);

    // Right after an exchange. BatchNorm's statistics are part of a digest, so they are pulled too.
    let one = ["method.local_pull=1", "method.batch_norm=leader", steps];
    runs.train(SMOKE, "one", &[&["workers.count=3"], &one[..]].concat());
    assert_eq!(different(&runs.get("one")), 1);
    let own = runs.train(SMOKE, "own", &["workers.count=3", one[0], steps]);
    assert_eq!(different(&own), 3);
}

/// Right after an exchange, likewise.
#[test]
fn all_workers_of_local_sgd_are_their_mean() {
    let runs = Runs::new();
    let set = [
        "workers.count=3",
        "method.name=local_sgd",
        "method.batch_norm=mean",
    ];
    let run = runs.train(SMOKE, "met", &[&set[..], &["budget.steps=8"]].concat());
    assert_eq!((exchanges(&run), different(&run)), (2, 1));
    let run = runs.train(SMOKE, "apart", &[&set[..], &["budget.steps=9"]].concat());
    assert_eq!((exchanges(&run), different(&run)), (2, 3));
}
