//! `landscape`: the loss around a run's workers, by the program itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::{PROGRAM, Ran, Run, Runs, SMOKE, run, workspace};

const FILES: [&str; 3] = ["landscape.csv", "landscape.json", "landscape.svg"];

/// Three workers, and a grid of a few points.
const THREE: [&str; 2] = ["workers.count=3", "budget.steps=8"];
const SMALL: [&str; 2] = ["--size", "5"];

fn landscape(trained: &Path, more: &[&str]) -> Ran {
    let command = ["landscape", trained.to_str().unwrap()];
    run([&command[..], &SMALL, more].concat())
}

/// The lines of a CSV file, by the names of its columns.
fn table(path: &Path) -> (Vec<String>, Vec<Vec<f64>>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let head = lines.next().unwrap().split(',').map(String::from);
    let row = |line: &str| line.split(',').map(|cell| cell.parse().unwrap()).collect();
    (head.collect(), lines.map(row).collect())
}

/// The scores in the CSV file where the first of the three points is, read as those in JSON are: `serde_json`
/// may miss a number by its last bit.
fn at_origin(run: &Run) -> Value {
    let text = fs::read_to_string(run.join("landscape.csv")).unwrap();
    let mut lines = text.lines();
    let names = lines.next().unwrap().split(',').skip(2);
    let scores = lines.find_map(|line| line.strip_prefix("0,0,")).unwrap();
    let cells = names.zip(scores.split(','));
    cells
        .map(|(name, cell)| (String::from(name), cell.parse::<Value>().unwrap()))
        .collect()
}

#[test]
fn three_files_say_the_same() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &THREE);
    let path = trained.path.display().to_string();
    let before = trained.files();
    let said = landscape(&trained.path, &[]).well();
    let expected = FILES.map(|name| format!("wrote {path}/{name}\n"));
    assert_eq!(said, expected.concat());
    let mut after = trained.files();
    after.retain(|file| !FILES.contains(&file.as_str()));
    assert_eq!(after, before);

    let json = trained.json("landscape.json");
    let (head, rows) = table(&trained.join("landscape.csv"));
    assert_eq!(head, ["x", "y", "error", "loss"]);
    let axis =
        |name: &str| -> Vec<f64> { serde_json::from_value(json["grid"][name].clone()).unwrap() };
    let (xs, ys) = (axis("x"), axis("y"));
    assert_eq!((xs.len(), ys.len()), (5, 5));
    let places = ys.iter().flat_map(|y| xs.iter().map(|x| vec![*x, *y]));
    let found: Vec<Vec<f64>> = rows.iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(found, places.collect::<Vec<_>>());
    assert!(rows.iter().flatten().all(|value| value.is_finite()));
    assert_eq!(json["checkpoint"], "step-8");
    assert_eq!(json["examples"], 102);
    assert_eq!(json["contours"], "loss");
    assert_eq!(json["statistics_batches"], serde_json::json!([20, 24]));

    // The worker with the highest training loss, another one and the leader.
    let evaluation = trained.metrics("evaluation").pop().unwrap();
    let workers = evaluation["workers"].as_array().unwrap();
    let loss = |worker: usize| workers[worker]["training_loss"].as_f64().unwrap();
    let mut by_loss = [0, 1, 2];
    by_loss.sort_by(|one, other| loss(*other).total_cmp(&loss(*one)));
    let [first, second, leader] = by_loss;
    let points = json["points"].as_array().unwrap();
    let names: Vec<&str> = points.iter().map(|p| p["name"].as_str().unwrap()).collect();
    let expected = [
        &format!("worker-{first}"),
        &format!("worker-{second}"),
        "leader",
        "mean",
    ];
    assert_eq!(names, expected);
    assert_eq!(points[2]["worker"], leader);
    // Each as the run itself scored it.
    for (point, worker) in points.iter().zip(by_loss) {
        assert_eq!(point["score"], workers[worker]["test"]);
        assert_eq!(point["spans"], true);
    }
    assert_eq!(points[3]["score"], evaluation["replica_mean"]);
    assert_eq!(points[3]["spans"], false);
    // The mean of three is their centre.
    let centre = |axis: &str| {
        let of = |index: usize| points[index][axis].as_f64().unwrap();
        ((of(0) + of(1) + of(2)) / 3.0 - of(3)).abs()
    };
    assert!(centre("x") < 1e-4 && centre("y") < 1e-4);
    assert!(points[3]["distance"].as_f64().unwrap() < 1e-4);

    let picture = fs::read_to_string(trained.join("landscape.svg")).unwrap();
    for text in [
        "leader (worker-",
        "mean, ",
        "102 held-out examples",
        "parameter space",
    ] {
        assert!(picture.contains(text), "{text} not in {picture}");
    }
    assert!(!picture.contains("NaN"), "{picture}");
}

