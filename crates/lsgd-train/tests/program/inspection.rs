//! `eval` and `export` of a run.

use std::fs;

use safetensors::SafeTensors;

use super::program::{QUICKSTART, Run, Runs, SMOKE, command, run};

#[test]
fn eval_reproduces_what_the_run_found() {
    let runs = Runs::new();
    for (config, steps) in [(SMOKE, "budget.steps=16"), (QUICKSTART, "budget.steps=40")] {
        let set = ["workers.count=2", steps, "run.overwrite=true"];
        let trained = runs.train(config, "run", &set);
        let evaluation = trained.metrics("evaluation").pop().unwrap();
        let scores = [
            ("leader", &evaluation["leader"]["test"]),
            ("mean", &evaluation["replica_mean"]),
            ("worker-0", &evaluation["workers"][0]["test"]),
            ("worker-1", &evaluation["workers"][1]["test"]),
        ];
        for (which, score) in scores {
            let start = format!(
                "{} {which}: error {:.2} %, loss ",
                trained.path.display(),
                score["error"].as_f64().unwrap(),
            );
            // Only with more than five classes.
            let top5 = score["top5_error"].as_f64();
            let top5 = top5.map(|error| format!(", top-5 error {error:.2} %"));
            let top5 = top5.unwrap_or_default();
            let end = format!("{top5}, {} test examples\n", evaluation["examples"]);
            let said = trained.eval(which);
            let loss = said
                .strip_prefix(&start)
                .and_then(|rest| rest.strip_suffix(&end));
            let loss: f64 = loss.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
            // Other batches may sum in another order.
            assert!(
                (loss - score["loss"].as_f64().unwrap()).abs() < 2e-4,
                "{said}"
            );
        }
        let summary = trained.summary();
        assert_eq!(
            summary["test"]["leader"]["error"],
            evaluation["leader"]["test"]["error"]
        );
    }
}

#[test]
fn exports_depend_on_the_parameters_alone() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &[]);
    let [leader, mean, first, second] =
        ["leader", "mean", "worker-0", "worker-1"].map(|which| trained.export(which));
    assert!(leader == trained.export("leader"));
    assert!(leader == first || leader == second);
    assert!(first != second && mean != first && mean != second);

    let path = trained.path.to_str().unwrap();
    let said = run(["export", path]).well();
    assert_eq!(said, format!("wrote {path}/model.safetensors\n"));
    assert!(fs::read(trained.join("model.safetensors")).unwrap() == leader);

    // Another folder, another name, another day: the same parameters.
    let elsewhere = Runs::new();
    assert!(elsewhere.train(SMOKE, "other", &[]).export("leader") == leader);
}

#[test]
fn an_export_has_pytorchs_names_and_shapes() {
    let runs = Runs::new();
    let file = runs
        .train(SMOKE, "run", &["budget.steps=4"])
        .export("leader");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let norm = |name: &str| {
        ["weight", "bias", "running_mean", "running_var"].map(|field| format!("{name}.{field}"))
    };
    let mut expected = vec![String::from("conv1.weight")];
    expected.extend(norm("bn1"));
    // 6n + 2 layers with n = 1: one block a stage.
    for stage in 1..=3 {
        for layer in 1..=2 {
            expected.push(format!("layer{stage}.0.conv{layer}.weight"));
            expected.extend(norm(&format!("layer{stage}.0.bn{layer}")));
        }
    }
    expected.extend(["fc.weight", "fc.bias"].map(String::from));
    expected.sort();
    let mut names: Vec<String> = tensors.names().into_iter().map(String::from).collect();
    names.sort();
    assert_eq!(names, expected);

    let shape = |name: &str| tensors.tensor(name).unwrap().shape().to_vec();
    // Width 4, four classes; PyTorch's order: out, in, height, width.
    assert_eq!(shape("conv1.weight"), [4, 3, 3, 3]);
    assert_eq!(shape("layer2.0.conv1.weight"), [8, 4, 3, 3]);
    assert_eq!(shape("layer3.0.bn2.running_var"), [16]);
    assert_eq!(shape("fc.weight"), [4, 16]);
}

#[test]
fn any_checkpoint_can_be_read() {
    let runs = Runs::new();
    let set = ["evaluate.every_steps=4", "checkpoint.every_steps=4"];
    let set = [&set[..], &["checkpoint.keep=9", "budget.steps=12"]].concat();
    let trained = runs.train(SMOKE, "run", &set);
    let path = trained.path.to_str().unwrap();
    let eval = |checkpoint: &str| run(["eval", path, "--checkpoint", checkpoint]).well();
    for line in trained.metrics("evaluation") {
        let Some(error) = line["leader"]["test"]["error"].as_f64() else {
            continue;
        };
        let said = eval(&line["step"].to_string());
        assert!(said.contains(&format!("error {error:.2} %")), "{said}");
    }
    assert_eq!(eval("newest"), eval("12"));
    let best = trained.summary()["best"]["step"].to_string();
    assert_eq!(eval("best"), eval(&best));
    let output = trained.join("of-step-4.safetensors");
    let output = output.to_str().unwrap();
    run(["export", path, "--checkpoint", "step-4", "--output", output]).well();
    assert_ne!(fs::read(output).unwrap(), trained.export("leader"));
    for command in ["eval", "export"] {
        let text = "it has no checkpoint of step 5; give newest, best, or one of 4, 8, 12";
        run([command, path, "--checkpoint", "5"]).failed(1, &format!("{path}: {text}"));
    }
}

