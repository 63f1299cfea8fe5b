//! What a recipe sets besides the method, through the program.

use std::fs;

use safetensors::SafeTensors;

use super::live::Live;
use super::program::{Runs, SMOKE, run};
use super::repeats::assert_same;

/// Everything at once, long enough to be killed twice: a step takes about two milliseconds.
const ALL: [&str; 26] = [
    "run.mode=sync",
    "workers.accumulate=2",
    "budget.steps=1500",
    "evaluate.every_steps=300",
    "checkpoint.every_steps=25",
    "data.classes=8",
    "data.split={ dirichlet = 0.5 }",
    "data.vary=[{ worker = 1, label_noise = 0.2, image_noise = 0.1 }]",
    "workers.vary=[{ worker = 0, learning_rate = 0.5, gradient_scale = 0.9, gradient_flips = 1 }]",
    "data.augment=pad_crop",
    "data.trivial_augment=true",
    "data.cutout=3",
    "data.erasing=0.5",
    "data.mixup=0.4",
    "data.cutmix=1.0",
    "optimizer.nesterov=true",
    "optimizer.weight_decay=0.01",
    "optimizer.decay_norms=false",
    "optimizer.clip_norm=1.0",
    "loss.label_smoothing=0.1",
    "schedule.kind=one_cycle",
    "method.quadratic_period=0.15",
    "schedule.peak=0.4",
    "schedule.anneal=linear",
    "schedule.start_divisor=10",
    "schedule.final_divisor=100",
];

#[test]
fn a_killed_run_with_everything_continues_with_the_same_bits() {
    let runs = Runs::new();
    let whole = runs.train(SMOKE, "whole", &ALL);
    let killed = runs.get("killed");
    let mut arguments = runs.arguments(SMOKE, "killed", &ALL);
    arguments.push(String::from("--resume"));
    for times in 0..2 {
        let live = Live::start(&arguments);
        killed.wait_for_progress(times, 1);
        live.kill();
    }
    run(&arguments).well();
    assert_eq!(killed.events("resumed").len(), 2);
    assert_same(&whole, &killed);
    assert_eq!(whole.timeless_metrics(), killed.timeless_metrics());
    for line in whole.metrics("evaluation") {
        let score = &line["replica_mean"];
        let [error, top5] = ["error", "top5_error"].map(|name| score[name].as_f64().unwrap());
        assert!((0.0..=error).contains(&top5), "{score}");
    }
    // None of it may change on the way.
    let path = killed.path.to_str().unwrap();
    for set in [
        "optimizer.clip_norm=2.0",
        "data.mixup=0.5",
        "loss.label_smoothing=0.0",
    ] {
        let key = set.split('=').next().unwrap();
        let ran = run(["resume", path, "--set", set, "--set", "budget.steps=1501"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
    }
}

/// A key that did nothing would leave the bits as they were, and one that did what another does would leave
/// those of the other.
#[test]
fn every_key_changes_the_run() {
    let runs = Runs::new();
    let base = [
        "run.mode=sync",
        "budget.steps=8",
        "optimizer.weight_decay=0.05",
    ];
    let train = |name: &str, set: &[&str]| {
        let set: Vec<&str> = base.iter().chain(set).copied().collect();
        runs.train(SMOKE, name, &set).digests()
    };
    let sets: &[&[&str]] = &[
        &[],
        &["data.trivial_augment=true"],
        &["data.jitter={ contrast = 0.5 }"],
        &["data.cutout=3"],
        &["data.erasing=0.9"],
        &["data.mixup=1.0"],
        &["data.cutmix=1.0"],
        &["optimizer.decay_norms=false"],
        &["optimizer.clip_norm=0.1"],
        &["optimizer.clip_value=0.001"],
        &["loss.label_smoothing=0.1"],
        &["workers.accumulate=2"],
        &["data.split={ dirichlet = 0.5 }"],
        &["method.name=leader_filter"],
        &["method.name=leader_filter", "method.filter_margin=0"],
        &["method.quadratic_period=0.12"],
        &["optimizer.name=lion"],
        &["optimizer.name=lamb"],
        &["optimizer.name=muon"],
        &["optimizer.name=adamw"],
        &["schedule.kind=polynomial"],
        &["schedule.kind=polynomial", "schedule.power=2.0"],
        &["schedule.kind=one_cycle"],
        &["schedule.kind=one_cycle", "schedule.anneal=linear"],
        &["schedule.kind=one_cycle", "schedule.peak=0.6"],
        &["schedule.kind=one_cycle", "schedule.start_divisor=4"],
        &["schedule.kind=one_cycle", "schedule.final_divisor=2"],
    ];
    let numbered = sets.iter().enumerate();
    let digests: Vec<Vec<String>> = numbered
        .map(|(number, set)| train(&number.to_string(), set))
        .collect();
    for (number, found) in digests.iter().enumerate() {
        let same = digests[..number].iter().position(|other| other == found);
        let same = same.map(|other| sets[other]);
        assert_eq!(same, None, "{:?} does the same", sets[number]);
    }
    // Gradients within the limit.
    assert_eq!(train("far", &["optimizer.clip_norm=1e6"]), digests[0]);
}

/// With a rate that rounds to zero the running statistics of BatchNorm alone change: once for each batch,
/// as in PyTorch, whichever step it belongs to.
#[test]
fn every_accumulated_batch_counts_in_running_statistics() {
    let runs = Runs::new();
    let train = |steps: &str, accumulate: &str| {
        let set = [
            "run.mode=sync",
            "workers.count=1",
            "method.name=sgd",
            "schedule.learning_rate=1e-60",
            &format!("budget.steps={steps}"),
            &format!("workers.accumulate={accumulate}"),
        ];
        runs.train(SMOKE, &format!("{steps}-by-{accumulate}"), &set)
            .digests()
    };
    let six = train("6", "1");
    assert_eq!(train("2", "3"), six);
    assert_ne!(train("2", "1"), six);
}

#[test]
fn a_square_fits_the_images() {
    let runs = Runs::new();
    runs.start(SMOKE, "wide", &["data.cutout=9"]).failed(
        1,
        "data.cutout 9 is more than the side of the images, which are 8 x 8; give at most 8",
    );
}

/// The matrix adds up to what the line says.
#[test]
fn eval_tells_which_classes_are_taken_for_which() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "trained", &["budget.steps=8"]);
    let path = trained.path.to_str().unwrap();
    let file = runs.path().join("confusion.csv");
    let printed = run(["eval", path, "--confusion", file.to_str().unwrap()]).well();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].ends_with("102 test examples"), "{printed}");
    assert!(lines[2].starts_with("class"), "{printed}");
    assert!(lines[7].starts_with("wrote "), "{printed}");

    let matrix = fs::read_to_string(&file).unwrap();
    let mut rows = matrix.lines();
    assert_eq!(rows.next(), Some("class,0,1,2,3"));
    let counts: Vec<Vec<u64>> = rows
        .map(|row| row.split(',').skip(1).map(|n| n.parse().unwrap()).collect())
        .collect();
    let all: u64 = counts.iter().flatten().sum();
    let right: u64 = (0..4).map(|class| counts[class][class]).sum();
    assert_eq!(all, 102);
    let error = format!("error {:.2} %", 100.0 * (all - right) as f64 / 102.0);
    assert!(lines[0].contains(&error), "{error}: {printed}");
    let again = run(["eval", path, "--confusion", file.to_str().unwrap()]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("confusion.csv"), "{}", again.stderr);
    for (other, matrix) in [("new", "new"), ("-", "-"), ("/dev/stdout", "-")] {
        let [logits, matrix] = [other, matrix].map(|name| match name {
            "new" => runs.path().join(name).display().to_string(),
            stream => String::from(stream),
        });
        run(["eval", path, "--logits", &logits, "--confusion", &matrix]).failed(
            2,
            &format!("--confusion {matrix} is where --logits goes too; give them different files"),
        );
    }
}

