//! `--serve` and `serve`: the page of a run while it goes on.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::live::{ENDLESS, Live};
use super::program::{PROGRAM, Ran, Runs, SMOKE, command, run, workspace};

/// When something is taken never to come.
const LIMIT: Duration = Duration::from_secs(120);

/// A visitor's view of a server.
struct Visitor {
    address: String,
    path: String,
}

/// What it answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Visitor {
    /// Of the server that said where it is.
    fn of(live: &mut Live) -> Self {
        let line = live.hear("watch at http://");
        let (_, url) = line.split_once("http://").unwrap();
        let (address, path) = url.split_once('/').unwrap();
        Self {
            address: address.to_owned(),
            path: format!("/{path}"),
        }
    }

    fn get(&self, name: &str) -> Answer {
        self.ask("GET", &format!("{}{name}", self.path), &self.address, "")
    }

    fn ask(&self, method: &str, path: &str, host: &str, more: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    /// The state of the charts, once `has` is true of it.
    fn state(&self, has: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let answer = self.get("charts.json");
            if answer.status == 200 {
                let state = serde_json::from_str(&answer.body).unwrap();
                if has(&state) {
                    return state;
                }
            }
            assert!(begin.elapsed() < LIMIT, "{}\n{}", answer.head, answer.body);
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim_start_matches(": ")
    }
}

/// The last step of the first series of a chart.
fn last_step(state: &Value, title: &str) -> Option<u64> {
    let charts = state["charts"].as_array().unwrap();
    let chart = charts.iter().find(|chart| chart["title"] == title)?;
    let x = chart["xs"].as_array()?.iter();
    let steps = x.clone().position(|x| x == "steps of a worker")?;
    chart["series"][0]["x"][steps].as_array()?.last()?.as_u64()
}

fn interrupt(live: &Live) {
    let id = live.id().to_string();
    let kill = Command::new("kill").args(["-INT", &id]).status();
    assert!(kill.unwrap().success());
}

fn serve(folder: &str) -> (Live, Visitor) {
    let arguments = ["serve", folder, "--at", "localhost:0"];
    let mut live = Live::start(&arguments.map(String::from));
    let visitor = Visitor::of(&mut live);
    (live, visitor)
}

#[test]
fn a_run_shows_itself_while_it_goes_on() {
    let runs = Runs::new();
    let mut arguments = runs.arguments(SMOKE, "one", &ENDLESS);
    arguments.extend(["--serve", "127.0.0.1:0"].map(String::from));
    let mut live = Live::start(&arguments);
    let visitor = Visitor::of(&mut live);
    // One that never asks, and one that never ends its question, are nothing to the others.
    let silent = TcpStream::connect(&visitor.address).unwrap();
    let mut slow = TcpStream::connect(&visitor.address).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let title = "Training loss of each worker";
    let before = visitor.state(|state| last_step(state, title).is_some());
    let step = last_step(&before, title).unwrap();
    let after = visitor.state(|state| last_step(state, title) > Some(step));
    assert_eq!(after["title"], "one");
    let head = after["head"].as_str().unwrap();
    assert!(head.contains("<dt>state</dt><dd>running</dd>"), "{head}");
    // Nobody leads before a loss window is full.
    visitor.state(|state| {
        let workers = state["before"].as_str().unwrap();
        let parts = ["<h2>Workers</h2>", "<td>training</td>", "its node ("];
        parts.iter().all(|part| workers.contains(part))
    });
    let page = visitor.get("");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains(title) && page.body.contains("connect-src 'self'"));
    drop((silent, slow));
    live.kill();
}

