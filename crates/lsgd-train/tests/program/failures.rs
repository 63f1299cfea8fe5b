//! What goes wrong while training: the run ends soon, with one clear line and nothing half-written.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::process::{Command, Stdio};

use image::{ImageFormat, Rgb, RgbImage};

use super::program::{PROGRAM, Ran, Runs, SMOKE, command, workspace};

/// What is in a run's folder that could begin but not end, checkpoints apart.
const UNFINISHED: [&str; 4] = ["config.toml", "events.jsonl", "metrics.jsonl", "run.json"];

/// Two classes of four training images and one test image each.
fn write_images(folder: &Path) {
    for (class, red) in [("cat", 20), ("dog", 220)] {
        for (split, count) in [("train", 4), ("val", 1)] {
            let folder = folder.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let image = RgbImage::from_pixel(8, 8, Rgb([red, 10 * number, 0]));
                let mut png = Cursor::new(Vec::new());
                image.write_to(&mut png, ImageFormat::Png).unwrap();
                fs::write(folder.join(format!("{number}.png")), png.into_inner()).unwrap();
            }
        }
    }
}

fn folder_set(folder: &Path, mode: &str) -> [String; 6] {
    [
        String::from("data.name=folder"),
        format!("data.folder={}", folder.display()),
        String::from("data.batch_size=1"),
        String::from("model.width=1"),
        String::from("budget.epochs=3"),
        format!("run.mode={mode}"),
    ]
}

/// One worker finds what it cannot read; the other may be waiting for it at a meeting.
#[test]
fn an_image_that_cannot_be_decoded_ends_the_run() {
    let images = tempfile::tempdir().unwrap();
    write_images(images.path());
    let bad = images.path().join("train/dog/2.png");
    fs::write(&bad, "not an image").unwrap();
    let runs = Runs::new();
    for mode in ["sync", "async"] {
        let set = folder_set(images.path(), mode);
        let ran = runs.start(SMOKE, mode, &set.each_ref().map(String::as_str));
        let text = format!(
            "{} cannot be decoded as an image: \
             Format error decoding Png: Invalid PNG signature.",
            bad.display()
        );
        ran.failed_late(1, &text);
        let run = runs.get(mode);
        assert_eq!(run.files(), UNFINISHED);
        // The one that left is on record.
        assert!(!run.events("left").is_empty());
    }
}

#[test]
fn a_test_image_that_cannot_be_decoded_ends_the_run() {
    let images = tempfile::tempdir().unwrap();
    write_images(images.path());
    let bad = images.path().join("val/cat/0.png");
    fs::write(&bad, "not an image").unwrap();
    let runs = Runs::new();
    let set = folder_set(images.path(), "sync");
    let ran = runs.start(SMOKE, "test", &set.each_ref().map(String::as_str));
    let text = format!(
        "{} cannot be decoded as an image: Format error decoding Png: Invalid PNG signature.",
        bad.display()
    );
    ran.failed_late(1, &text);
    assert_eq!(runs.get("test").files(), UNFINISHED);
}

/// A shell script that starts `"$@"`, the program and its arguments.
fn shell(script: &str, arguments: &[String]) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM]).args(arguments);
    Ran::of(command.current_dir(workspace()).output().unwrap())
}

/// Writing fails in the shape a full disk has: after some bytes of a file.
fn with_file_limit(blocks: u32, arguments: &[String]) -> Ran {
    // The signal that the system sends would end the program; ignored, the write fails.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    shell(&script, arguments)
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_nothing_of_itself() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "full", &[]);
    // Records fit in 16 blocks of 512 (or 1024) bytes, a worker's 20 kB do not.
    let ran = with_file_limit(16, &arguments);
    let run = runs.get("full");
    let text = format!(
        "cannot write {}/checkpoints/step-16.part/worker-0.safetensors: \
         File too large (os error 27)",
        run.path.display()
    );
    ran.failed_late(1, &text);
    let expected: Vec<&str> = ["checkpoints/"].into_iter().chain(UNFINISHED).collect();
    assert_eq!(run.files(), expected);

    // Such a run is in nobody's way.
    runs.train(SMOKE, "full", &["run.overwrite=true"]);
}

#[test]
fn a_run_that_cannot_begin_leaves_no_folder() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "full", &[]);
    let ran = with_file_limit(0, &arguments);
    let path = runs.get("full").path;
    let text = format!(
        "cannot write {}/config.toml: File too large (os error 27)",
        path.display()
    );
    ran.failed(1, &text);
    assert_eq!(names(runs.path()), Vec::<String>::new());
}

/// Names in a folder, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn a_run_that_cannot_be_replaced_is_kept() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "kept", &[]);
    let (files, record) = (run.files(), fs::read(run.join("run.json")).unwrap());
    let arguments = runs.arguments(SMOKE, "kept", &["run.overwrite=true"]);
    let text = format!(
        "cannot write {}/config.toml: File too large (os error 27)",
        run.path.display()
    );
    with_file_limit(0, &arguments).failed(1, &text);
    assert_eq!(run.files(), files);
    assert_eq!(fs::read(run.join("run.json")).unwrap(), record);
    assert_eq!(names(runs.path()), ["kept"]);
}

