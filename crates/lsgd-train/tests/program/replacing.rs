//! A run takes the place of the one before of its name: when that goes, when it comes back, and what
//! is left alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::live::{ENDLESS, Live};
use super::program::{Run, Runs, SMOKE, run};

/// What a user keeps in the folder of a run.
const NOTES: [&str; 4] = [
    "NOTES.md",
    "plots/loss.svg",
    "model.safetensors",
    "checkpoints/the-good-one.txt",
];

/// A finished run of 4 steps with a user's files in its folder.
fn with_notes(runs: &Runs, name: &str) -> Run {
    let old = runs.train(SMOKE, name, &["budget.steps=4"]);
    for note in NOTES {
        fs::create_dir_all(old.join(note).parent().unwrap()).unwrap();
        fs::write(old.join(note), note).unwrap();
    }
    old
}

#[track_caller]
fn assert_notes(run: &Run) {
    for note in NOTES {
        assert_eq!(fs::read_to_string(run.join(note)).unwrap(), note);
    }
}

/// All files below a folder, with what stands in them.
fn contents(run: &Run) -> BTreeMap<String, Vec<u8>> {
    let files = run.files().into_iter().filter(|name| !name.ends_with('/'));
    files
        .map(|name| (name.clone(), fs::read(run.join(&name)).unwrap()))
        .collect()
}

fn exists(path: &Path) -> String {
    format!(
        "{} exists; choose another run.name, or replace it with --set run.overwrite=true",
        path.display()
    )
}

#[test]
fn a_run_is_replaced_when_that_is_asked_for_and_what_is_no_run_s_stays() {
    let runs = Runs::new();
    let old = with_notes(&runs, "mine");
    let before = contents(&old);
    runs.start(SMOKE, "mine", &["budget.steps=2", "run.overwrite=false"])
        .failed(2, &exists(&old.path));
    assert_eq!(contents(&old), before);

    let new = runs.train(SMOKE, "mine", &["budget.steps=2", "run.overwrite=true"]);
    assert_eq!(new.summary()["steps"], 2);
    assert_notes(&new);
    // Nothing is left of the one before, and nothing that is hidden.
    let fresh = runs.train(SMOKE, "fresh", &["budget.steps=2"]);
    let mut expected = fresh.files();
    expected.extend(NOTES.map(String::from));
    expected.push(String::from("plots/"));
    expected.sort();
    assert_eq!(new.files(), expected);
}

/// A simulation without training has no checkpoint: its summary takes the old run's place.
#[test]
fn a_run_without_checkpoints_replaces_one_with_some() {
    let runs = Runs::new();
    let old = with_notes(&runs, "counted");
    let mut arguments = vec![String::from("simulate")];
    arguments.extend(runs.arguments(SMOKE, "counted", &["simulate.training=false"]));
    run(&arguments).well();
    assert!(old.summary()["simulated"].is_object());
    assert_notes(&old);
    assert_eq!(old.checkpoints(), ["the-good-one.txt"]);
}

/// Until its first checkpoint the new run may still fail. If it is killed, the next command that
/// looks for the run finds the old one, whichever it is.
#[test]
fn a_run_that_is_killed_before_its_first_checkpoint_replaces_nothing() {
    let runs = Runs::new();
    let old = with_notes(&runs, "mine");
    let before = contents(&old);
    let path = old.path.to_str().unwrap();
    let said = old.eval("mean");
    let again = [runs.arguments(SMOKE, "mine", &["run.overwrite=false"])];
    let eval = [["eval", path, "--which", "mean"].map(String::from).to_vec()];
    for next in again.iter().chain(&eval) {
        let mut new = Live::start(&runs.arguments(SMOKE, "mine", &ENDLESS));
        new.hear(path);
        assert!(!old.join("summary.json").exists());
        assert_notes(&old);
        // It is running: nothing is put back.
        run(["eval", path]).failed(
            1,
            &format!("{path}: it has no checkpoint; is it at its beginning, or did it end there?"),
        );
        new.kill();
        let ran = run(next);
        match ran.code {
            Some(0) => assert_eq!(ran.well(), said),
            _ => ran.failed(2, &exists(&old.path)),
        }
        assert_eq!(contents(&old), before);
    }
}

