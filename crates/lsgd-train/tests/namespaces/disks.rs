//! Disks that are full, or become read-only, indeed: each in a namespace of its own mounts.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::live::{ENDLESS, Live};
use super::network::shown;
use super::program::{PROGRAM, Ran, Runs, SMOKE, workspace};

/// Who may map users is root in there.
const UNSHARED: [&str; 4] = ["--map-root-user", "--mount", "sh", "-c"];

/// A command that runs a shell script in mounts of its own; the program and its `arguments` are the
/// script's.
fn unshared(script: &str, arguments: Vec<String>) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(UNSHARED)
        .args([script, "sh", PROGRAM])
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::null());
    command
}

/// Has room for the records of a run and not for a checkpoint.
fn mount(disk: &Path) -> String {
    format!("mount -t tmpfs -o size=48k tmpfs '{}'", disk.display())
}

/// Whether this machine lets such a disk be mounted; if not, why.
pub fn can_be_mounted() -> Result<(), String> {
    let disk = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mount = mount(disk.path());
    shown("unshare", &[&UNSHARED[..], &[&mount]].concat()).map(drop)
}

pub fn a_full_disk_ends_the_run() {
    let runs = Runs::new();
    let disk = runs.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let folder_is = format!("run.folder={}", disk.display());
    let arguments = runs.arguments(SMOKE, "full", &[&folder_is]);
    // The disk is gone with the shell, so it lists what is left.
    let script = format!(
        "{} && \"$@\"; code=$?; cd '{}' && find . >&2; exit $code",
        mount(&disk),
        disk.display()
    );
    let ran = Ran::of(unshared(&script, arguments).output().unwrap());
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
    assert_eq!(ran.code, Some(75));
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

/// A folder that is made read-only, root or not, while a run writes to it.
pub fn a_run_whose_folder_becomes_read_only_ends() {
    let runs = Runs::new();
    let path = runs.get("still").path;
    fs::create_dir(&path).unwrap();
    let quoted = path.display();
    // Once there are lines, which is when it writes.
    let script = format!(
        "\"$@\" & child=$!; until [ -s '{quoted}/metrics.jsonl' ]; do sleep 0.1; done; \
         mount --bind '{quoted}' '{quoted}' && mount -o remount,bind,ro '{quoted}'; wait $child"
    );
    let live = Live::of(unshared(&script, runs.arguments(SMOKE, "still", &ENDLESS)));
    let text = format!("cannot write {quoted}: Read-only file system (os error 30)");
    live.end().failed_late(1, &text);
    assert!(!runs.get("still").metrics("interval").is_empty());
}
