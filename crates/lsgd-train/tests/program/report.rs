//! `report`: a page about a run, or one that compares several, from their folders alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::program::{Ran, Run, Runs, SMOKE, command, run};

/// The page in a run's folder.
fn page(run: &Run) -> String {
    fs::read_to_string(run.join("report.html")).unwrap()
}

fn report(arguments: &[&str]) -> Ran {
    run(["report"].iter().chain(arguments))
}

fn path(run: &Run) -> &str {
    run.path.to_str().unwrap()
}

/// The charts that the page's script has.
fn charts(page: &str) -> Vec<Value> {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    serde_json::from_str(data).unwrap()
}

fn titles(page: &str) -> Vec<String> {
    let titles = charts(page)
        .into_iter()
        .map(|chart| chart["title"].as_str().unwrap().to_owned());
    titles.collect()
}

/// Whatever an element would fetch.
fn assert_self_contained(page: &str) {
    for attribute in [
        "src=", "href=", "url(", "@import", "<link", "<iframe", "<base",
    ] {
        let (_, body) = page.split_once("<body>").unwrap();
        let (markup, _) = body.split_once("<script>").unwrap();
        let (head, _) = page.split_once("<body>").unwrap();
        for part in [head, markup] {
            assert!(!part.contains(attribute), "{attribute}");
        }
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_run_that_has_ended_leaves_a_page_with_its_figures() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "one", &["evaluate.every_steps=4"]);
    let page = page(&trained);
    assert_self_contained(&page);
    let summary = trained.summary();
    let metric = &summary["test"]["leader"]["error"];
    for figure in [
        metric.to_string(),
        summary["test"]["replica_mean"]["loss"].to_string(),
        summary["seconds"].to_string(),
        summary["digests"][1].as_str().unwrap().to_owned(),
        String::from("<dt>state</dt><dd>ended</dd>"),
        String::from("method.local_pull"),
    ] {
        assert!(page.contains(&figure), "{figure}");
    }
    let titles = titles(&page);
    for expected in [
        "error (%) on held-out examples",
        "loss on held-out examples",
        "Training loss of each worker",
        "Who led when",
        "Learning rate",
        "Throughput",
        "Pace of each worker",
        "Bytes exchanged",
        "Pulls",
        "What happened",
    ] {
        assert!(
            titles.iter().any(|title| title == expected),
            "{expected}: {titles:?}"
        );
    }
    // A picture for each, for whoever has no JavaScript.
    assert_eq!(page.matches("<svg role=\"img\"").count(), titles.len());

    // Each evaluation of each worker, at the steps and bytes that the records have.
    let evaluations = trained.metrics("evaluation");
    let chart = &charts(&page)[0];
    assert_eq!(
        chart["xs"],
        serde_json::json!([
            "seconds of training",
            "steps of a worker",
            "samples of all workers",
            "bytes exchanged"
        ])
    );
    let series = chart["series"].as_array().unwrap();
    let of = |name: &str| series.iter().find(|series| series["name"] == name).unwrap();
    let steps: Vec<&Value> = evaluations.iter().map(|line| &line["step"]).collect();
    let worker = of("worker 1");
    assert_eq!(
        worker["x"][1]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        steps
    );
    let errors = evaluations
        .iter()
        .map(|line| line["workers"][1]["test"]["error"].as_f64());
    let shown = worker["y"].as_array().unwrap().iter().map(Value::as_f64);
    for (shown, error) in shown.zip(errors) {
        assert!((shown.unwrap() - error.unwrap()).abs() < 1e-4);
    }
    let exchanges = trained.events("exchange");
    let bytes: u64 = exchanges
        .iter()
        .map(|line| line["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(
        worker["x"][3].as_array().unwrap().last().unwrap(),
        &Value::from(bytes)
    );

    // It is made from the folder alone, so again it is the same.
    assert_eq!(
        report(&[path(&trained)]).well(),
        format!("wrote {}\n", trained.join("report.html").display())
    );
    assert_eq!(self::page(&trained), page);
    // A run that continues leaves that of the longer run.
    run([
        "resume",
        path(&trained),
        "--set",
        "budget.steps=20",
        "--quiet",
    ])
    .well();
    let longer = self::page(&trained);
    assert!(longer.contains("run continued") && longer != page);
}

#[test]
fn several_runs_are_compared_and_the_keys_that_differ_named() {
    let runs = Runs::new();
    let one = runs.train(SMOKE, "one", &[]);
    let two = runs.train(SMOKE, "two", &["method.local_pull=0.7"]);
    let output = runs.path().join("both.html");
    let output = output.to_str().unwrap();
    let both = [path(&one), path(&two), "--out", output];
    assert_eq!(report(&both).well(), format!("wrote {output}\n"));
    let page = fs::read_to_string(output).unwrap();
    assert_self_contained(&page);
    let row = "<tr><th scope=\"row\">method.local_pull</th><td>0.1</td><td>0.7</td></tr>";
    assert!(page.contains(row));
    for same in ["method.global_pull", "run.name"] {
        assert!(!page.contains(same), "{same}");
    }
    let chart = &charts(&page)[0];
    assert_eq!(chart["title"], "error (%) on held-out examples: leader");
    let names: Vec<&Value> = chart["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["name"])
        .collect();
    assert_eq!(names, ["one", "two"]);
}

/// A folder of several nodes is that of all of them, and each node has a page of its own.
#[test]
fn the_nodes_of_a_run_are_compared() {
    let runs = Runs::new();
    let arguments = ["launch", "--nodes", "2", "--quiet"].map(String::from);
    run(arguments
        .iter()
        .chain(&runs.arguments(SMOKE, "nodes", &["method.global_period=4"])))
    .well();
    let nodes = runs.get("nodes");
    let node = Run {
        path: nodes.join("node-2"),
    };
    let own = page(&node);
    assert!(own.contains("<h1>nodes node-2</h1>"));
    assert!(own.contains("over all nodes"), "a global exchange");
    report(&[path(&nodes)]).well();
    let both = page(&nodes);
    assert!(both.contains("<h1>2 runs: nodes node-1, nodes node-2</h1>"));
}

#[test]
fn a_last_line_that_is_not_finished_is_left_out() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "half", &[]);
    let before = page(&trained);
    for name in ["metrics.jsonl", "events.jsonl"] {
        let mut file = OpenOptions::new()
            .append(true)
            .open(trained.join(name))
            .unwrap();
        file.write_all(b"{\"kind\":\"interval\",\"st").unwrap();
    }
    report(&[path(&trained)]).well();
    assert_eq!(page(&trained), before);
    // So is the end of a run that has none, which a process may have open or not.
    fs::remove_file(trained.join("summary.json")).unwrap();
    let state = || {
        report(&[path(&trained)]).well();
        let page = page(&trained);
        let (_, state) = page.split_once("<dt>state</dt><dd>").unwrap();
        state.split_once('<').unwrap().0.to_owned()
    };
    assert_eq!(state(), "killed");
    let lock = fs::File::create(trained.join(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(state(), "starting");
    let metrics = OpenOptions::new()
        .append(true)
        .open(trained.join("metrics.jsonl"));
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    metrics.unwrap().set_modified(later).unwrap();
    assert_eq!(state(), "running");
}

#[test]
fn what_cannot_be_shown_is_an_error_of_one_line() {
    let runs = Runs::new();
    let nowhere = runs.path().join("nowhere");
    let ran = report(&[nowhere.to_str().unwrap()]);
    assert_eq!(
        (ran.code, ran.stderr.lines().count()),
        (Some(1), 1),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("there is no such folder"),
        "{}",
        ran.stderr
    );

    let trained = runs.train(SMOKE, "damaged", &[]);
    fs::remove_file(trained.join("report.html")).unwrap();
    for (name, contents) in [
        ("metrics.jsonl", "{\"kind\":\"interval\"\n{}\n"),
        ("events.jsonl", "\n"),
        ("summary.json", "{}"),
        ("run.json", "7"),
        ("config.toml", "= 1"),
    ] {
        let path = trained.join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, contents).unwrap();
        let ran = report(&[self::path(&trained)]);
        assert_eq!(
            (ran.code, ran.stderr.lines().count()),
            (Some(1), 1),
            "{}",
            ran.stderr
        );
        let place = format!("error: {}", path.display());
        assert!(ran.stderr.starts_with(&place), "{name}: {}", ran.stderr);
        assert!(!trained.join("report.html").exists());
        fs::write(path, good).unwrap();
    }
}

/// Neither a run's file nor one of the user's; an earlier page is.
#[test]
fn no_file_but_a_page_is_replaced() {
    let runs = Runs::new();
    let mine = runs.path().join("run/report.html");
    fs::create_dir_all(mine.parent().unwrap()).unwrap();
    fs::write(&mine, "mine").unwrap();
    let ran = runs.start(SMOKE, "run", &["run.overwrite=true"]);
    let warning = format!(
        "{} is no earlier report, and stays as it is",
        mine.display()
    );
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    ran.well();
    let trained = runs.get("run");
    let exists = format!(
        "{} exists; give another path, or replace it with --force",
        mine.display()
    );
    report(&[path(&trained)]).failed(1, &exists);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    report(&[path(&trained), "--force"]).well();
    report(&[path(&trained)]).well();

    let own = trained.join("config.toml");
    let before = fs::read(&own).unwrap();
    let ran = report(&[path(&trained), "--force", "--out", own.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(fs::read(&own).unwrap(), before);
    assert!(
        report(&[path(&trained), "-o", "-"])
            .well()
            .ends_with("</html>\n")
    );
}

/// The names of a run, and what an error says, come from files.
#[test]
fn no_text_of_a_file_becomes_markup() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &[]);
    let nasty = "</script><img src=x onerror=alert(1)>";
    let config = fs::read_to_string(trained.join("config.toml")).unwrap();
    let named = config.replace("name = \"run\"", &format!("name = \"{nasty}\""));
    assert_ne!(named, config);
    fs::write(trained.join("config.toml"), named).unwrap();
    let mut events = OpenOptions::new()
        .append(true)
        .open(trained.join("events.jsonl"))
        .unwrap();
    writeln!(
        events,
        "{{\"event\":\"not_fetched\",\"step\":1,\"source\":{{\"sum\":{{\"workers\":1}}}},\
         \"why\":\"{nasty}\",\"seconds\":0.1}}"
    )
    .unwrap();
    report(&[path(&trained)]).well();
    let page = page(&trained);
    assert!(!page.contains("<img"), "markup of a file");
    assert!(page.contains("&lt;/script&gt;&lt;img"));
}

/// A run is as good without its page.
#[test]
#[cfg(unix)]
fn a_page_that_cannot_be_written_is_a_warning() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &[]);
    // A folder of this name cannot be replaced by a file.
    fs::remove_file(trained.join("report.html")).unwrap();
    fs::create_dir(trained.join("report.html")).unwrap();
    let resumed = command(["resume", path(&trained), "--set", "budget.steps=20"]).output();
    let ran = Ran::of(resumed.unwrap());
    assert!(ran.stderr.contains("report"), "{}", ran.stderr);
    ran.well();
    assert!(Path::new(&trained.join("report.html")).is_dir());
}

