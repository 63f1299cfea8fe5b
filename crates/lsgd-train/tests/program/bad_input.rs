//! What is refused, each with its whole text and exit code: 2 when the command line or the config
//! is wrong, 1 when data or disk are. Nothing is left of a run that could not begin.

use std::fs;
use std::path::Path;

use super::program::{Runs, SMOKE, run};

/// Bytes of a CIFAR-10 record: a label and 32 x 32 pixels in three colours.
const RECORD: usize = 3073;

#[track_caller]
fn refused(set: &[&str], code: i32, text: &str) {
    let runs = Runs::new();
    runs.start(SMOKE, "refused", set).failed(code, text);
    assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn config_files() {
    let folder = tempfile::tempdir().unwrap();
    let config = |text: &str| {
        let path = folder.path().join("config.toml");
        fs::write(&path, text).unwrap();
        (
            run(["--config", path.to_str().unwrap()]),
            path.display().to_string(),
        )
    };
    let text = "no/such.toml: no such file; check the path, or write a config with \
                `lsgd-train init`";
    run(["--config", "no/such.toml"]).failed(2, text);
    let (ran, path) = config("[run]\nname = \"a");
    ran.failed(
        2,
        &format!("{path}:2:10: invalid basic string, expected `\"`"),
    );
    let (ran, path) = config("[run]\nnames = \"a\"");
    ran.failed(
        2,
        &format!("{path}: unknown key run.names; did you mean run.name?"),
    );
    let (ran, path) = config("[run]\nseed = \"one\"");
    ran.failed(
        2,
        &format!("{path}: run.seed \"one\" is a string; give a whole number from 0"),
    );
}

#[test]
fn values_and_relations() {
    refused(
        &["method.locale_period=4"],
        2,
        "--set: unknown key method.locale_period; did you mean method.local_period?",
    );
    refused(
        &["data.batch_size=many"],
        2,
        "--set: data.batch_size \"many\" is not a whole number from 1 to 65536",
    );
    refused(
        &["method.local_period=4", "method.global_period=6"],
        2,
        "--set: method.global_period 6 is not a multiple of method.local_period 4; \
         set it to 4 or 8",
    );
    refused(
        &["method.local_pull=1.5"],
        2,
        "--set: method.local_pull 1.5 is not in [0, 1]; give a number from 0 to 1",
    );
    refused(
        &["method.local_pull=-0.1"],
        2,
        "--set: method.local_pull -0.1 is not in [0, 1]; give a number from 0 to 1",
    );
    refused(
        &["method.name=leader_mean", "run.mode=async"],
        2,
        "--set: method.name \"leader_mean\" needs all workers to meet, and in run.mode \"async\" \
         they never do; set run.mode to \"sync\"",
    );
}

#[test]
fn devices_that_are_not_there() {
    refused(
        &["workers.devices=[\"flex\", \"cuda:7\"]"],
        2,
        "workers.devices \"cuda:7\" is not there; this build and machine have flex; \
         the command devices lists them, GPU backends are cargo features",
    );
}

/// An error that the config alone reveals is reported before minutes are spent on looking for data.
#[test]
fn what_needs_no_data_is_refused_without() {
    let data = ["data.name=folder", "data.folder=no/such/folder"];
    for (set, start) in [
        (
            "workers.devices=cuda:7,cuda:8",
            "workers.devices \"cuda:7\" is",
        ),
        ("model.name=resnet21", "--set: model.name \"resnet21\" is"),
        ("method.name=lsdg", "--set: method.name \"lsdg\" is"),
        ("budget.epochs=0", "--set: budget.epochs 0 is"),
    ] {
        let runs = Runs::new();
        let ran = runs.start(SMOKE, "refused", &[data[0], data[1], set]);
        let start = format!("error: {start} ");
        assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
        assert_eq!(ran.code, Some(2));
    }
}

#[test]
fn batches_from_which_nothing_can_be_learned() {
    refused(
        &["data.batch_size=5000"],
        2,
        "data.batch_size 5000 is more than the 512 training examples; give at most 512",
    );
    refused(
        &["data.batch_size=300", "method.rank_by=probe_loss"],
        2,
        "data.batch_size 300 is more than the 256 training examples; give at most 256",
    );
    refused(
        &["data.batch_size=1", "data.shape=[3, 4, 4]"],
        2,
        "data.batch_size 1 leaves BatchNorm in resnet8 one value a channel to normalise, since images of \
         4 x 4 shrink to one pixel; give at least 2",
    );
}

/// Once, before training, and in whatever way it is trained.
#[test]
fn batches_from_which_little_can_be_learned_are_warned_of() {
    let runs = Runs::new();
    let set = ["data.batch_size=1", "budget.steps=1"];
    let warning = "WARN data.batch_size 1: BatchNorm in resnet8 has 1 image a batch to take statistics \
                   from, and will hardly learn; use larger batches";
    for command in [None, Some("simulate")] {
        let arguments = runs.arguments(SMOKE, command.unwrap_or("train"), &set);
        let quiet = [String::from("--quiet")];
        let ran = run(command
            .map(String::from)
            .into_iter()
            .chain(arguments)
            .chain(quiet));
        assert_eq!(ran.stderr.trim(), warning);
        ran.well();
    }
    let set = ["data.batch_size=300", "budget.steps=1"];
    let ran = runs.start(SMOKE, "step", &set);
    let warning = "WARN one step of all workers takes 600 examples, more than the 512 there are; use a \
                   smaller data.batch_size or workers.accumulate, or fewer workers";
    assert_eq!(ran.stderr.lines().next().map(str::trim), Some(warning));
    assert_eq!(ran.stderr.matches("WARN").count(), 1);
    ran.well();
}

#[test]
fn models_that_do_not_exist_or_do_not_fit() {
    refused(
        &["model.name=resnet21"],
        2,
        "--set: model.name \"resnet21\" is not known; give \"cnn7\", \"resnet8\", \"resnet14\", \
         \"resnet20\", \"resnet32\", \"resnet44\", \"resnet56\", \"resnet110\", \"resnet18\", \
         \"resnet34\", \"resnet50\", \"vgg11\", \"vgg13\", \"vgg16\", \"vgg19\" or \"cifarnet\"; \
         did you mean \"resnet20\"?",
    );
    refused(
        &[
            "model.name=vgg11",
            "data.shape=[3,32,32]",
            "data.augment=paper",
        ],
        2,
        "model.name: vgg11: images of 28 x 28 do not divide by its five 2 x 2 pools, \
         use 32 x 32 or multiples of 32",
    );
    // Before the folder is listed.
    let set = [
        "model.name=vgg11",
        "data.name=folder",
        "data.folder=/nonexistent",
        "data.side=100",
    ];
    Runs::new().start(SMOKE, "side", &set).failed_late(
        2,
        "data.side 100: vgg11: images of 100 x 100 do not divide by its five 2 x 2 pools, \
         use 32 x 32 or multiples of 32",
    );
    refused(
        &["data.augment=paper"],
        1,
        "data.augment \"paper\" crops 28 x 28 pixels, but the images are 8 x 8; \
         use \"pad_crop\" or \"none\"",
    );
}

/// Six files of `records` records of label 0 and black pixels each.
fn write_cifar(folder: &Path, records: usize) {
    let names = (1..=5).map(|k| format!("data_batch_{k}.bin"));
    for name in names.chain([String::from("test_batch.bin")]) {
        fs::write(folder.join(name), vec![0; records * RECORD]).unwrap();
    }
}

#[test]
fn data_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let set = |folder: &str| {
        [
            String::from("data.name=cifar10"),
            format!("data.folder={folder}"),
        ]
    };
    let refused = |folder: &str, text: &str| {
        let [name, folder] = set(folder);
        refused(&[&name, &folder], 1, text);
    };
    refused(
        &format!("{path}/none"),
        &format!(
            "data.folder {path}/none does not exist; \
             get the data with `lsgd-train data fetch cifar10 --folder {path}/none`"
        ),
    );
    refused(
        &format!("{path}"),
        &format!(
            "{path}/data_batch_1.bin is missing; \
             get the data with `lsgd-train data fetch cifar10 --folder {path}`"
        ),
    );
    write_cifar(folder.path(), 2);
    fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
    refused(
        &format!("{path}"),
        &format!(
            "{path}/test_batch.bin is missing; \
             get the data with `lsgd-train data fetch cifar10 --folder {path}`"
        ),
    );
}

