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

/// Nothing can be trained any more that a later checkpoint would save.
pub fn a_disk_that_is_full_at_the_end_fails_the_run() {
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

/// Lines wait and checkpoints are skipped, with one warning, until there is room again.
pub fn a_run_trains_on_while_the_disk_is_full() {
    let runs = Runs::new();
    let (disk, log) = (runs.path().join("disk"), runs.path().join("log"));
    fs::create_dir(&disk).unwrap();
    let folder_is = format!("run.folder={}", disk.display());
    let often = ["run.mode=sync", "checkpoint.every_steps=10", &folder_is];
    let arguments = runs.arguments(SMOKE, "full", &[&ENDLESS[..], &often].concat());
    // The disk is gone with the shell, so the run is copied from it. A checkpoint that is removed
    // makes room again, so the disk is filled until the run notices.
    let script = format!(
        "mount -t tmpfs -o size=1m tmpfs '{disk}' || exit 99
         \"$@\" 2> '{log}' & child=$!
         within() {{
             for i in $(seq 1200); do \"$@\" && return; sleep 0.1; done
             kill $child; exit 98
         }}
         count() {{ grep -c '\"checkpoint\"' '{disk}/full/events.jsonl'; }}
         has() {{ [ \"$(count)\" -ge $1 ]; }}
         notices() {{ cat /dev/zero >> '{disk}/filler'; grep -q 'training goes on' '{log}'; }}
         within has 2; within notices
         rm '{disk}/filler'
         within has $(($(count) + 2))
         kill -TERM $child; wait $child; code=$?
         cp -r '{disk}/full' '{runs}/full'; exit $code",
        disk = disk.display(),
        log = log.display(),
        runs = runs.path().display(),
    );
    let ran = Ran::of(unshared(&script, arguments).output().unwrap());
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(ran.code, Some(130), "{}{log}", ran.stderr);
    // Once, and once more if a checkpoint that went made room in between.
    let mut told = log.lines().filter(|line| line.contains("training goes on"));
    let line = told.next().unwrap();
    assert!(told.count() <= 1, "{log}");
    let (what, newest) = line.split_once("; training goes on; ").unwrap();
    let why = ": No space left on device (os error 28)";
    assert!(
        what.contains("cannot write ") && what.ends_with(why),
        "{log}"
    );
    let newest = newest.strip_prefix("the newest checkpoint is of step ");
    let newest: u64 = newest.unwrap().parse().unwrap();
    assert!(newest > 0 && newest.is_multiple_of(10), "{log}");

    // No line is lost, doubled or torn.
    let run = runs.get("full");
    let steps = run.summary()["steps"].as_u64().unwrap();
    assert!(steps > newest);
    for worker in 0..2 {
        let mut last = 0;
        for line in run.metrics("interval") {
            if line["worker"]["worker"] == worker {
                last += line["steps"].as_u64().unwrap();
                assert_eq!(line["step"], last, "{line}");
            }
        }
        assert_eq!(last, steps);
    }
    let written = run.events("checkpoint");
    let written: Vec<u64> = written
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert!(written.is_sorted_by(|one, next| one < next), "{written:?}");
    assert_eq!(written.last(), Some(&steps));
    assert!(run.json("run.json")["end"].is_string());
    assert!(!run.export("leader").is_empty());
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
