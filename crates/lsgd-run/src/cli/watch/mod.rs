//! `watch`: follows a run by its folder, until it ends.

mod node;
mod tail;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use self::node::{News, Node, Since};
use super::outcome::outcome_line;
use super::path::path;
use super::printable::printable_error;
use crate::error::RunError;
use crate::exit::{EXIT_FAILED, EXIT_SUCCESS};
use crate::glance::{Glance, claimed, folders};
use crate::storage::{End, Held, RunFolder, State, Summary, held};
use crate::words::printable;

/// Time between two looks at the records. A look costs a few system calls; notices of the system do not
/// cross a network.
const INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `watch`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Watch {
    /// Folder of the run, such as runs/first; of several nodes, the one that holds all of them, or a node's
    #[arg(value_name = "RUN", value_parser = path())]
    pub run: PathBuf,

    /// Wait for a run that has not begun, or whose process is gone, until it is begun or continued
    #[arg(long)]
    pub wait: bool,
}

/// Why nothing more is told.
#[derive(Debug)]
enum Stop {
    /// With this exit code.
    Exit(u8),
    /// The run cannot be read, or nothing be written.
    Failed(RunError),
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        Self::Failed(error)
    }
}

/// Follows the run that is asked for, and writes lines to `out` until it ends. Returns the exit code. If
/// nobody reads `out` any more, that is an end as well.
///
/// # Errors
///
/// [`RunError`] if there is no such run, or it cannot be read.
pub(super) fn watch(arguments: &Watch, out: &mut impl Write) -> Result<u8, RunError> {
    let mut watching = Watching {
        run: &arguments.run,
        wait: arguments.wait,
        nodes: Vec::new(),
        is_gone: false,
        out,
    };
    loop {
        match watching.look() {
            Ok(()) => thread::sleep(INTERVAL),
            Err(Stop::Exit(code)) => return Ok(code),
            Err(Stop::Failed(error)) => return Err(printable_error(error)),
        }
    }
}

/// A run that is followed.
struct Watching<'a, W> {
    run: &'a Path,
    wait: bool,
    /// Nothing before there is a run.
    nodes: Vec<Node>,
    /// Whether it was said that there is no process of it.
    is_gone: bool,
    out: &'a mut W,
}

