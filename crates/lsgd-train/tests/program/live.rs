//! A run under way.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::program::{PROGRAM, Ran, SLOW, workspace};

/// Trains without an evaluation, and so without a checkpoint, until it is told to stop.
pub const ENDLESS: [&str; 2] = ["budget.minutes=30", "evaluate.every_minutes=30"];

/// When a run is taken to hang: far longer than anything it is waited for takes.
const LIMIT: Duration = Duration::from_secs(120);

/// A process of the program; it is killed when this is dropped.
pub struct Live {
    child: Child,
    said: Receiver<String>,
}

impl Live {
    /// Starts the program.
    pub fn start(arguments: &[String]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(workspace());
        Self::of(command)
    }

    /// Starts the program so that it is far from its end when it is killed.
    pub fn slow(arguments: &[String]) -> Self {
        let [env, pace] = SLOW;
        let mut command = Command::new(env);
        command.args([pace, PROGRAM]).args(arguments);
        command.current_dir(workspace()).stdin(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts a command that runs the program.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, said }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains `text`.
    #[track_caller]
    pub fn hear(&mut self, text: &str) -> String {
        let mut heard = Vec::new();
        while let Ok(line) = self.said.recv_timeout(LIMIT) {
            if line.contains(text) {
                return line;
            }
            heard.push(line);
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

    /// Waits until it exits, and returns its output since the last call. A process that does not
    /// exit is killed.
    pub fn end(mut self) -> Ran {
        let mut stderr = String::new();
        // It ends its lines when it ends.
        while let Ok(line) = self.said.recv_timeout(LIMIT) {
            stderr += &(line + "\n");
        }
        let _ = self.child.kill();
        let code = self.child.wait().unwrap().code();
        let stdout = String::new();
        Ran {
            code,
            stdout,
            stderr,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
