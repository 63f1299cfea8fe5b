//! The examples, as processes that a person starts.

use std::ffi::OsStr;
use std::fs;
use std::iter::empty;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The config beside the example.
const CONFIG: &str = "examples/characters/characters.toml";

/// When a process is taken to hang: far longer than anything it is waited for takes.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn the_regression_prints_what_its_leader_comes_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start("regression", folder.path(), empty::<&str>());
    assert_eq!(process.end(), Some(0), "{}", process.said());
    let said = process.said();
    let metric = said.lines().find_map(|line| {
        let metric = line.strip_prefix("the leader's mean square error is ")?;
        metric.split(' ').next()?.parse::<f64>().ok()
    });
    assert!(metric.is_some_and(|metric| metric < 0.002), "{said}");
}

/// The whole run, as the config says it.
#[test]
fn characters_are_learned_as_well_as_the_config_says() {
    let run = Run::new(&[]);
    let mut process = run.start(&[]);
    assert_eq!(process.end(), Some(0), "{}", process.said());
    let summary = run.summary(".");
    assert_eq!(
        (&summary["end"], &summary["steps"]),
        (&"budget".into(), &400.into())
    );
    let perplexity = summary["test"]["leader"]["perplexity"].as_f64();
    assert!(
        perplexity.is_some_and(|perplexity| perplexity < 1.7),
        "{summary}"
    );
}

#[test]
fn a_node_that_is_killed_takes_part_again() {
    let run = Run::new(&[
        "task.width=16",
        "task.length=16",
        "task.batch=2",
        "method.local_period=4",
        "method.global_period=8",
        "budget.steps=3000",
        "evaluate.every_steps=1000",
    ]);
    let endpoints = free_ports(2).map(|port| format!("tcp/127.0.0.1:{port}"));
    let endpoints = endpoints.collect::<Vec<_>>().join(",");
    let node =
        |number: usize| run.start(&["--node", &format!("{number}/2"), "--connect", &endpoints]);
    let (mut first, mut second) = (node(1), node(2));
    let (ours, others) = ("node-1", "node-2");
    second.wait(|| !run.events(others, "exchange", "global").is_empty());
    second.kill();
    first.wait(|| !run.events(ours, "node_lost", "").is_empty());
    let before = run.events(others, "exchange", "global").len();

    second = node(2);
    for process in [&mut first, &mut second] {
        assert_eq!(process.end(), Some(0), "{}", process.said());
    }
    let joined = run.events(others, "joined", "");
    let steps = joined.iter().map(|event| event["step"].as_u64().unwrap());
    let steps: Vec<u64> = steps.collect();
    // It may be left behind once more before it has caught up.
    let again = steps.strip_prefix(&[0]).unwrap_or_default();
    let took_part = !again.is_empty() && again.iter().all(|step| *step > 0);
    assert!(took_part, "{joined:?}");
    assert!(run.events(others, "exchange", "global").len() > before);
    for node in [ours, others] {
        assert_eq!(run.summary(node)["steps"], 3000);
    }
}

/// The whole run, as the config says it: by two metrics, of which one is better when higher.
#[test]
fn ratings_are_learned_as_well_as_the_config_says() {
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ratings.toml");
    let mut process = Process::start(
        "ratings",
        folder.path(),
        ["--config".as_ref(), config.as_os_str()],
    );
    assert_eq!(process.end(), Some(0), "{}", process.said());
    let run = folder.path().join("runs/ratings");
    let read = |name| serde_json::from_slice::<Value>(&fs::read(run.join(name)).unwrap()).unwrap();
    let leader = &read("summary.json")["test"]["leader"];
    assert!(
        leader["rmse"].as_f64().is_some_and(|rmse| rmse < 0.2),
        "{leader}"
    );
    assert!(
        leader["likes"].as_f64().is_some_and(|likes| likes > 85.0),
        "{leader}"
    );
    let metrics = &read("run.json")["metrics"];
    let better = [0, 1].map(|metric| metrics[metric]["better"].as_str());
    assert_eq!(better, [Some("lower"), Some("higher")]);
}

#[test]
fn a_key_that_the_task_does_not_have_is_refused() {
    let run = Run::new(&["task.lenght=32"]);
    let mut process = run.start(&[]);
    assert_eq!(process.end(), Some(2));
    assert_eq!(
        process.said(),
        "error: --set: unknown key task.lenght; did you mean task.length?\n"
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let run = Run::new(&["task.heads=5"]);
    let mut process = run.start(&[]);
    assert_eq!(process.end(), Some(2));
    assert_eq!(
        process.said(),
        "error: task.width 64 is not a multiple of twice task.heads, which is 5\n"
    );
}

/// A user of the program need not know the library that it is built with.
#[test]
fn a_program_goes_by_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str], code| {
        let mut process = Process::start("characters", folder.path(), arguments);
        assert_eq!(process.end(), Some(code), "{}", process.said());
        process.said()
    };
    let version = concat!("characters (lsgd-run ", env!("CARGO_PKG_VERSION"), ")\n");
    assert_eq!(said(&["--version"], 0), version);
    for (arguments, code) in [(&["--help"][..], 0), (&["--nodes"], 2), (&[], 2)] {
        let said = said(arguments, code);
        assert!(said.contains("Usage: characters"), "{said}");
        assert!(!said.contains("lsgd-run"), "{said}");
    }
    let launch = said(&["launch", "--nodes", "2"], 2);
    assert!(launch.contains("Usage: characters launch"), "{launch}");
}