#[test]
fn data_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let file = folder.path().join("data_batch_4.bin");
    let folder_is = format!("data.folder={path}");
    let refused = |text: &str| refused(&["data.name=cifar10", &folder_is], 1, text);
    // Truncated within a record; of another record length (CIFAR-100 has 3074 bytes); empty.
    for length in [2 * RECORD - 1, 2 * 3074, 0] {
        write_cifar(folder.path(), 2);
        fs::write(&file, vec![0; length]).unwrap();
        refused(&format!(
            "{path}/data_batch_4.bin is {length} bytes long, not one or more whole records of \
             3073 bytes; it is truncated or of another layout, so fetch it again"
        ));
    }
    let mut bytes = vec![0; 2 * RECORD];
    bytes[RECORD] = 10;
    fs::write(&file, bytes).unwrap();
    refused(&format!(
        "{path}/data_batch_4.bin: record 1 has label 10, but labels go from 0 to 9; \
         the file is damaged or of another layout"
    ));
}

/// Fewer images than were published are no error, but said, and without colours in a log.
#[test]
fn a_part_of_a_data_set_is_used_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    write_cifar(folder.path(), 8);
    let path = folder.path().display();
    let runs = Runs::new();
    let folder_is = format!("data.folder={path}");
    let set = ["data.name=cifar10", &folder_is, "budget.steps=1"];
    let mut arguments = runs.arguments(SMOKE, "part", &set);
    arguments.push(String::from("--quiet"));
    let ran = run(arguments);
    let warning =
        format!("{path}: 40 training and 8 test images, where 50000 and 10000 were published\n");
    assert_eq!(ran.stderr.trim_start(), format!("WARN {warning}"));
    ran.well();
}