/// A process that was killed while it replaced a run.
#[test]
fn a_run_that_was_being_replaced_is_there_again() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "run", &[]);
    let record = fs::read(run.join("run.json")).unwrap();
    let replaced = runs.path().join(".run.replaced");
    fs::rename(&run.path, &replaced).unwrap();
    let arguments = runs.arguments(SMOKE, "run", &["run.overwrite=false"]);
    let text = format!(
        "{} exists; choose another run.name, or replace it with --set run.overwrite=true",
        run.path.display()
    );
    super::program::run(&arguments).failed(2, &text);
    assert_eq!(fs::read(run.join("run.json")).unwrap(), record);
    assert_eq!(names(runs.path()), ["run"]);

    // One that was replaced, and was not yet removed, is removed by the next.
    fs::create_dir(&replaced).unwrap();
    fs::write(replaced.join("run.json"), "{}").unwrap();
    runs.train(SMOKE, "run", &["run.overwrite=true"]);
    assert_eq!(names(runs.path()), ["run"]);
}

#[test]
fn a_run_that_cannot_be_exported_keeps_the_export_it_has() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "run", &[]);
    let path = run.join("model.safetensors");
    fs::write(&path, "the one before").unwrap();
    let files = run.files();
    let arguments = ["export", run.path.to_str().unwrap()].map(String::from);
    let text = format!(
        "cannot write {}: File too large (os error 27)",
        path.display()
    );
    with_file_limit(16, &arguments).failed(1, &text);
    assert_eq!(fs::read(&path).unwrap(), b"the one before");
    assert_eq!(run.files(), files);
}

/// A disk that is full indeed: a file system in memory of 64 kB, for root in a Linux of its own
/// mounts; where that cannot be had, the tests above stand for it.
#[test]
fn a_full_disk_ends_the_run() {
    let runs = Runs::new();
    let disk = runs.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size=64k tmpfs '{}'", disk.display());
    let unshared = |script: &str, arguments: &[String]| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh", PROGRAM])
            .args(arguments);
        command
            .current_dir(workspace())
            .stdin(Stdio::null())
            .output()
    };
    if !unshared(&mount, &[]).is_ok_and(|output| output.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let folder_is = format!("run.folder={}", disk.display());
    let arguments = runs.arguments(SMOKE, "full", &[&folder_is]);
    // The disk is gone with the shell, so it lists what is left.
    let script = format!(
        "{mount} && \"$@\"; code=$?; cd '{}' && find . >&2; exit $code",
        disk.display()
    );
    let ran = Ran::of(unshared(&script, &arguments).unwrap());
    let error = ran
        .stderr
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap();
    let start = format!(
        "error: cannot write {}/full/checkpoints/step-16.part/",
        disk.display()
    );
    assert!(error.starts_with(&start), "{error}");
    assert!(
        error.ends_with(": No space left on device (os error 28)"),
        "{error}"
    );
    assert_eq!(ran.code, Some(1));
    let mut left: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("./full/"))
        .collect();
    left.sort_unstable();
    let expected = [
        "checkpoints",
        "config.toml",
        "events.jsonl",
        "metrics.jsonl",
        "run.json",
    ];
    assert_eq!(left, expected.map(|name| format!("./full/{name}")));
}

/// Whoever reads the log may go away: `lsgd-train ... 2>&1 | head -1`.
#[test]
fn a_log_that_is_closed_does_not_end_a_run() {
    let runs = Runs::new();
    let arguments = runs.arguments(SMOKE, "unread", &["evaluate.every_steps=1"]);
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(workspace())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(runs.get("unread").summary()["end"], "budget");
}

/// Parameters, statistics or losses overflow, whichever comes first: the run ends as any other,
/// says so, and can be read.
#[test]
fn a_run_that_diverges_ends_as_any_other() {
    let runs = Runs::new();
    for rate in ["1e3", "1e6", "1e15", "1e30"] {
        let rate_is = format!("schedule.learning_rate={rate}");
        let set = [
            rate_is.as_str(),
            "budget.steps=24",
            "evaluate.every_steps=4",
        ];
        let run = runs.train(SMOKE, &format!("rate-{rate}"), &set);
        assert_eq!(run.metrics("evaluation").len(), 6);
        assert!(!run.export("worker-0").is_empty());
    }
    // At the last rate nothing is left of the parameters.
    let run = runs.get("rate-1e30");
    for key in ["leader", "replica_mean", "worker_mean"] {
        assert!(
            run.summary()["test_error"][key].is_null(),
            "{}",
            run.summary()
        );
    }
    let path = run.path.to_str().unwrap();
    let refusal = |which: &str| command(["eval", path, "--which", which]).output().unwrap();
    let mean = "it has no mean; a worker had diverged";
    let text = format!("{path}/checkpoints/step-24: {mean}");
    Ran::of(refusal("mean")).failed(1, &text);
    let worker = Ran::of(refusal("worker-0"));
    assert!(
        worker.stderr.starts_with("error: cannot evaluate: value "),
        "{worker:?}"
    );
    assert_eq!(worker.code, Some(1));
}

/// Parameters that are finite and logits that are not: JSON has no word for such a loss.
#[test]
fn a_run_whose_loss_overflows_can_be_evaluated() {
    let runs = Runs::new();
    let set = [
        "model.name=cnn7",
        "data.shape=[1, 24, 24]",
        "data.examples=64",
        "optimizer.momentum=0.0",
        "schedule.learning_rate=1e12",
        "budget.steps=1",
    ];
    let run = runs.train(SMOKE, "overflow", &set);
    let score = &run.metrics("evaluation")[0]["workers"][0]["test"];
    assert!(
        score["loss"].is_null() && score["error"].is_f64(),
        "{score}"
    );
    assert!(run.eval("worker-0").contains("loss NaN"));
    assert!(!run.export("mean").is_empty());
}