/// Of all nodes in one page: who leads, what each worker does, what crosses the links and how fast, and what
/// each node has told last.
#[test]
fn a_launch_shows_how_all_of_its_nodes_stand() {
    let runs = Runs::new();
    let mut arguments = ["launch", "--nodes", "2"].map(String::from).to_vec();
    let set = [
        "evaluate.every_steps=8",
        "method.global_period=4",
        "budget.minutes=30",
    ];
    arguments.extend(runs.arguments(SMOKE, "nodes", &set));
    arguments.extend(["--serve", "127.0.0.1:0"].map(String::from));
    let mut live = Live::start(&arguments);
    let visitor = Visitor::of(&mut live);
    let parts = [
        "node 1: worker 0</th><td>training</td>",
        "node 2: worker 1</th><td>training</td>",
        "its node (",
        "all nodes (",
        "<h2>Bytes between nodes</h2>",
        "node 1: with node 2</th><td>parameters</td>",
        "node 2: with all nodes</th><td>all</td>",
        // Since two of its counts are on record.
        "/s</td>",
        "<h2>Last lines, newest first</h2>",
        "node 2 | step ",
        "replica mean error",
    ];
    visitor.state(|state| {
        let before = state["before"].as_str().unwrap();
        parts.iter().all(|part| before.contains(part))
    });
    let figures = visitor.get("metrics").body;
    let sent =
        "lsgd_link_bytes_total{run=\"nodes node-1\",peer=\"2\",kind=\"parameters\",way=\"sent\"}";
    assert!(figures.contains(sent), "{figures}");
    assert!(figures.contains("state=\"running\""), "{figures}");
    interrupt(&live);
    assert_eq!(live.end().code, Some(130));
}

#[test]
fn a_visitor_who_comes_late_sees_the_whole_run_and_asks_again_for_nothing() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "one", &["evaluate.every_steps=4"]);
    let (live, visitor) = serve(run.path.to_str().unwrap());
    let state = visitor.get("charts.json");
    let charts: Value = serde_json::from_str(&state.body).unwrap();
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    let (_, data) = report.split_once("id=\"data\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    let of_report: Value = serde_json::from_str(data).unwrap();
    assert_eq!(charts["charts"], of_report);

    let tag = state.header("etag");
    let again = format!("If-None-Match: {tag}\r\n");
    let again = visitor.ask("GET", "/charts.json", &visitor.address, &again);
    assert_eq!((again.status, again.body.as_str()), (304, ""));

    interrupt(&live);
    assert_eq!(live.end().code, Some(0));
}

#[test]
fn figures_are_those_of_the_summary() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "one", &[]);
    let (_live, visitor) = serve(run.path.to_str().unwrap());
    let figures = visitor.get("metrics");
    assert!(
        figures
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let figure = |begin: &str| {
        let line = figures
            .body
            .lines()
            .find_map(|line| line.strip_prefix(begin));
        let value = line.unwrap_or_else(|| panic!("{begin}: {}", figures.body));
        value.trim().parse::<f64>().unwrap()
    };
    let summary = run.summary();
    let steps = figure("lsgd_worker_steps_total{run=\"one\",node=\"1\",worker=\"0\"}");
    assert_eq!(steps, summary["steps"].as_f64().unwrap());
    let error = figure("lsgd_score{run=\"one\",metric=\"error\",unit=\"%\",of=\"leader\"}");
    assert_eq!(error, summary["test"]["leader"]["error"].as_f64().unwrap());
    // A family stands together, each line is a comment or a figure, and no figure comes twice.
    let mut seen = std::collections::HashSet::new();
    for line in figures.body.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(
            series.ends_with('}') && value.parse::<f64>().is_ok(),
            "{line}"
        );
        assert!(seen.insert(series), "{line}");
    }
}

#[test]
fn a_folder_of_runs_shows_them_side_by_side_as_they_come() {
    let runs = Runs::new();
    let (_live, visitor) = serve(runs.path().to_str().unwrap());
    let none = visitor.get("charts.json");
    assert_eq!(none.status, 503);
    assert!(
        none.body.contains("no run has begun here yet"),
        "{}",
        none.body
    );
    runs.train(SMOKE, "one", &[]);
    visitor.state(|state| state["title"] == "one");
    runs.train(SMOKE, "two", &["run.seed=2"]);
    let both = visitor.state(|state| state["title"] != "one");
    assert_eq!(both["title"], "2 runs: one, two");
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let runs = Runs::new();
    let later = runs.path().join("later");
    let (mut live, visitor) = serve(later.to_str().unwrap());
    live.hear("later: there is no such folder yet; runs in it are shown once they begin");
    assert_eq!(visitor.get("charts.json").status, 503);
    let one = runs.train(SMOKE, "one", &[]);
    fs::create_dir(&later).unwrap();
    fs::rename(&one.path, later.join("one")).unwrap();
    visitor.state(|state| state["title"] == "one");
    let file = run(["serve", "configs/smoke.toml", "--at", "localhost:0"]);
    file.failed(
        1,
        "configs/smoke.toml: is a file; give a run, or a folder of runs",
    );
}