#[test]
fn what_a_run_does_not_have_is_said() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=3"]);
    let path = trained.path.to_str().unwrap();
    let checkpoint = format!("{path}/checkpoints/step-3");
    for command in ["eval", "export"] {
        run([command, path, "--which", "worker-9"]).failed(
            1,
            &format!("{checkpoint}: there is no worker-9; the run has worker-0 to worker-1"),
        );
        // Three steps do not fill a loss window of four.
        run([command, path]).failed(
            1,
            &format!(
                "{checkpoint}: nobody led at step 3: no worker's loss window was full; \
                 give --which mean or --which worker-K"
            ),
        );
        for (what, why) in [
            ("configs", "not a run: it has no config.toml"),
            ("runs/nothing", "there is no such folder"),
            (SMOKE, "not a run, but a file"),
        ] {
            let text = format!("{what}: {why}; give a folder such as runs/first");
            run([command, what]).failed(1, &text);
        }
        let node = format!("{path}/node-1");
        fs::rename(trained.join("config.toml"), trained.join("aside")).unwrap();
        fs::create_dir(&node).unwrap();
        fs::write(format!("{node}/config.toml"), "").unwrap();
        let text =
            format!("{path}: a run of several nodes; give the folder of one, such as {node}");
        run([command, path]).failed(1, &text);
        fs::remove_dir_all(node).unwrap();
        fs::rename(trained.join("aside"), trained.join("config.toml")).unwrap();
    }
    fs::remove_dir_all(trained.join("checkpoints")).unwrap();
    let text =
        format!("{path}: it has no checkpoint; is it at its beginning, or did it end there?");
    run(["eval", path]).failed(1, &text);
}

#[test]
fn a_damaged_checkpoint_is_said() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &[]);
    let path = trained.path.to_str().unwrap();
    let file = trained.join("checkpoints/step-16/worker-0.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let ran = run(["eval", path, "--which", "worker-0"]);
    let start = format!("error: {}: ", file.display());
    assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1));

    let state = trained.join("checkpoints/step-16/state.json");
    fs::write(&state, "{").unwrap();
    run(["export", path]).failed(
        1,
        &format!(
            "{}: EOF while parsing an object at line 1 column 1",
            state.display()
        ),
    );
}

/// A pause for a checkpoint alone does not wait for the mean; whoever wants it later gets the same.
#[test]
fn a_mean_that_was_not_made_is_made_when_asked_for() {
    let runs = Runs::new();
    let ranked = ["method.rank_by=probe_loss", "method.probe_examples=32"];
    for (name, ranked) in [("loss", &[][..]), ("probe", &ranked[..])] {
        let every_8 = ["checkpoint.every_steps=8", "checkpoint.keep=2"];
        let set = [&every_8[..], ranked].concat();
        let saved = runs.train(SMOKE, &format!("saved-{name}"), &set);
        let evaluated = [&set[..], &["evaluate.every_steps=8"]].concat();
        let evaluated = runs.train(SMOKE, &format!("evaluated-{name}"), &evaluated);
        assert_eq!(saved.digests(), evaluated.digests());
        let mean = |run: &Run| run.join("checkpoints/step-8/mean.safetensors");
        assert!(!mean(&saved).exists() && mean(&evaluated).is_file());
        let [made, stored] = [&saved, &evaluated].map(|of_run| {
            let path = of_run.path.to_str().unwrap();
            let of = ["--which", "mean", "--checkpoint", "8", "--output", "-"];
            let mut export = command([&["export", path], &of[..]].concat());
            let exported = export.assert().success().get_output().stdout.clone();
            let eval = ["eval", path, "--which", "mean", "--checkpoint", "8"];
            (exported, run(eval).well().replace(path, ""))
        });
        assert!(made == stored);
        // Nothing is written into the run for it.
        assert!(!mean(&saved).exists());
    }
    // To score alone, fewer training examples than the run held out will do.
    let probed = runs.get("saved-probe");
    run([
        "eval",
        probed.path.to_str().unwrap(),
        "--set",
        "data.examples=20",
    ])
    .well();
    let saved = runs.get("saved-loss");
    let path = saved.path.to_str().unwrap();
    let of = ["eval", path, "--which", "mean", "--checkpoint", "8"];
    let other = [&of[..], &["--set", "data.examples=256"]].concat();
    run(other).failed(
        1,
        &format!(
            "{path}/checkpoints/step-8: it has no mean, since it was not evaluated, and these are not \
             the data to make one with; give the run's own, or --which worker-K"
        ),
    );
}

/// One worker's values are no longer finite: what is advised can be had.
#[test]
fn advice_is_of_what_a_checkpoint_has() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=3"]);
    let path = trained.path.to_str().unwrap();
    let checkpoint = trained.join("checkpoints/step-3");
    let file = checkpoint.join("worker-0.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    fs::remove_file(checkpoint.join("mean.safetensors")).unwrap();
    let mut state = trained.json("checkpoints/step-3/state.json");
    state["evaluation"]["workers"][0]["test"] = serde_json::Value::Null;
    state["files"] = serde_json::json!({});
    fs::write(checkpoint.join("state.json"), state.to_string()).unwrap();

    let advice = "give --which worker-1";
    for command in ["eval", "export"] {
        let refused = |which: &str| {
            let ran = run([command, path, "--which", which]);
            assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1));
            assert!(
                ran.stderr.ends_with(&format!("; {advice}\n")),
                "{}",
                ran.stderr
            );
            ran.stderr
        };
        refused("mean");
        refused("leader");
        // By the name that the exported file has.
        assert!(refused("worker-0").contains(" of worker-0 has values that are not finite; "));
        run([command, path, "--which", "worker-1"]).well();
    }
}