/// The mean's statistics are estimated on the same batches by the run, `eval` and each point of the grid.
#[test]
fn a_point_of_the_grid_is_what_eval_says_of_it() {
    let runs = Runs::new();
    // Examples in parts of one size, so that their sums are the same to the bit.
    let set = [&THREE[..], &["data.batch_size=128"]].concat();
    let trained = runs.train(SMOKE, "run", &set);
    landscape(&trained.path, &["--points", "mean,worker-0,worker-1"]).well();
    let evaluation = trained.metrics("evaluation").pop().unwrap();
    let found = at_origin(&trained);
    assert_eq!(found, evaluation["replica_mean"]);
    let said = trained.eval("mean");
    let (error, loss) = (
        found["error"].as_f64().unwrap(),
        found["loss"].as_f64().unwrap(),
    );
    let expected = format!(
        "{} mean: error {error:.2} %, loss {loss:.4}, 102 test examples\n",
        trained.path.display()
    );
    assert_eq!(said, expected);
}

/// A checkpoint that was not evaluated has no mean: it is made, as for `eval`.
#[test]
fn any_checkpoint_and_any_of_its_vectors_can_span_the_plane() {
    let runs = Runs::new();
    let set = [
        "checkpoint.every_steps=4",
        "checkpoint.keep=9",
        "average.ema_decay=0.5",
    ];
    let trained = runs.train(SMOKE, "run", &[&THREE[..], &set].concat());
    let more = [
        "--checkpoint",
        "4",
        "--points",
        "mean,ema,worker-1",
        "--examples",
        "33",
    ];
    landscape(&trained.path, &more).well();
    let json = trained.json("landscape.json");
    assert_eq!((&json["step"], &json["examples"]), (&4.into(), &33.into()));
    let names: Vec<&str> = json["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["mean", "ema", "worker-1", "worker-0", "worker-2"]);
    // The same again, to the byte, and of another metric.
    let first = FILES.map(|name| fs::read(trained.join(name)).unwrap());
    let again = [&more[..], &["--force"]].concat();
    landscape(&trained.path, &again).well();
    assert!(first == FILES.map(|name| fs::read(trained.join(name)).unwrap()));
    let fewer = [
        "--metric",
        "error",
        "--set",
        "evaluate.batch_norm_batches=2",
    ];
    landscape(&trained.path, &[&again[..], &fewer].concat()).well();
    let json = trained.json("landscape.json");
    assert_eq!(json["contours"], "error");
    assert_eq!(json["statistics_batches"], serde_json::json!([10, 12]));
}

#[test]
fn a_folder_is_made_and_files_that_exist_are_replaced_only_when_asked() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &THREE);
    let figures = runs.path().join("figures");
    let folder = figures.to_str().unwrap();
    let output = ["--output", folder];
    fs::write(&figures, "a file").unwrap();
    landscape(&trained.path, &output).failed(
        1,
        &format!("cannot write {folder}: File exists (os error 17)"),
    );
    fs::remove_file(&figures).unwrap();
    landscape(&trained.path, &output).well();
    for name in FILES {
        fs::remove_file(figures.join(name)).unwrap();
    }
    for name in FILES {
        let path = figures.join(name);
        fs::write(&path, "the one before").unwrap();
        let text = format!(
            "{} exists; give another path, or replace it with --force",
            path.display()
        );
        landscape(&trained.path, &output).failed(1, &text);
        assert_eq!(fs::read(&path).unwrap(), b"the one before");
        fs::remove_file(&path).unwrap();
    }
    landscape(&trained.path, &output).well();
    fs::write(figures.join(FILES[1]), "the one before").unwrap();
    landscape(&trained.path, &[&output[..], &["--force"]].concat()).well();
    let text = fs::read_to_string(figures.join(FILES[1])).unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    assert!(!trained.join(FILES[0]).exists());
}