/// Root may write anywhere, so the folder is where no user can: below a file, and in `/proc`.
#[test]
fn folders_that_cannot_be_written() {
    let runs = Runs::new();
    let file = runs.path().join("file");
    fs::write(&file, "").unwrap();
    let folder_is = format!("run.folder={}/runs", file.display());
    let text = format!(
        "cannot write {}/runs/refused: Not a directory (os error 20)",
        file.display()
    );
    runs.start(SMOKE, "refused", &[&folder_is]).failed(1, &text);
    if cfg!(target_os = "linux") {
        let text = "cannot write /proc/runs/refused: No such file or directory (os error 2)";
        runs.start(SMOKE, "refused", &["run.folder=/proc/runs"])
            .failed(1, text);
    }
}

#[test]
fn command_lines() {
    let first_line = |arguments: &[&str], expected: &str| {
        let ran = run(arguments);
        assert_eq!(ran.stderr.lines().next(), Some(expected));
        assert_eq!(ran.code, Some(2));
    };
    first_line(&[], "error: no config was given");
    first_line(
        &["--confg", "a"],
        "error: unexpected argument '--confg' found",
    );
    first_line(&["evaluate"], "error: unrecognized subcommand 'evaluate'");
    first_line(
        &["--config", "~you/a.toml"],
        "error: invalid value '~you/a.toml' for '--config <FILE>': begins with ~ but not with ~/, the \
         home folder; write the whole path, or ./~ for a name that begins so",
    );
    first_line(
        &["eval", "runs/x", "--which", "best"],
        "error: invalid value 'best' for '--which <WHICH>': \
         give leader, mean, mean-of-all-nodes, worker-K, such as worker-0, ema, lawa or worker-K-ema",
    );
}