impl<W: Write> Watching<'_, W> {
    /// Tells what is new.
    fn look(&mut self) -> Result<(), Stop> {
        if self.nodes.is_empty() && !self.begin()? {
            return Ok(());
        }
        if self.news()? {
            self.is_gone = false;
            return Ok(());
        }
        let held: Vec<Held> = self.nodes.iter().map(|node| held(node.folder())).collect();
        // What a process has written before it let go of the run.
        if self.news()? {
            return Ok(());
        }
        let mut ends = Vec::new();
        for node in &self.nodes {
            ends.push(RunFolder::look(node.folder()).summary_if_any()?);
        }
        let nodes = held
            .iter()
            .zip(&ends)
            .map(|(held, end)| (*held, end.is_some()));
        match verdict(nodes) {
            Verdict::GoesOn => {
                self.is_gone = false;
                Ok(())
            }
            Verdict::Over => {
                self.tell_end(&held, &ends)?;
                Err(Stop::Exit(EXIT_SUCCESS))
            }
            Verdict::Gone if self.is_gone => Ok(()),
            // It was continued just now.
            Verdict::Gone if is_claimed(self.run) => Ok(()),
            Verdict::Gone => {
                let text = "its process is gone without an end: it was killed, or failed";
                let advice = match self.wait {
                    true => "waiting until it is continued",
                    false => "`resume` continues it",
                };
                self.about_run(&format!("{text}; {advice}"))?;
                self.gone()
            }
        }
    }

    /// Begins to follow the run, and tells how far it is. Returns whether there is one.
    fn begin(&mut self) -> Result<bool, Stop> {
        let absent = |why: &str| RunError::Absent {
            path: self.run.to_owned(),
            why: String::from(why),
        };
        let folders = self.folders()?;
        if folders.is_empty() {
            return match (self.wait, self.run.is_dir()) {
                _ if is_claimed(self.run) => Ok(false),
                (true, _) if self.is_gone => Ok(false),
                (true, _) => {
                    self.is_gone = true;
                    self.about_run("waiting for it to begin")?;
                    Ok(false)
                }
                (false, false) => Err(absent(
                    "there is no such folder; give a folder such as runs/first, or --wait for it",
                )
                .into()),
                (false, true) => Err(absent(
                    "not a run: it has no run.json; `runs` lists those in it, and --wait waits for one",
                )
                .into()),
            };
        }
        let opened = self.open(&folders, Since::Now);
        match opened.and_then(|nodes| Ok((nodes, Glance::of(self.run)?))) {
            Ok((nodes, Some(glance))) => {
                self.nodes = nodes;
                self.about_run(&so_far(&glance))?;
                Ok(true)
            }
            Ok((_, None)) => Ok(false),
            Err(error) if is_passing(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The folders with the records of the run; none if there is none now.
    fn folders(&self) -> Result<Vec<PathBuf>, RunError> {
        match self.run.is_dir() {
            true => folders(self.run),
            false => Ok(Vec::new()),
        }
    }

    fn open(&self, folders: &[PathBuf], since: Since) -> Result<Vec<Node>, RunError> {
        let open = |folder: &PathBuf| {
            let number = match folder == self.run {
                true => None,
                false => number(folder),
            };
            Node::open(folder.clone(), number, since)
        };
        folders.iter().map(open).collect()
    }

    /// Tells what is new in the records. Returns whether anything was written there, or a node has begun.
    fn news(&mut self) -> Result<bool, Stop> {
        let mut folders = self.folders()?;
        if folders.is_empty() {
            self.nodes.clear();
            // Otherwise another run takes its place.
            if !is_claimed(self.run) {
                self.about_run("there is no run any more")?;
                self.gone()?;
            }
            return Ok(true);
        }
        let is_there = |node: &Node| folders.iter().any(|folder| folder == node.folder());
        if !self.nodes.iter().all(is_there) {
            self.nodes.clear();
            return Ok(true);
        }
        folders.retain(|folder| self.nodes.iter().all(|node| node.folder() != folder));
        let mut grew = false;
        match self.open(&folders, Since::TheBegin) {
            Ok(more) => {
                grew = !more.is_empty();
                self.nodes.extend(more);
                // A node that began later may have a lower number.
                self.nodes.sort_by_key(Node::number);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let (mut lines, mut is_another) = (Vec::new(), false);
        for node in &mut self.nodes {
            match node.news()? {
                News::Lines(more, has_grown) => {
                    lines.extend(more);
                    grew |= has_grown;
                }
                News::Another => is_another = true,
            }
        }
        for line in lines {
            self.tell(&line)?;
        }
        if is_another {
            self.nodes.clear();
        }
        Ok(grew || is_another)
    }

    /// Tells how each node has ended.
    fn tell_end(&mut self, held: &[Held], ends: &[Option<Summary>]) -> Result<(), Stop> {
        let mut lines = Vec::new();
        for ((node, held), end) in self.nodes.iter().zip(held).zip(ends) {
            let folder = node.folder();
            lines.push(match end {
                Some(summary) => ended(folder, summary)?,
                None => {
                    let state = State::of(folder, *held, None)?;
                    format!("{}: {}", folder.display(), state.name())
                }
            });
        }
        for line in lines {
            self.tell(&printable(&line))?;
        }
        Ok(())
    }

    /// There is no process of it, which was said.
    fn gone(&mut self) -> Result<(), Stop> {
        self.is_gone = true;
        match self.wait {
            true => Ok(()),
            false => Err(Stop::Exit(EXIT_FAILED)),
        }
    }

    fn about_run(&mut self, text: &str) -> Result<(), Stop> {
        let line = format!("{}: {text}", self.run.display());
        self.tell(&printable(&line))
    }

    fn tell(&mut self, line: &str) -> Result<(), Stop> {
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::Exit(EXIT_SUCCESS)),
            Err(error) => Err(RunError::write(Path::new("standard output"))(error).into()),
        }
    }
}

/// Whether a process is about to begin a run in this folder, as far as locks tell.
fn is_claimed(run: &Path) -> bool {
    !claimed(run).is_empty()
}

/// Whether a file was gone that had just been there: one run replaces another.
fn is_passing(error: &RunError) -> bool {
    matches!(error, RunError::Read { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// The number of the node in this folder.
fn number(folder: &Path) -> Option<u32> {
    let name = folder.file_name()?.to_str()?;
    name.strip_prefix("node-")?.parse().ok()
}

/// How far a run is.
fn so_far(glance: &Glance) -> String {
    let mut parts = vec![glance.method.clone(), glance.crew()];
    parts.extend(match (glance.steps, glance.budget.steps) {
        (Some(steps), Some(all)) => Some(format!("step {steps} of {all}")),
        (Some(steps), None) => Some(format!("step {steps}")),
        (None, _) => None,
    });
    parts.extend(glance.metric.as_ref().map(|metric| metric.shown()));
    parts.join(", ")
}

/// What came of a run that has ended.
fn ended(folder: &Path, summary: &Summary) -> Result<String, RunError> {
    if let (End::Diverged, Some(since)) = (summary.end, summary.diverged_since) {
        let path = folder.to_owned();
        return Ok(RunError::Diverged { path, since }.to_string());
    }
    let record = RunFolder::look(folder).record()?;
    let line = outcome_line(folder, summary, record.metrics.first(), record.unit());
    Ok(match summary.end {
        End::Interrupted => format!("{line}; stopped, and can be continued"),
        End::Budget | End::Diverged => line,
    })
}

/// Whether a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A process has it open, or may have.
    GoesOn,
    /// It has ended.
    Over,
    /// It has no end, and no process has it open.
    Gone,
}

/// By the lock of each node, looked at first, and by whether it has an end. A run of which one node has ended
/// has ended: the others were lost.
fn verdict(nodes: impl Iterator<Item = (Held, bool)>) -> Verdict {
    let mut verdict = Verdict::Gone;
    for node in nodes {
        verdict = match (verdict, node) {
            (Verdict::GoesOn, _) | (_, (Held::Yes, _) | (Held::Unknown, false)) => Verdict::GoesOn,
            (_, (_, true)) => Verdict::Over,
            (before, (Held::No, false)) => before,
        };
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_over_when_no_process_has_it_and_a_node_has_ended() {
        use Held::{No, Unknown, Yes};
        for (nodes, expected) in [
            (&[(Yes, false)][..], Verdict::GoesOn),
            // It is about to exit, or continues what had ended.
            (&[(Yes, true)], Verdict::GoesOn),
            (&[(No, true)], Verdict::Over),
            (&[(No, false)], Verdict::Gone),
            (&[(Unknown, false)], Verdict::GoesOn),
            (&[(Unknown, true)], Verdict::Over),
            (&[(No, true), (Yes, false)], Verdict::GoesOn),
            (&[(No, false), (No, true)], Verdict::Over),
            (&[(No, true), (No, false)], Verdict::Over),
            (&[(No, false), (No, false)], Verdict::Gone),
            (&[(Unknown, true), (Unknown, false)], Verdict::GoesOn),
        ] {
            assert_eq!(verdict(nodes.iter().copied()), expected, "{nodes:?}");
        }
    }
}
