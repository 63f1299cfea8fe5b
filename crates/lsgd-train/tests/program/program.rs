//! The program, started as a person starts it, and what its runs leave behind.

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lsgd-train");

/// Two workers, 16 steps, generated images: a fraction of a second.
pub const SMOKE: &str = "configs/smoke.toml";

/// The bundled digits.
pub const QUICKSTART: &str = "configs/quickstart.toml";

/// When a command is taken to hang: far longer than any of these takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Where the program is started: the paths in configs are relative to it.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a command printed and returned.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; nothing if a signal ended it, as one does after [`LIMIT`].
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Asserts that it went well, and returns what it printed to standard output.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Asserts that it failed with `code` and said just one line: `error: TEXT`.
    #[track_caller]
    pub fn failed(&self, code: i32, text: &str) {
        assert_eq!(self.stderr, format!("error: {text}\n"));
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""));
    }

    /// Asserts that it failed with `code`, and that of its lines just the last is an error: TEXT.
    #[track_caller]
    pub fn failed_late(&self, code: i32, text: &str) {
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .skip_while(|line| !line.starts_with("error: "))
            .collect();
        assert_eq!(errors, [format!("error: {text}")], "{}", self.stderr);
        assert_eq!(self.code, Some(code));
    }
}

/// A command of the program, in the workspace's folder.
pub fn command<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(PROGRAM);
    command
        .args(arguments)
        .current_dir(workspace())
        .env_remove("RAYON_NUM_THREADS")
        .timeout(LIMIT);
    command
}

/// Runs the program to its end.
pub fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Ran {
    Ran::of(command(arguments).output().unwrap())
}

/// A folder for runs, removed with all that is in it.
#[derive(Debug)]
pub struct Runs(TempDir);

impl Runs {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The arguments that train `config` as run `name`, with overrides.
    pub fn arguments(&self, config: &str, name: &str, set: &[&str]) -> Vec<String> {
        let folder = format!("run.folder={}", self.path().display());
        let mut arguments = vec![String::from("--config"), String::from(config)];
        for set in [&folder, &format!("run.name={name}")] {
            arguments.extend([String::from("--set"), set.clone()]);
        }
        for set in set {
            arguments.extend([String::from("--set"), String::from(*set)]);
        }
        arguments
    }

    /// Trains, however it ends.
    pub fn start(&self, config: &str, name: &str, set: &[&str]) -> Ran {
        run(self.arguments(config, name, set))
    }

    /// Trains, and asserts that it went well.
    #[track_caller]
    pub fn train(&self, config: &str, name: &str, set: &[&str]) -> Run {
        self.start(config, name, set).well();
        self.get(name)
    }

    /// The run of that name.
    pub fn get(&self, name: &str) -> Run {
        Run {
            path: self.path().join(name),
        }
    }
}

/// Before the program: its steps take 40 ms or more, as a node's of `chaos`. For a run that is not to end
/// before it is killed. It ends when its standard input does.
pub const SLOW: [&str; 2] = ["env", "LSGD_TRAIN_LAUNCHED=chaos 40 0"];

/// The folder of a run.
#[derive(Debug)]
pub struct Run {
    pub path: PathBuf,
}

impl Run {
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Everything below the folder, sorted, folders with a slash.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.path, "", &mut found);
        found.sort();
        found
    }

    /// A file of one JSON value.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.join(name)).unwrap()).unwrap()
    }

    pub fn summary(&self) -> Value {
        self.json("summary.json")
    }

    /// Digests of all workers at the end.
    pub fn digests(&self) -> Vec<String> {
        serde_json::from_value(self.summary()["digests"].clone()).unwrap()
    }

    /// A file with one JSON value per line.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.join(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{name}: {text}");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The lines of `events.jsonl` with this `event`.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let mut lines = self.lines("events.jsonl");
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// The lines of `metrics.jsonl` with this `kind`.
    pub fn metrics(&self, kind: &str) -> Vec<Value> {
        let mut lines = self.lines("metrics.jsonl");
        lines.retain(|line| line["kind"] == kind);
        lines
    }

    /// The lines of `metrics.jsonl` without the time they took, in order of step and worker.
    pub fn timeless_metrics(&self) -> Vec<String> {
        let mut metrics = self.lines("metrics.jsonl");
        metrics.sort_by_key(|line| (line["step"].as_u64(), line["worker"].to_string()));
        let timeless = |mut line: Value| {
            line.as_object_mut().unwrap().remove("seconds");
            line.to_string()
        };
        metrics.into_iter().map(timeless).collect()
    }

    /// The step of the newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<u64> {
        let entries = fs::read_dir(self.join("checkpoints")).ok()?.flatten();
        let steps = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("step-")?.parse().ok()
        });
        steps.max()
    }

    /// Waits until the process that continued the run for the `times`th time (0: that began it) has a
    /// checkpoint `steps` later than where it continued. That there are checkpoints is not enough: they
    /// may be those of the process before.
    #[track_caller]
    pub fn wait_for_progress(&self, times: usize, steps: u64) {
        let began = Instant::now();
        let has_progressed = || {
            let from = match times {
                0 => 0,
                _ => {
                    let resumed = self.resumed_at();
                    if resumed.len() < times {
                        return false;
                    }
                    resumed[times - 1]
                }
            };
            self.newest_checkpoint() >= Some(from + steps)
        };
        while !has_progressed() {
            let path = self.path.display();
            assert!(
                began.elapsed() < LIMIT,
                "{path} was not continued {times} times"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// At which steps the run was continued, while it goes on: its last line may not be whole.
    fn resumed_at(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.join("events.jsonl")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        let events = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let resumed = events.filter(|event| event["event"] == "resumed");
        resumed.map(|e| e["step"].as_u64().unwrap()).collect()
    }

    /// Names of the checkpoints that are there, sorted.
    pub fn checkpoints(&self) -> Vec<String> {
        let entries = fs::read_dir(self.join("checkpoints")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Names of the files of a checkpoint, sorted.
    pub fn files_of_checkpoint(&self, step: u64) -> Vec<String> {
        let folder = format!("checkpoints/step-{step}/");
        let files = self.files();
        let own = files.iter().filter_map(|file| file.strip_prefix(&folder));
        let own = own.filter(|file| !file.is_empty()).map(String::from);
        own.collect()
    }

    /// What `eval` prints.
    pub fn eval(&self, which: &str) -> String {
        let path = self.path.to_str().unwrap();
        run(["eval", path, "--which", which]).well()
    }

    /// The bytes of the file that `export` writes.
    pub fn export(&self, which: &str) -> Vec<u8> {
        let file = self.join(&format!("{which}.exported"));
        let (path, output) = (self.path.to_str().unwrap(), file.to_str().unwrap());
        run(["export", path, "--which", which, "--output", output]).well();
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        bytes
    }
}

fn list(folder: &Path, before: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{before}{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            let inside = format!("{name}/");
            list(&entry.path(), &inside, found);
            found.push(inside);
        } else {
            found.push(name);
        }
    }
}

/// Two classes of four training images and one test image each.
pub fn write_images(folder: &Path) {
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
