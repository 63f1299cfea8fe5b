//! Injects the faults of a run when they are due, and logs what the nodes' records say meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::followed::Followed;
use crate::chaos::log::{Log, What};
use crate::chaos::records::Run;
use crate::chaos::usage::{Sample, to_csv, usage};
use crate::chaos::{Act, Fault, Links, Trouble};
use crate::cli::node_process::{Action, LaunchEvent};
use crate::error::RunError;
use crate::storage::write_whole;
use crate::train::SignalRequest;

/// How often the nodes' records are read.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is looked what the processes use.
const SAMPLE: Duration = Duration::from_secs(2);

/// A change of a node's process.
pub(super) enum Change {
    Started {
        node: u32,
        process: u32,
        again: bool,
    },
    Ended {
        node: u32,
        end: String,
    },
}

/// The faults of a run, and its log.
pub(super) struct Storm {
    began: Instant,
    /// The first exchange of any node.
    first_exchange: Option<Instant>,
    /// Those that have not been made, the next one last, each with its number.
    to_come: Vec<(usize, Fault)>,
    /// Those that last, with their ends.
    lasting: Vec<(Instant, usize, Act)>,
    links: Arc<Links>,
    launch: Sender<LaunchEvent>,
    /// The folder of the run.
    folder: PathBuf,
    followed: Vec<Followed>,
    /// The process of each node, while it runs.
    processes: Vec<Option<u32>>,
    log: Log,
    samples: Vec<Sample>,
    usage: PathBuf,
}