/// Whether the evaluation of a line was due; of any other line, nothing.
fn was_due(line: &Value) -> Value {
    match (line["kind"].as_str(), line.get("was_due")) {
        (Some("evaluation"), None) => Value::Bool(true),
        (_, was_due) => was_due.cloned().unwrap_or_default(),
    }
}

/// What MLflow makes of it is the business of the tests `readers`.
#[test]
fn an_export_to_mlflow_replaces_what_the_store_has_of_the_run_and_nothing_else() {
    let runs = Runs::new();
    let store = runs.path().join("store");
    let export = |run: &Run| report(&[path(run), "--mlflow", store.to_str().unwrap()]);
    let one = runs.train(SMOKE, "one", &["evaluate.every_steps=4"]);
    assert_eq!(export(&one).well(), format!("wrote {}\n", store.display()));
    let experiment = store.join("190510395");
    let entries = || {
        let entries = fs::read_dir(&experiment).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut folders: Vec<_> = paths.filter(|path| path.is_dir()).collect();
        folders.sort();
        folders
    };
    let [first] = entries().try_into().unwrap();
    let read = |name: &str| fs::read_to_string(first.join(name)).unwrap();
    assert_eq!(read("params/method.name"), "lsgd");
    assert_eq!(read("tags/state"), "ended");
    assert!(read("meta.yaml").contains("status: 3\n"));
    let evaluations = one.metrics("evaluation");
    let errors = read("metrics/error/worker-1");
    assert_eq!(errors.lines().count(), evaluations.len());
    for (line, evaluation) in errors.lines().zip(&evaluations) {
        let [_, value, step] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(value, evaluation["workers"][1]["test"]["error"].to_string());
        assert_eq!(step, evaluation["step"].to_string());
    }

    let two = runs.train(SMOKE, "two", &[]);
    export(&two).well();
    assert_eq!(entries().len(), 2);
    let mine = first.join("mine");
    fs::write(&mine, "").unwrap();
    let other = entries().into_iter().find(|entry| *entry != first).unwrap();
    fs::write(other.join("mine"), "").unwrap();
    // Continued, it is the same run.
    run(["resume", path(&one), "--set", "budget.steps=20", "--quiet"]).well();
    export(&one).well();
    assert_eq!(entries().len(), 2);
    assert!(!mine.exists() && other.join("mine").exists());
    assert!(read("metrics/error/worker-1").lines().count() > evaluations.len());

    let text = format!(
        "{} is neither empty nor a store of MLflow; give a folder that is new, empty or such a store",
        one.path.display()
    );
    report(&[path(&two), "--mlflow", path(&one)]).failed(2, &text);
    let inside = one.join("checkpoints/step-99/store");
    let ran = report(&[path(&two), "--mlflow", inside.to_str().unwrap()]);
    assert!(ran.stderr.contains("belongs to a run"), "{}", ran.stderr);
    assert!(!inside.exists());
    // Nor through a link.
    let link = runs.path().join("link");
    std::os::unix::fs::symlink(one.join("checkpoints"), &link).unwrap();
    let linked = link.join("step-99");
    let ran = report(&[path(&two), "--mlflow", linked.to_str().unwrap()]);
    assert!(ran.stderr.contains("belongs to a run"), "{}", ran.stderr);
    assert!(!linked.exists());

    let again = format!("{}/.", path(&two));
    let text = format!(
        "{} and {again} have the same name, start and seed, so MLflow would take them for one run; export them \
         to stores of their own",
        path(&two)
    );
    report(&[path(&two), &again, "--mlflow", store.to_str().unwrap()]).failed(2, &text);
}

