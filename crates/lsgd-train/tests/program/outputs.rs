//! Files that are written where a user says: what is followed, written into, refused, replaced.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::program::{Ran, Runs, SMOKE, run};

/// The commands that write where a user says, each without its path.
fn commands(trained: &str) -> [Vec<&str>; 3] {
    [
        vec!["export", trained, "--which", "mean", "--output"],
        vec!["eval", trained, "--which", "mean", "--logits"],
        vec!["init"],
    ]
}

fn write(command: &[&str], path: &Path, more: &[&str]) -> Ran {
    run([command, &[path.to_str().unwrap()], more].concat())
}

#[test]
fn a_file_that_exists_is_replaced_only_when_asked() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let path = runs.path().join("there");
    for command in commands(trained.path.to_str().unwrap()) {
        fs::write(&path, "the one before").unwrap();
        let text = format!(
            "{} exists; give another path, or replace it with --force",
            path.display()
        );
        write(&command, &path, &[]).failed(1, &text);
        assert_eq!(fs::read(&path).unwrap(), b"the one before");
        write(&command, &path, &["--force"]).well();
        assert_ne!(fs::read(&path).unwrap(), b"the one before");
    }
    // Where `export` writes by itself.
    let export = ["export", trained.path.to_str().unwrap(), "--which", "mean"];
    run(export).well();
    let text = format!(
        "{}/model.safetensors exists; give another path, or replace it with --force",
        trained.path.display()
    );
    run(export).failed(1, &text);
    run(export.iter().chain(&["--force"])).well();
}

/// Scoring may take minutes, and so may listing a data set, which is not there.
#[test]
fn a_file_that_exists_is_refused_before_anything_is_scored() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let path = runs.path().join("there");
    fs::write(&path, "the one before").unwrap();
    let set = [
        "--set",
        "data.name=folder",
        "--set",
        "data.folder=/nonexistent",
    ];
    let [_, eval, _] = commands(trained.path.to_str().unwrap());
    let text = format!(
        "{} exists; give another path, or replace it with --force",
        path.display()
    );
    write(&eval, &path, &set).failed(1, &text);
}

/// A link stays one, and what it points to is written, there or not.
#[test]
fn links_are_followed() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    fs::create_dir(runs.path().join("far")).unwrap();
    for (number, command) in commands(trained.path.to_str().unwrap()).iter().enumerate() {
        let (link, between) = (
            runs.path().join(format!("link-{number}")),
            runs.path().join(format!("between-{number}")),
        );
        let target = runs.path().join(format!("far/target-{number}"));
        symlink(format!("far/target-{number}"), &between).unwrap();
        symlink(&between, &link).unwrap();
        write(command, &link, &[]).well();
        assert!(fs::read(&target).unwrap().len() > 100);
        assert_eq!(write(command, &link, &[]).code, Some(1));
        fs::write(&target, "the one before").unwrap();
        write(command, &link, &["--force"]).well();
        assert!(fs::read(&target).unwrap().len() > 100);
        assert!(link.is_symlink() && between.is_symlink());
    }
}

/// Neither by its name nor by a link, nor where the run has yet to write it.
#[test]
fn what_belongs_to_a_run_is_never_written() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let link = runs.path().join("link");
    symlink(trained.join("config.toml"), &link).unwrap();
    let own = [
        "config.toml",
        "run.json",
        "metrics.jsonl",
        "events.jsonl",
        "summary.json",
        "checkpoints/step-2/mean.safetensors",
        "checkpoints/step-2/mine.safetensors",
        ".lock",
    ];
    let paths = own.map(|name| trained.join(name));
    let files = trained.files();
    for command in commands(trained.path.to_str().unwrap()) {
        for path in paths.iter().chain([&link]) {
            let text = format!(
                "{} belongs to a run, which could not be read without it; give another path",
                path.display()
            );
            write(&command, path, &["--force"]).failed(1, &text);
        }
    }
    assert_eq!(trained.files(), files);
    trained.eval("mean");
}

#[test]
fn devices_and_pipes_are_written_into() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let pipe = runs.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let file = runs.path().join("file");
    for command in commands(trained.path.to_str().unwrap()) {
        write(&command, Path::new("/dev/null"), &[]).well();
        assert!(!Path::new("/dev/null").is_file());

        let reader = pipe.clone();
        let reader = thread::spawn(move || fs::read(reader).unwrap());
        write(&command, &pipe, &[]).well();
        write(&command, &file, &["--force"]).well();
        assert!(reader.join().unwrap() == fs::read(&file).unwrap());
        fs::remove_file(&file).unwrap();
    }
    assert!(!pipe.is_file());
}

/// `export --output /dev/stdout | ...`: the model alone.
#[test]
fn an_export_to_standard_output_is_nothing_but_the_model() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let path = trained.path.to_str().unwrap();
    let export = ["export", path, "--which", "mean", "--output", "/dev/stdout"];
    let piped = super::program::command(export).output().unwrap();
    assert!(piped.status.success());
    assert!(piped.stdout == trained.export("mean"));

    let file = runs.path().join("redirected");
    let redirected = Command::new(super::program::PROGRAM)
        .args(export)
        .stdout(fs::File::create(&file).unwrap())
        .status();
    assert!(redirected.unwrap().success());
    assert!(fs::read(&file).unwrap() == trained.export("mean"));
}

#[test]
fn a_place_where_no_file_can_be_is_said() {
    let runs = Runs::new();
    let trained = runs.train(SMOKE, "run", &["budget.steps=2"]);
    let missing = runs.path().join("missing/file");
    let (a, b) = (runs.path().join("a"), runs.path().join("b"));
    symlink(&a, &b).unwrap();
    symlink(&b, &a).unwrap();
    for command in commands(trained.path.to_str().unwrap()) {
        let refused = |path: &Path, why: &str| {
            let text = format!("cannot write {}: {why}", path.display());
            write(&command, path, &["--force"]).failed(1, &text);
        };
        refused(&missing, "No such file or directory (os error 2)");
        refused(runs.path(), "is a directory");
        refused(&a, "Too many levels of symbolic links (os error 40)");
    }
}
