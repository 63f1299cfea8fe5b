//! Workers that train differently on purpose.

use std::collections::BTreeMap;

use super::program::{QUICKSTART, Run, Runs, SMOKE};

/// Workers whose entry changes nothing train as without one, to the bit; one that does differs.
#[test]
fn only_the_named_worker_differs() {
    let runs = Runs::new();
    let digests = |name: &str, set: &str| {
        let set = [
            "workers.count=3",
            "method.name=sgd",
            "optimizer.weight_decay=0.01",
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
        ("decay", "workers.vary=[{ worker = 1, weight_decay = 4.0 }]"),
        ("still", "data.vary=[{ worker = 1, augment = false }]"),
        ("labels", "data.vary=[{ worker = 1, label_noise = 1.0 }]"),
        ("images", "data.vary=[{ worker = 1, image_noise = 0.5 }]"),
    ] {
        let varied = digests(name, set);
        let differs: Vec<bool> = varied.iter().zip(&plain).map(|(a, b)| a != b).collect();
        assert_eq!(differs, [false, true, false], "{name}");
    }
}

/// A worker's factor is that of a whole run with such an optimizer, or schedule.
#[test]
fn a_factor_is_that_of_the_whole_run() {
    let runs = Runs::new();
    let digests = |name: &str, set: &[&str]| {
        let set = [
            &[
                "workers.count=2",
                "method.name=sgd",
                "optimizer.momentum=0.9",
            ],
            set,
        ]
        .concat();
        runs.train(SMOKE, name, &set).digests()
    };
    for optimizer in ["sgd", "muon", "lars"] {
        let name = format!("optimizer.name={optimizer}");
        let run = |word: &str, set: [&str; 2]| {
            digests(&format!("{word}-{optimizer}"), &[&name, set[0], set[1]])
        };
        let none = "workers.vary=[]";
        let plain = run("plain", ["optimizer.weight_decay=0.01", none]);
        let whole = run("whole", ["optimizer.weight_decay=0.04", none]);
        let vary = "workers.vary=[{ worker = 1, weight_decay = 4.0 }]";
        let varied = run("varied", ["optimizer.weight_decay=0.01", vary]);
        assert_ne!(plain[1], whole[1], "{optimizer}");
        assert_eq!(varied, [plain[0].clone(), whole[1].clone()], "{optimizer}");
    }
}

/// Four workers whose learning rates span two decades, most of them too low. Followers that take over their
/// leader's factors come near to its rate; those that do not keep theirs.
#[test]
fn a_population_tunes_itself() {
    let runs = Runs::new();
    let run = |name: &str, adopt: &str| {
        let rates = [0.01, 0.03, 0.1, 1.0].iter().enumerate();
        let vary =
            rates.map(|(worker, rate)| format!("{{ worker = {worker}, learning_rate = {rate} }}"));
        let vary = format!("workers.vary=[{}]", vary.collect::<Vec<_>>().join(", "));
        let set = [
            "budget.epochs=4",
            "evaluate.every_epochs=4",
            "schedule.learning_rate=0.1",
            vary.as_str(),
            adopt,
        ];
        runs.train(QUICKSTART, name, &set)
    };
    let error = |run: &Run| {
        let error = &run.summary()["test"]["worker_mean"]["error"];
        error.as_f64().unwrap()
    };
    let (plain, adopting) = (
        run("plain", "method.adopt=false"),
        run("adopting", "method.adopt=true"),
    );
    assert!(
        plain
            .events("adoption")
            .iter()
            .all(|event| event["factors"].is_null())
    );
    let adopted = adopting.events("adoption");
    let last: BTreeMap<String, f64> = adopted
        .iter()
        .map(|event| {
            let rate = event["factors"]["learning_rate"].as_f64().unwrap();
            (event["worker"].to_string(), rate)
        })
        .collect();
    assert_eq!(last.len(), 4, "{last:?}");
    let least = last.values().copied().fold(f64::INFINITY, f64::min);
    let most = last.values().copied().fold(0.0, f64::max);
    // From 100 at first.
    assert!(most / least < 2.0, "{last:?}");
    let (plain, adopting) = (error(&plain), error(&adopting));
    assert!(adopting < plain, "{adopting} {plain}");
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
