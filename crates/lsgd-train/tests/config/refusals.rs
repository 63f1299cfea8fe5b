//! Files, keys and values that are not what a config is made of, with the whole text of every
//! refusal.

use std::path::Path;

use lsgd_train::image_config::Config;

use super::{assert_refused, assert_set_refused, refusal};

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| Config::load(path, &[]).unwrap_err().to_string();

    let missing = folder.path().join("missing.toml");
    let expected = format!(
        "{}: no such file; check the path, or write a config with `lsgd-train init`",
        missing.display()
    );
    assert_eq!(error(&missing), expected);

    let text = error(folder.path());
    let expected = format!("{}: cannot be read: ", folder.path().display());
    assert!(text.starts_with(&expected), "{text}");

    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0x72, 0xff, 0xfe]).unwrap();
    let expected = format!(
        "{}: cannot be read: stream did not contain valid UTF-8",
        binary.display()
    );
    assert_eq!(error(&binary), expected);

    let large = folder.path().join("large.toml");
    std::fs::write(&large, vec![b'#'; (1 << 20) + 1]).unwrap();
    let expected = format!(
        "{}: is larger than 1048576 bytes; is it a config?",
        large.display()
    );
    assert_eq!(error(&large), expected);

    let good = folder.path().join("good.toml");
    std::fs::write(&good, "run.seed = 9").unwrap();
    assert_eq!(Config::load(&good, &[]).unwrap().settings.run.seed, 9);
}

#[test]
fn text_that_is_not_toml() {
    assert_refused(&[
        (
            "[run]\nname = ",
            "c.toml:2:8: string values must be quoted, expected literal string",
        ),
        ("[run]\nseed = 1\nseed = 2", "c.toml:3:1: duplicate key"),
        ("[run\n", "c.toml:1:5: unclosed table, expected `]`"),
        (
            "# \u{e9}\u{e9}\nrun = { na\u{e9}me = 1 }",
            "c.toml:2:11: invalid unquoted key, expected letters, numbers, `-`, `_`",
        ),
    ]);
}

#[test]
fn unknown_keys() {
    assert_refused(&[
        (
            "method.local_pul = 0.1",
            "c.toml: unknown key method.local_pul; did you mean method.local_pull?",
        ),
        (
            "[methd]\nlocal_pull = 0.1",
            "c.toml: unknown key methd; did you mean method?",
        ),
        (
            "seed = 1",
            "c.toml: unknown key seed; did you mean run.seed?",
        ),
        (
            "[task]\nlength = 8",
            "c.toml: unknown key task; [task] is of a program with a task of its own; use that program",
        ),
        (
            "method.momentum = 0.1",
            "c.toml: unknown key method.momentum; did you mean optimizer.momentum?",
        ),
        (
            "run.zzz = 1",
            "c.toml: unknown key run.zzz; [run] has name, folder, seed, mode, overwrite",
        ),
        (
            "schedule.warmup = { epoch = 5 }",
            "c.toml: unknown key schedule.warmup.epoch; did you mean schedule.warmup.epochs?",
        ),
        (
            "schedule.drops = [{ steps = 5, factor = 0.1 }, { step = 9, factor = 0.1 }]",
            "c.toml: unknown key schedule.drops[1].step; did you mean schedule.drops[1].steps?",
        ),
    ]);
    assert_set_refused(&[
        (
            "method.local_pul=0.1",
            "--set: unknown key method.local_pul; did you mean method.local_pull?",
        ),
        (
            "schedule.warmup.epochs=1",
            "--set: unknown key schedule.warmup.epochs; did you mean schedule.warmup?",
        ),
    ]);
}

