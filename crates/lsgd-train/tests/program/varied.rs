//! Workers that train differently on purpose.

use super::program::{QUICKSTART, Runs, SMOKE};

/// Workers whose entry changes nothing train as without one, to the bit; one that does differs.
#[test]
fn only_the_named_worker_differs() {
    let runs = Runs::new();
    let digests = |name: &str, set: &str| {
        let set = [
            "workers.count=3",
            "method.name=sgd",
            "data.augment=pad_crop",
            set,
        ];
        runs.train(SMOKE, name, &set).digests()
    };
    let plain = digests("plain", "workers.vary=[]");
    let nothing = "workers.vary=[{ worker = 1, learning_rate = 1.0, gradient_scale = 1.0 }]";
    assert_eq!(digests("nothing", nothing), plain);
    for (name, set) in [
        ("rate", "workers.vary=[{ worker = 1, learning_rate = 2.0 }]"),
        (
            "uphill",
            "workers.vary=[{ worker = 1, gradient_scale = -1.0 }]",
        ),
        ("flips", "workers.vary=[{ worker = 1, gradient_flips = 1 }]"),
        ("still", "data.vary=[{ worker = 1, augment = false }]"),
        ("labels", "data.vary=[{ worker = 1, label_noise = 1.0 }]"),
        ("images", "data.vary=[{ worker = 1, image_noise = 0.5 }]"),
    ] {
        let varied = digests(name, set);
        let differs: Vec<bool> = varied.iter().zip(&plain).map(|(a, b)| a != b).collect();
        assert_eq!(differs, [false, true, false], "{name}");
    }
}

/// With shards of nearly one class, workers that never meet hardly recognise the others' classes; those
/// that average do.
#[test]
fn shards_differ_in_their_classes() {
    let runs = Runs::new();
    let error = |name: &str, set: &[&str]| {
        let set = [&["budget.epochs=10", "evaluate.every_epochs=10"], set].concat();
        let summary = runs.train(QUICKSTART, name, &set).summary();
        summary["test"]["worker_mean"]["error"].as_f64().unwrap()
    };
    let alone = ["method.name=sgd", "data.split={ dirichlet = 0.05 }"];
    let together = ["method.name=local_sgd", "data.split={ dirichlet = 0.05 }"];
    let same = ["method.name=sgd"];
    let [alone, together, same] = [
        error("alone", &alone),
        error("together", &together),
        error("same", &same),
    ];
    assert!(
        same < 20.0 && alone > 40.0 && together < alone - 20.0,
        "{alone} {together} {same}"
    );
}

/// A worker that goes uphill soon has no part in a filtered mean, and the others train well; a plain mean is
/// over all.
#[test]
fn a_filter_leaves_out_a_worker_that_goes_uphill() {
    let runs = Runs::new();
    let last = |name: &str, set: &[&str]| {
        let uphill = "workers.vary=[{ worker = 3, gradient_scale = -1.0 }]";
        let set = [
            &["budget.epochs=10", "evaluate.every_epochs=10", uphill],
            set,
        ]
        .concat();
        let run = runs.train(QUICKSTART, name, &set);
        let exchanges = run.events("exchange");
        let counted =
            exchanges.last().expect("there are some")["source"]["mean"]["workers"].as_u64();
        let error = run.summary()["test"]["leader"]["error"].as_f64();
        (counted, error)
    };
    let (counted, error) = last(
        "filtered",
        &["method.name=leader_filter", "method.filter_margin=0.5"],
    );
    assert_eq!(counted, Some(3));
    assert!(error.is_some_and(|error| error < 20.0), "{error:?}");
    let (counted, _) = last("averaged", &["method.name=local_sgd"]);
    assert_eq!(counted, Some(4));
}

#[test]
fn entries_that_make_no_sense_are_refused() {
    let runs = Runs::new();
    for (set, expected) in [
        (
            "workers.vary=[{ worker = 2 }]",
            "workers.vary[0].worker 2 is not among the 2 workers, counted from 0",
        ),
        (
            "data.vary=[{ worker = 7, label_noise = 0.5 }]",
            "data.vary[0].worker 7 is not among the 2 workers, counted from 0",
        ),
        (
            "workers.vary=[{ worker = 1 }, { worker = 1, gradient_flips = 2 }]",
            "--set: workers.vary[1].worker 1 is that of workers.vary[0] too; give each worker once",
        ),
        (
            "data.vary=[{ worker = 0 }, { worker = 0 }]",
            "--set: data.vary[1].worker 0 is that of data.vary[0] too; give each worker once",
        ),
        (
            "data.split={ dirichlet = 0 }",
            "--set: data.split.dirichlet 0 is not in (0, inf); give a number over 0",
        ),
    ] {
        runs.start(SMOKE, "refused", &[set]).failed(2, expected);
    }
}