/// The cells of each row of a table, in which none is quoted.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split(',').collect())
        .collect()
}

#[test]
fn a_table_has_a_row_for_each_line_and_a_column_for_each_figure() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "one", &["evaluate.every_steps=4"]);
    let lines = trained.lines("metrics.jsonl");
    let mut file = OpenOptions::new()
        .append(true)
        .open(trained.join("metrics.jsonl"))
        .unwrap();
    file.write_all(b"{\"kind\":\"interval\",\"st").unwrap();
    let table = report(&[path(&trained), "--csv", "-"]).well();
    let rows = rows(&table);
    let head = &rows[0];
    assert!(rows.iter().all(|row| row.len() == head.len()), "{table}");
    assert_eq!(
        head[..8].join(","),
        "kind,step,seconds,node,worker,steps,loss (nats),learning_rate"
    );
    assert_eq!(rows.len(), 1 + lines.len());
    for (line, row) in lines.iter().zip(&rows[1..]) {
        let cell = |name: &str| row[head.iter().position(|head| *head == name).unwrap()];
        assert_eq!(cell("kind"), line["kind"]);
        let id = &line["worker"];
        let leader = &line["leader"];
        let second = &line["workers"][1];
        for (name, value) in [
            ("step", &line["step"]),
            ("seconds", &line["seconds"]),
            ("node", &id["node"]),
            ("worker", &id["worker"]),
            ("loss (nats)", &line["loss"]),
            ("learning_rate", &line["learning_rate"]),
            ("samples", &line["samples"]),
            // Only one that was not due has it in the records.
            ("was_due", &was_due(line)),
            ("worker-1.step", &second["step"]),
            ("leader.worker", &leader["worker"]["worker"]),
            ("leader.error (%)", &leader["test"]["error"]),
            ("replica_mean.loss", &line["replica_mean"]["loss"]),
            ("worker-1.training_loss (nats)", &second["training_loss"]),
            ("worker-1.error (%)", &second["test"]["error"]),
        ] {
            // The same parser has read both.
            let expected = match value {
                Value::Null => String::new(),
                value => value.to_string(),
            };
            assert_eq!(cell(name), expected, "{name} of {line}");
        }
    }

    // Into a file, which is replaced only if that is asked for; a file of the run never.
    let file = runs.path().join("one.csv");
    let file = file.to_str().unwrap();
    let arguments = [path(&trained), "--csv", file];
    assert_eq!(report(&arguments).well(), format!("wrote {file}\n"));
    assert_eq!(fs::read_to_string(file).unwrap(), table);
    let ran = report(&arguments);
    assert!(
        ran.code != Some(0) && ran.stderr.contains("--force"),
        "{}",
        ran.stderr
    );
    report(&[&arguments[..], &["--force"]].concat()).well();
    let metrics = trained.join("metrics.jsonl");
    let arguments = [
        path(&trained),
        "--csv",
        metrics.to_str().unwrap(),
        "--force",
    ];
    let ran = report(&arguments);
    assert!(ran.stderr.contains("belongs to a run"), "{}", ran.stderr);

    let ran = report(&[path(&trained), path(&trained), "--csv", "-"]);
    assert_eq!((ran.code, ran.stderr.lines().count()), (Some(2), 1));
    assert!(
        ran.stderr.contains("a table is of one run, not of 2"),
        "{}",
        ran.stderr
    );
}