/// A rate too small to change any value, and a model without running statistics: every evaluation finds what
/// the first one found.
const STAGNANT: [&str; 8] = [
    "run.mode=sync",
    "budget.steps=24",
    "evaluate.every_steps=4",
    "schedule.learning_rate=1e-30",
    "workers.count=1",
    "data.examples=128",
    "data.shape=[3, 24, 24]",
    "model.name=cnn7",
];

/// The first evaluation is the best, and the second one after it is the last.
#[test]
fn a_run_ends_when_its_patience_is_used_up() {
    let runs = Runs::new();
    let set = [&STAGNANT[..], &["budget.patience=2"]].concat();
    let stopped = runs.train(SMOKE, "stopped", &set);
    let summary = stopped.summary();
    assert_eq!(summary["end"], "budget");
    assert_eq!(summary["steps"], 12);
    assert_eq!(summary["best"]["step"], 4);
    let evaluated = || -> Vec<u64> {
        let lines = stopped.metrics("evaluation");
        let steps = lines.iter().map(|line| line["step"].as_u64().unwrap());
        steps.collect()
    };
    assert_eq!(evaluated(), [4, 8, 12]);
    // It has ended, unless it may go on for longer.
    let path = stopped.path.to_str().unwrap();
    run(["resume", path, "--set", "budget.patience=1000"]).well();
    assert_eq!(stopped.summary()["steps"], 24);
    assert_eq!(evaluated(), [4, 8, 12, 16, 20, 24]);
}

/// CifarNet's first layer begins with components of the images' patches, each with its negative: one is
/// orthogonal to the others.
#[test]
fn a_model_that_whitens_begins_with_components_of_its_data() {
    let runs = Runs::new();
    let set = [
        "model.name=cifarnet",
        "data.shape=[3, 12, 12]",
        "budget.steps=1",
        "method.local_period=1",
        "method.global_period=1",
        "method.loss_window=1",
        "schedule.learning_rate=1e-30",
    ];
    let first_layer = |name: &str, more: &[&str]| -> [Vec<f32>; 2] {
        let trained = runs.train(SMOKE, name, &[&set[..], more].concat());
        run(["export", trained.path.to_str().unwrap()]).well();
        let bytes = fs::read(trained.path.join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        ["weight", "bias"].map(|of| {
            let tensor = file.tensor(&format!("conv1.{of}")).unwrap();
            let values = tensor.data().chunks_exact(4);
            values
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        })
    };
    let [filters, bias] = first_layer("run", &[]);
    assert_eq!((filters.len(), bias.len()), (24 * 3 * 2 * 2, 24));
    // The step was of 1e-30.
    assert!(bias.iter().all(|value| value.abs() < 1e-25));
    let (components, negatives) = filters.split_at(144);
    assert!(components.iter().zip(negatives).all(|(a, b)| *a == -*b));
    let norm = |a: &[f32]| a.iter().map(|value| value * value).sum::<f32>().sqrt();
    for (i, a) in components.chunks(12).enumerate() {
        for b in components.chunks(12).skip(i + 1) {
            let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!(dot.abs() < 1e-4 * norm(a) * norm(b), "{dot}");
        }
    }
    // The images of another seed have others, unless weights are given.
    let given = format!("model.init_from={}", runs.path().join("run").display());
    assert_ne!(first_layer("other", &["run.seed=2"])[0], filters);
    assert_eq!(first_layer("given", &["run.seed=2", &given])[0], filters);
}