impl Storm {
    /// For a run of `nodes` nodes whose launch receives `launch`. The logs go to `folder`.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn begin(
        folder: &Path,
        run: &Run,
        nodes: u32,
        links: Arc<Links>,
        launch: Sender<LaunchEvent>,
    ) -> Result<Self, RunError> {
        let of_run = folder.join(&run.name);
        let log = run.log(folder);
        let logs = log.parent().unwrap_or(folder);
        fs::create_dir_all(logs).map_err(RunError::write(logs))?;
        let follow = |node| Followed::new(node, &of_run.join(format!("node-{node}")));
        Ok(Self {
            began: Instant::now(),
            first_exchange: None,
            to_come: run.faults.iter().copied().enumerate().rev().collect(),
            lasting: Vec::new(),
            links,
            launch,
            followed: (1..=nodes).map(follow).collect(),
            processes: vec![None; nodes as usize],
            log: Log::create(log)?,
            samples: Vec::new(),
            usage: run.usage(folder),
            folder: of_run,
        })
    }

    /// Runs until the launch is over, which then sends no more changes. Once it `is_stopped`, no more
    /// faults are injected, and those that last are healed. If the log cannot be written, it ends the
    /// launch.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`] or [`RunError::Read`].
    pub fn run(
        mut self,
        changes: &Receiver<Change>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(), RunError> {
        let outcome = self.go_on(changes, is_stopped);
        if outcome.is_err() {
            // If nobody receives it, the launch is over.
            let _ = self.launch.send(LaunchEvent::Signal(SignalRequest::End));
        }
        self.heal_all()?;
        outcome?;
        self.look()?;
        self.log.flush()?;
        write_whole(&self.usage, to_csv(&self.samples).as_bytes())
    }

    fn go_on(
        &mut self,
        changes: &Receiver<Change>,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(), RunError> {
        let (mut look, mut sample) = (self.began, self.began);
        loop {
            let next = self.next().into_iter().chain([look, sample]).min();
            let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
            match changes.recv_timeout(wait.unwrap_or(LOOK)) {
                Ok(change) => self.on_change(change)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            if look <= now {
                self.look()?;
                self.log.flush()?;
                look = now + LOOK;
            }
            if sample <= now {
                self.sample();
                sample = now + SAMPLE;
            }
            if is_stopped() {
                self.to_come.clear();
                self.heal_all()?;
            }
            self.inject_due(now)?;
            self.heal_due(now)?;
        }
    }

    /// When a fault is due next, or healed.
    fn next(&self) -> Option<Instant> {
        let fault = self.to_come.last().and_then(|(_, fault)| self.due(fault));
        let healed = self.lasting.iter().map(|(until, ..)| *until);
        healed.chain(fault).min()
    }

    /// When a fault is due, once the run has had its first exchange.
    fn due(&self, fault: &Fault) -> Option<Instant> {
        Some(self.first_exchange? + Duration::from_secs_f64(fault.at))
    }

    fn tell(&mut self, what: What) -> Result<(), RunError> {
        self.log.add(self.began.elapsed().as_secs_f64(), what)
    }

    fn on_change(&mut self, change: Change) -> Result<(), RunError> {
        match change {
            Change::Started {
                node,
                process,
                again,
            } => {
                self.processes[node as usize - 1] = Some(process);
                self.tell(What::Started {
                    node,
                    process,
                    again,
                })
            }
            Change::Ended { node, end } => {
                // What it had written before stands before its end in the log.
                self.look()?;
                self.processes[node as usize - 1] = None;
                self.tell(What::Ended { node, end })
            }
        }
    }

    /// Logs what the nodes' records say.
    fn look(&mut self) -> Result<(), RunError> {
        let folder = &self.folder;
        let news = self.followed.iter_mut().map(|node| node.news(folder));
        let news: Vec<Vec<What>> = news.collect::<Result<_, _>>()?;
        for what in news.into_iter().flatten() {
            if let What::Trained { .. } = what {
                self.first_exchange.get_or_insert_with(Instant::now);
            }
            self.tell(what)?;
        }
        Ok(())
    }

    fn sample(&mut self) {
        let at = self.began.elapsed().as_secs_f64();
        let own = [Some(std::process::id())];
        let processes = own.iter().chain(&self.processes);
        for (node, process) in (0..).zip(processes) {
            if let Some(process) = *process
                && let Some(usage) = usage(process)
            {
                self.samples.push(Sample {
                    at,
                    node,
                    process,
                    usage,
                });
            }
        }
    }

    fn inject_due(&mut self, now: Instant) -> Result<(), RunError> {
        while let Some((number, fault)) = self.to_come.last().copied()
            && self.due(&fault).is_some_and(|due| due <= now)
        {
            self.to_come.pop();
            let act = fault.act;
            let is_there = |node: u32| self.processes[node as usize - 1].is_some();
            if !act.kind().is_of_a_link() && !act.node().is_none_or(is_there) {
                self.tell(What::Missed { number })?;
                continue;
            }
            self.tell(What::Fault { number, act })?;
            self.inject(act);
            if let Some(seconds) = act.seconds() {
                let until = now + Duration::from_secs_f64(seconds);
                self.lasting.push((until, number, act));
            }
        }
        Ok(())
    }

    fn inject(&self, act: Act) {
        match act {
            Act::Kill { node } => self.act(node, Action::Kill),
            Act::KillAll => (1..).zip(&self.processes).for_each(|(node, _)| {
                self.act(node, Action::Kill);
            }),
            Act::ClockJump { node, jump } => {
                let millis = (jump * 1000.0).round() as i64;
                // If nobody receives it, the launch is over.
                let jumps = LaunchEvent::JumpClock(node as usize - 1, millis);
                let _ = self.launch.send(jumps);
                self.act(node, Action::Kill);
            }
            Act::Stop { node, .. } => self.act(node, Action::Freeze),
            Act::Panic { node, worker } => self.order(node, &format!("panic {worker}")),
            Act::NanGradient { node, worker } => self.order(node, &format!("nan {worker}")),
            Act::DiskFull { node, seconds } => {
                self.order(node, &format!("disk full {}", seconds.ceil()));
            }
            Act::DiskSlow {
                node,
                seconds,
                millis,
            } => self.order(node, &format!("disk slow {} {millis}", seconds.ceil())),
            Act::Cut { .. } | Act::CutOneWay { .. } | Act::Delay { .. } | Act::Loss { .. } => {
                for (from, to, trouble) in troubles(act) {
                    self.links.trouble(from, to, trouble);
                }
            }
        }
    }

    fn heal_due(&mut self, now: Instant) -> Result<(), RunError> {
        let due: Vec<_> = self
            .lasting
            .extract_if(.., |(until, ..)| *until <= now)
            .collect();
        for (_, number, act) in due {
            self.heal(act);
            self.tell(What::Healed { number })?;
        }
        Ok(())
    }

    fn heal(&self, act: Act) {
        if let Act::Stop { node, .. } = act {
            let others = self.lasting.iter();
            let mut others = others
                .filter(|(.., other)| matches!(other, Act::Stop { node: of, .. } if *of == node));
            if others.next().is_none() {
                self.act(node, Action::Thaw);
            }
        }
        for (from, to, trouble) in troubles(act) {
            self.links.heal(from, to, trouble);
        }
    }

    /// The run is over, or about to end: nothing is to stand in its way.
    fn heal_all(&mut self) -> Result<(), RunError> {
        let lasting = std::mem::take(&mut self.lasting);
        // All of them, even if the log cannot be written.
        lasting.iter().for_each(|(.., act)| self.heal(*act));
        let mut healed = lasting.into_iter().map(|(_, number, _)| number);
        healed.try_for_each(|number| self.tell(What::Healed { number }))
    }

    fn act(&self, node: u32, action: Action) {
        // If nobody receives it, the launch is over.
        let _ = self.launch.send(LaunchEvent::Do(node as usize - 1, action));
    }

    fn order(&self, node: u32, order: &str) {
        self.act(node, Action::Tell(order.to_owned()));
    }
}

/// What is wrong with which links, from and to nodes counted from 0.
fn troubles(act: Act) -> Vec<(usize, usize, Trouble)> {
    let (trouble, both) = match act {
        Act::Cut { .. } => (Trouble::Cut, true),
        Act::CutOneWay { .. } => (Trouble::Cut, false),
        Act::Delay { millis, .. } => (Trouble::Delay(Duration::from_millis(millis)), true),
        Act::Loss { percent, .. } => (Trouble::Loss(percent / 100.0), true),
        _ => return Vec::new(),
    };
    let (Some(one), Some(other)) = (act.node(), act.peer()) else {
        return Vec::new();
    };
    let (one, other) = (one as usize - 1, other as usize - 1);
    match both {
        true => vec![(one, other, trouble), (other, one, trouble)],
        false => vec![(one, other, trouble)],
    }
}