#[test]
fn what_cannot_be_drawn_is_one_line() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &THREE);
    let path = trained.path.display();
    let step = format!("{path}/checkpoints/step-8");
    let refused = |more: &[&str], code: i32, text: &str| {
        landscape(&trained.path, more).failed(code, text);
        assert!(!trained.join(FILES[0]).exists());
    };
    let leader = trained.json("checkpoints/step-8/state.json")["leader"].clone();
    let points = |points: &str| ["--points", points].map(String::from);
    let [flag, twice] = points(&format!("worker-{leader},mean,leader"));
    refused(
        &[&flag, &twice],
        2,
        &format!(
            "{step}: worker-{leader} and leader are the same point; give three different ones with --points"
        ),
    );
    refused(
        &["--points", "worker-0,worker-1,worker-3"],
        1,
        &format!("{step}: there is no worker-3; the run has worker-0 to worker-2"),
    );
    refused(
        &["--points", "worker-0,worker-1,global-leader"],
        1,
        &format!(
            "{step}: it has no global-leader: nodes that follow a leader of all deliver one in their first \
             exchange; give other points"
        ),
    );
    refused(
        &["--metric", "accuracy"],
        2,
        "--metric accuracy: the task has none of that name; give \"error\" or \"loss\"",
    );
    refused(
        &["--set", "data.examples=1024"],
        1,
        &format!(
            "{path}: the data are not those that the run was trained on; give the run's own, as with --set \
             data.folder=DIR"
        ),
    );
    let first_line = |more: &[&str], expected: &str| {
        let ran = landscape(&trained.path, more);
        assert_eq!(ran.stderr.lines().next(), Some(expected));
        assert_eq!(ran.code, Some(2));
    };
    first_line(
        &["--points", "worker-0,leader"],
        "error: invalid value 'worker-0,leader' for '--points <A,B,C>': \
         2 of three points; separate them by commas, as in worker-0,worker-1,leader",
    );
    first_line(
        &["--points", "worker-0,leader,best"],
        "error: invalid value 'worker-0,leader,best' for '--points <A,B,C>': \
         give three of leader, global-leader, mean, mean-of-all-nodes, worker-K, such as worker-0, ema, lawa \
         and worker-K-ema",
    );
}

#[test]
fn two_workers_and_their_mean_are_a_line() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=4"]);
    let step = format!("{}/checkpoints/step-4", trained.path.display());
    landscape(&trained.path, &[]).failed(
        1,
        &format!(
            "{step}: a plane takes three points that are not on one line, and it has none; give three with \
             --points, or train more workers"
        ),
    );
    landscape(&trained.path, &["--points", "worker-0,worker-1,mean"]).failed(
        2,
        &format!(
            "{step}: worker-0, worker-1 and mean are on one line, and a plane takes three points that are not; \
             give others with --points"
        ),
    );
    // What is averaged over time is beside the line.
    let trained = runs.train(
        SMOKE,
        "averaged",
        &["budget.steps=8", "average.ema_decay=0.5"],
    );
    landscape(&trained.path, &[]).well();
    assert_eq!(trained.json("landscape.json")["points"][2]["name"], "ema");
}

#[test]
fn a_signal_ends_it_and_nothing_is_written() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &THREE);
    let mut process = Command::new(PROGRAM)
        .args(["landscape", trained.path.to_str().unwrap()])
        // Far more than can be scored before anything is done to it here.
        .args(["--size", "501"])
        .current_dir(workspace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "scoring 251005 points");
    let pid = process.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.unwrap().success());
    assert_eq!(lines.next().unwrap().unwrap(), "stopped before the end");
    assert!(lines.next().is_none());
    assert_eq!(process.wait().unwrap().code(), Some(130));
    for name in FILES {
        assert!(!trained.join(name).exists());
    }
}