#[test]
fn the_old_run_goes_with_the_first_checkpoint() {
    let runs = Runs::new();
    let old = with_notes(&runs, "mine");
    let path = old.path.to_str().unwrap();
    let set = ["budget.minutes=30", "evaluate.every_steps=8"];
    let mut new = Live::start(&runs.arguments(SMOKE, "mine", &set));
    // The first evaluation is the best so far, and written. The second comes after that.
    new.hear("step 8");
    new.hear("step 16");
    new.kill();
    assert!(!old.join(".replaced").exists());
    assert!(old.checkpoints().contains(&String::from("step-8")));
    assert_notes(&old);
    run(["eval", path, "--which", "mean"]).well();
}

/// Two runs of one name: the second is told which process has the folder. Others may read it.
#[test]
fn a_folder_that_a_run_writes_to_is_taken() {
    let runs = Runs::new();
    let path = runs.get("mine").path;
    let set = ["budget.minutes=30", "evaluate.every_steps=8"];
    let mut first = Live::start(&runs.arguments(SMOKE, "mine", &set));
    first.hear("step 16");
    for command in [&[][..], &["simulate"]] {
        let arguments = runs.arguments(SMOKE, "mine", &["run.overwrite=true"]);
        let command = command.iter().map(|word| String::from(*word));
        let second = run(command.chain(arguments));
        let start = format!(
            "error: {} is being written to by process {}",
            path.display(),
            first.id()
        );
        assert!(second.stderr.starts_with(&start), "{}", second.stderr);
        let end = "; wait until it ends, or choose another run.name\n";
        assert!(second.stderr.ends_with(end), "{}", second.stderr);
        assert_eq!((second.code, second.stderr.lines().count()), (Some(75), 1));
    }
    runs.get("mine").eval("mean");
    first.kill();
    // The lock has ended with the process.
    assert_eq!(runs.train(SMOKE, "mine", &[]).summary()["steps"], 16);
}

/// An empty folder, a mounted disk, a folder with notes: a run begins in it.
#[test]
fn a_folder_without_a_run_is_begun_in() {
    let runs = Runs::new();
    let set = ["budget.steps=2", "run.overwrite=false"];
    fs::create_dir(runs.path().join("empty")).unwrap();
    runs.train(SMOKE, "empty", &set);

    fs::create_dir_all(runs.path().join("disk/lost+found")).unwrap();
    fs::write(runs.path().join("disk/chapter-1.tex"), "years of work").unwrap();
    let run = runs.train(SMOKE, "disk", &set);
    assert_eq!(run.summary()["steps"], 2);
    assert!(run.join("lost+found").is_dir());
    let chapter = fs::read_to_string(run.join("chapter-1.tex")).unwrap();
    assert_eq!(chapter, "years of work");
}

/// What has the name of a run's file and is not known to be one is no node's to replace.
#[test]
fn a_file_of_somebody_else_s_is_in_the_way() {
    let runs = Runs::new();
    for name in ["config.toml", "run.json", "checkpoints/step-3"] {
        let folder = runs.path().join("thesis");
        let file: PathBuf = folder.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "{}").unwrap();
        let text = format!(
            "{} holds {name}, but is not a run (it has no run.json of this program); choose another \
             run.name, or move that away",
            folder.display()
        );
        let set = ["run.overwrite=true"];
        runs.start(SMOKE, "thesis", &set).failed(2, &text);
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
        fs::remove_dir_all(&folder).unwrap();
    }
    let file = runs.path().join("file");
    fs::write(&file, "").unwrap();
    let text = format!(
        "{} is a file; choose another run.name, or move it away",
        file.display()
    );
    runs.start(SMOKE, "file", &[]).failed(2, &text);
}

/// What can be reported at once is reported before the data, which do not exist, are looked for.
#[test]
fn a_place_that_cannot_be_had_is_told_before_the_data_is_listed() {
    let runs = Runs::new();
    let old = runs.train(SMOKE, "mine", &["budget.steps=2"]);
    let set = [
        "run.overwrite=false",
        "data.name=folder",
        "data.folder=/nonexistent",
    ];
    let arguments = runs.arguments(SMOKE, "mine", &set);
    run(&arguments).failed(2, &exists(&old.path));
    let simulate = [String::from("simulate")].into_iter().chain(arguments);
    run(simulate).failed(2, &exists(&old.path));

    // And where the data is not there, nothing is made.
    let ran = runs.start(SMOKE, "new", &set);
    assert!(ran.stderr.contains("/nonexistent"), "{}", ran.stderr);
    assert!(!runs.path().join("new").exists());
}
