//! A run under way.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::program::{PROGRAM, Ran, workspace};

/// Trains without an evaluation, and so without a checkpoint, until it is told to stop.
pub const ENDLESS: [&str; 2] = ["budget.minutes=30", "evaluate.every_minutes=30"];

/// A process of the program; it is killed when this is dropped.
pub struct Live {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
}

impl Live {
    /// Starts the program.
    pub fn start(arguments: &[String]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(workspace());
        Self::of(command)
    }

    /// Starts a command that runs the program.
    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, said }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub fn hear(&mut self, text: &str) {
        let mut heard = Vec::new();
        for line in &mut self.said {
            heard.push(line.unwrap());
            if heard.last().is_some_and(|line| line.contains(text)) {
                return;
            }
        }
        panic!("it did not say {text:?}: {heard:?}");
    }

    /// Waits until there is something in a file that it writes.
    #[track_caller]
    pub fn writes(&mut self, file: &Path) {
        while fs::metadata(file).map_or(true, |found| found.len() == 0) {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it as a machine that fails does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself, and returns what it said since it was last heard.
    pub fn end(mut self) -> Ran {
        let said: Vec<String> = (&mut self.said).map(|line| line.unwrap() + "\n").collect();
        let status = self.child.wait().unwrap();
        Ran {
            code: status.code(),
            stdout: String::new(),
            stderr: said.concat(),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