#[test]
fn wrong_types() {
    assert_refused(&[
        (
            "run = 3",
            "c.toml: run 3 is an integer; give a table, [run]",
        ),
        (
            "run.name = 3",
            "c.toml: run.name 3 is an integer; give a string in quotes",
        ),
        (
            "run.seed = 1.5",
            "c.toml: run.seed 1.5 is a float; give a whole number from 0",
        ),
        (
            "run.seed = -1",
            "c.toml: run.seed -1 is not in [0, 9223372036854775807]; \
             give a whole number from 0 to 9223372036854775807",
        ),
        (
            "run.overwrite = \"yes\"",
            "c.toml: run.overwrite \"yes\" is a string; give true or false",
        ),
        (
            "run.mode = true",
            "c.toml: run.mode true is a boolean; give \"sync\" or \"async\"",
        ),
        (
            "run.mode = \"fast\"",
            "c.toml: run.mode \"fast\" is not known; give \"sync\" or \"async\"",
        ),
        (
            "method.rank_by = \"error\"",
            "c.toml: method.rank_by \"error\" is not known; give \"training_loss\" or \"probe_loss\"",
        ),
        (
            "method.local_pull = \"high\"",
            "c.toml: method.local_pull \"high\" is a string; give a number",
        ),
        (
            "data.shape = [32, 32]",
            "c.toml: data.shape [32, 32] is a list; give three whole numbers, such as [3, 32, 32]",
        ),
        (
            "schedule.drops = 80",
            "c.toml: schedule.drops 80 is an integer; \
             give a list, such as [{ epochs = 80, factor = 0.1 }]",
        ),
        (
            "schedule.drops = [80]",
            "c.toml: schedule.drops[0] 80 is an integer; \
             give a table, such as { epochs = 80, factor = 0.1 }",
        ),
        (
            "schedule.drops = [{ epochs = 80 }]",
            "c.toml: schedule.drops[0] { epochs = 80 } has no factor; \
             write { epochs = 80, factor = 0.1 }",
        ),
        (
            "schedule.warmup = 5",
            "c.toml: schedule.warmup 5 is an integer; \
             give a table, such as { epochs = 5 } or { steps = 500 }",
        ),
        (
            "schedule.warmup = { steps = 1.5 }",
            "c.toml: schedule.warmup.steps 1.5 is a float; \
             give a whole number from 1 to 1000000000000",
        ),
        (
            "workers.devices = \"cpu\"",
            "c.toml: workers.devices \"cpu\" is not known; \
             give \"auto\" or a list of one name a worker, such as [\"cpu\", \"cpu\"]",
        ),
        (
            "workers.devices = [\"cpu\", 1]",
            "c.toml: workers.devices [\"cpu\", 1] is a list; \
             give \"auto\" or a list of one name a worker, such as [\"cpu\", \"cpu\"]",
        ),
        (
            "run.name = 2024-01-01",
            "c.toml: run.name 2024-01-01 is a date or time; give a string in quotes",
        ),
    ]);
    assert_set_refused(&[
        (
            "method.local_pull=high",
            "--set: method.local_pull \"high\" is not a number",
        ),
        (
            "run.mode=fast",
            "--set: run.mode \"fast\" is not known; give \"sync\" or \"async\"",
        ),
    ]);
}

#[test]
fn overrides_that_are_not_key_and_value() {
    assert_set_refused(&[
        (
            "data.batch_size",
            "--set data.batch_size: has no `=`; \
             write table.key=value, such as run.seed=2",
        ),
        (
            "batch_size=64",
            "--set batch_size=64: the key has no table; did you mean data.batch_size?",
        ),
        (
            "zzz=64",
            "--set zzz=64: the key has no table; \
             write table.key=value, such as run.seed=2",
        ),
        (
            "data.batch_size=",
            "--set data.batch_size=: has no value; \
             write table.key=value, such as run.seed=2",
        ),
        (
            "data.shape=[1, 2",
            "--set data.shape=[1, 2: the value is not TOML: unclosed array, expected `]`",
        ),
        (
            "run.name=\"a",
            "--set run.name=\"a: the value is not TOML: invalid basic string, expected `\"`",
        ),
    ]);
}

/// A long or many-lined value is quoted on one line and cut.
#[test]
fn an_error_is_one_line_however_long_the_value() {
    let text = format!(
        "run.seed = \"\"\"{}\n{}\"\"\"",
        "a".repeat(100),
        "b".repeat(100_000)
    );
    let expected = format!(
        "c.toml: run.seed \"{}... is a string; give a whole number from 0",
        "a".repeat(79)
    );
    assert_eq!(refusal(&text, &[]), expected);
}
