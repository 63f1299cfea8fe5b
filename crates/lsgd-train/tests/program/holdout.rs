//! `data.holdout`: models are scored on training images that nobody trains on.

use super::program::{Run, Runs, SMOKE, run};

/// Of the 512 training images of the smoke config, and 102 of its test.
const SHARE: &str = "data.holdout=0.25";

fn eval(run_of: &Run, on: &[&str]) -> super::program::Ran {
    let path = run_of.path.to_str().unwrap();
    run([&["eval", path], on].concat())
}

#[test]
fn a_run_is_scored_on_the_images_that_it_holds_out() {
    let runs = Runs::new();
    let set = [SHARE, "evaluate.every_steps=4"];
    let trained = runs.train(SMOKE, "run", &set);
    let evaluations = trained.metrics("evaluation");
    assert!(evaluations.len() > 1);
    assert!(evaluations.iter().all(|one| one["examples"] == 128));
    // An epoch is of the other images.
    let last = evaluations.last().unwrap();
    let epochs = last["samples"].as_f64().unwrap() / 384.0;
    assert!((last["epoch"].as_f64().unwrap() - epochs).abs() < 1e-9);

    let start = |score: &serde_json::Value| {
        let (path, error) = (trained.path.display(), score["error"].as_f64().unwrap());
        format!("{path} leader: error {error:.2} %, ")
    };
    let again = eval(&trained, &["--on", "holdout"]).well();
    assert!(
        again.starts_with(&start(&last["leader"]["test"])),
        "{again}"
    );
    assert!(again.ends_with(", 128 held-out examples\n"), "{again}");
    // The test images are looked at when they are asked for.
    for on in [&[][..], &["--on", "test"]] {
        let tested = eval(&trained, on).well();
        assert!(tested.ends_with(", 102 test examples\n"), "{tested}");
    }
    let best = trained.summary()["best"].clone();
    let errors = evaluations.iter().flat_map(|one| {
        let scores = [&one["leader"]["test"], &one["replica_mean"]];
        scores.map(|score| score["error"].as_f64().unwrap_or(f64::INFINITY))
    });
    assert_eq!(best["value"], errors.fold(f64::INFINITY, f64::min));
}

/// The same images whatever ranks the workers, and the run repeats.
#[test]
fn ranking_by_a_probe_takes_other_images() {
    let runs = Runs::new();
    let probe = ["method.rank_by=probe_loss", "method.probe_examples=128"];
    let both = [&[SHARE][..], &probe].concat();
    let [first, again] = ["a", "b"].map(|name| runs.train(SMOKE, name, &both));
    assert_eq!(first.digests(), again.digests());
    let last = first.metrics("evaluation").pop().unwrap();
    assert_eq!(last["examples"], 128);
    let epochs = last["samples"].as_f64().unwrap() / 256.0;
    assert!((last["epoch"].as_f64().unwrap() - epochs).abs() < 1e-9);
}

#[test]
fn evaluate_examples_limits_them() {
    let runs = Runs::new();
    let set = ["data.holdout=40", "evaluate.examples=30", "budget.steps=4"];
    let trained = runs.train(SMOKE, "run", &set);
    assert_eq!(trained.metrics("evaluation").pop().unwrap()["examples"], 30);
    let all = eval(&trained, &["--on", "holdout"]).well();
    assert!(all.ends_with(", 40 held-out examples\n"), "{all}");
}

#[test]
fn what_cannot_be_held_out_is_refused() {
    let runs = Runs::new();
    let plain = runs.train(SMOKE, "plain", &["budget.steps=4"]);
    eval(&plain, &["--on", "holdout"]).failed(
        2,
        "--on holdout: the run held out no images (data.holdout); give --on test",
    );
    runs.start(SMOKE, "all", &["data.holdout=512"]).failed(
        1,
        "512 examples to hold out of 512 leave none to train on; make data.holdout smaller",
    );
    // Other images may have been trained on.
    let split = runs.train(SMOKE, "split", &["budget.steps=4", "data.holdout=40"]);
    for (set, what) in [
        ("data.holdout=41", "data.holdout"),
        ("run.seed=9", "run.seed"),
        ("data.examples=500", "the data set"),
    ] {
        eval(&split, &["--on", "holdout", "--set", set]).failed(
            2,
            &format!(
                "--on holdout: {what} is not the run's, so that these images may have been trained on; \
                 leave out what was set, or give --on test"
            ),
        );
    }
    // A run goes on with the images that it held out.
    let path = plain.path.to_str().unwrap();
    let resumed = run(["resume", path, "--set", "budget.steps=8", "--set", SHARE]);
    resumed.failed(
        2,
        &format!(
            "{path} cannot continue with other settings: data.holdout is 0.25, was unset; change them \
             back, or choose another run.name"
        ),
    );
}