/// What a replaced run has left is looked at, and left alone.
#[test]
fn looking_changes_nothing_in_a_folder() {
    let runs = Runs::new();
    let run = runs.train(SMOKE, "one", &[]);
    let replaced = run.join(".replaced");
    std::fs::create_dir(&replaced).unwrap();
    for name in ["run.json", "config.toml", "metrics.jsonl"] {
        std::fs::copy(run.join(name), replaced.join(name)).unwrap();
    }
    std::fs::remove_file(run.join("summary.json")).unwrap();
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    // One that is being made, and what is no run, hide nothing.
    std::fs::create_dir(runs.path().join("lost+found")).unwrap();
    let begins = runs.path().join("begins");
    std::fs::create_dir(&begins).unwrap();
    std::fs::copy(run.join("run.json"), begins.join("run.json")).unwrap();
    let before = run.files();
    let (_live, visitor) = serve(runs.path().to_str().unwrap());
    visitor.state(|state| state["title"] == "one");
    assert_eq!(run.files(), before);
    assert!(replaced.join("metrics.jsonl").exists());
}

#[test]
fn nobody_else_gets_anything() {
    let runs = Runs::new();
    let (_live, visitor) = serve(runs.path().to_str().unwrap());
    for host in ["example.org", "127.0.0.1.example.org:80"] {
        assert_eq!(visitor.ask("GET", "/", host, "").status, 403, "{host}");
    }
    let address = &visitor.address;
    assert_eq!(
        visitor.ask("GET", "/../config.toml", address, "").status,
        404
    );
    let posted = visitor.ask("POST", "/", address, "Content-Length: 0\r\n");
    assert_eq!((posted.status, posted.header("allow")), (405, "get, head"));
    assert_eq!(visitor.ask("HEAD", "/", address, "").body, "");
    let long = format!("A: {}\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(address).unwrap();
    // It may hang up before all of it is sent.
    let _ = write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\n{long}\r\n");
    assert_eq!(visitor.ask("GET", "/", address, "").status, 200);
}

#[test]
fn with_a_token_only_those_who_know_it_are_visitors() {
    let runs = Runs::new();
    let mut command = Command::new(PROGRAM);
    command
        .args([
            "serve",
            runs.path().to_str().unwrap(),
            "--at",
            "127.0.0.1:0",
        ])
        .env("LSGD_SERVE_TOKEN", "only-for-you-0001")
        .current_dir(workspace());
    let mut live = Live::of(command);
    // A log does not tell the token.
    let told = Visitor::of(&mut live);
    assert_eq!(told.path, "/$LSGD_SERVE_TOKEN/");
    let visitor = Visitor {
        path: String::from("/only-for-you-0001/"),
        ..told
    };
    assert_eq!(visitor.get("").status, 200);
    for path in ["/", "/only-for-you-0002/", "/charts.json"] {
        let refused = visitor.ask("GET", path, &visitor.address, "");
        assert_eq!(refused.status, 403, "{path}");
    }
}

#[test]
fn a_page_that_cannot_be_served_ends_the_command_before_the_run_begins() {
    let runs = Runs::new();
    let refuses = |ran: Ran, code: i32, text: &str| {
        assert!(ran.stderr.contains(text), "{}", ran.stderr);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    };
    let start = |address: &str| {
        let mut arguments = runs.arguments(SMOKE, "one", &[]);
        arguments.extend(["--serve", address].map(String::from));
        run(&arguments)
    };
    refuses(start("0.0.0.0:0"), 2, "set the variable LSGD_SERVE_TOKEN");
    refuses(start("example.org:80"), 2, "give an IP address and a port");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = format!("no page can be served at {address}: ");
    refuses(start(&address), 75, &text);
    let mut unfit = command(["serve", "runs", "--at", "127.0.0.1:0"]);
    let unfit = unfit.env("LSGD_SERVE_TOKEN", "short").output().unwrap();
    refuses(Ran::of(unfit), 2, "16 to 128 letters, digits, - and _");
    assert!(!runs.path().join("one").exists());
}