#[test]
fn init_writes_a_config_of_the_task() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("own.toml");
    let mut init = Process::start("characters", folder.path(), ["init", "own.toml"]);
    assert_eq!(init.end(), Some(0), "{}", init.said());
    let text = fs::read_to_string(config).unwrap();
    let written: toml::Table = text.parse().unwrap();
    assert_eq!(written["task"]["width"], toml::Value::Integer(64));
    assert!(written["method"]["local_period"].is_integer());
    assert!(text.contains("\n# text = \"...\"\n"), "{text}");

    let mut printed = Process::start("characters", folder.path(), ["init", "-"]);
    assert_eq!(printed.end(), Some(0), "{}", printed.said());
    assert_eq!(printed.said(), text);
    assert!(!folder.path().join("-").exists());
}

/// By the perplexity, which is the task's own metric.
#[test]
fn a_program_of_a_task_compares_methods() {
    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(CONFIG);
    let text = format!(
        "name = 'rates'\nconfig = {config:?}\nseeds = [1]\nworkers = [2]\nperiods = [4]\n\
         targets = [1e9, 0.5]\n\
         set = ['task.width=16', 'task.length=16', 'task.batch=2', 'budget.steps=8', \
         'method.loss_window=4']\n\
         [[method]]\nlabel = 'slow'\nset = ['schedule.learning_rate=1e-4']\n\
         [[method]]\nlabel = 'fast'\nset = ['schedule.learning_rate=1e-3']\n"
    );
    fs::write(folder.path().join("rates.toml"), text).unwrap();
    let mut bench = Process::start("characters", folder.path(), ["bench", "rates.toml"]);
    assert_eq!(bench.end(), Some(0), "{}", bench.said());
    assert_eq!(
        bench.said(),
        "1 of 2: slow-w2-p4-s1\n2 of 2: fast-w2-p4-s1\nruns/rates\n"
    );
    let report = folder.path().join("runs/rates");
    let targets = fs::read_to_string(report.join("targets.csv")).unwrap();
    let reached = |row: &&str| !row.ends_with(",,");
    assert_eq!(targets.lines().skip(1).count(), 12);
    assert_eq!(targets.lines().skip(1).filter(reached).count(), 6);
    let picture = fs::read_to_string(report.join("leader.svg")).unwrap();
    assert!(picture.contains("test perplexity, leader"), "{picture}");
}

/// A run of the characters in a folder of its own.
struct Run {
    folder: TempDir,
    set: Vec<String>,
}

impl Run {
    /// Not yet started; with these overrides.
    fn new(set: &[&str]) -> Self {
        let set = set.iter().map(|&set| set.to_owned());
        Self {
            folder: tempfile::tempdir().unwrap(),
            set: set.collect(),
        }
    }

    /// Starts a process of it, with these arguments more.
    fn start(&self, more: &[&str]) -> Process {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(CONFIG);
        let mut arguments = vec![String::from("--config"), config.display().to_string()];
        arguments.extend(more.iter().map(|&more| more.to_owned()));
        for set in &self.set {
            arguments.extend([String::from("--set"), set.clone()]);
        }
        Process::start("characters", self.folder.path(), arguments)
    }

    fn file(&self, node: &str, name: &str) -> PathBuf {
        self.folder
            .path()
            .join("runs/characters")
            .join(node)
            .join(name)
    }

    fn summary(&self, node: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(node, "summary.json")).unwrap()).unwrap()
    }

    /// The events of this kind, and of this scope if there is one, that a node has recorded.
    fn events(&self, node: &str, kind: &str, scope: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file(node, "events.jsonl")).unwrap_or_default();
        // The last line of a node that lives, or was killed, may not be whole.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|event: &Value| event["event"] == kind)
            .filter(|event| scope.is_empty() || event["scope"] == scope)
            .collect()
    }
}

/// A process of an example; it is killed when this is dropped.
struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts an example in a folder, where it writes what it says to a file.
    fn start(
        example: &str,
        folder: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let (file, output) = tempfile::Builder::new()
            .suffix(".output")
            .tempfile_in(folder)
            .unwrap()
            .keep()
            .unwrap();
        let child = Command::new(program(example))
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, output }
    }

    /// Waits until something is so, while the process lives.
    #[track_caller]
    fn wait(&mut self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "it has ended: {}", self.said());
            assert!(began.elapsed() < LIMIT, "in vain: {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it as a machine that fails does.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end. Returns its exit code; nothing if a signal ended it, as one does after
    /// [`LIMIT`].
    fn end(&mut self) -> Option<i32> {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() && began.elapsed() < LIMIT {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        self.child.wait().unwrap().code()
    }

    /// All it has said.
    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program of an example, which `cargo test` builds beside this one.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let name = format!("{example}{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.exists(),
        "{} is not there; build it with cargo build --examples",
        program.display()
    );
    program
}

/// Unused ports that are not given to an outgoing connection while a node is down: those are from
/// 32768 (Linux) or 49152 on.
fn free_ports(count: usize) -> impl Iterator<Item = u16> {
    // Tests of other processes begin elsewhere.
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).filter(free).take(count)
}
