//! Progress of a run for the user: bars on a terminal, plain lines in a log, or nothing.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lsgd_core::WorkerId;

use crate::observer::{Observer, Stepped};
use crate::storage::{Evaluation, MetricInfo, RunFolder};
use crate::train::Setup;
use crate::words::count;

/// Minimum time between two progress lines in a log.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The style of the output.
#[derive(Debug)]
enum Show {
    Bar(ProgressBar),
    Lines { last: Instant },
    Nothing,
}

/// Shows a run on standard error.
#[derive(Debug)]
pub struct Progress {
    show: Show,
    /// Last training loss and steps of each worker.
    workers: Vec<(f32, u64)>,
    step_size: u64,
    unit: &'static str,
    metrics: Vec<MetricInfo>,
    /// Steps that all workers have taken since they started, and the training time at that start,
    /// in seconds.
    taken: u64,
    began_at: f64,
    /// Steps of all workers in the budget, or seconds if it has no steps.
    length: Length,
    leader: Option<WorkerId>,
    /// The last value of the task's first metric.
    metric: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    Steps(u64),
    Seconds(f64),
}

impl Progress {
    /// A bar if standard error is a suitable terminal, otherwise lines.
    pub fn on_stderr() -> Self {
        let bar = ProgressBar::no_length();
        // A bar would be invisible without a terminal, or if `TERM` is unset or `dumb`.
        Self::new(match bar.is_hidden() {
            false => Show::Bar(bar),
            true => Show::Lines {
                last: Instant::now(),
            },
        })
    }

    /// No output.
    pub fn quiet() -> Self {
        Self::new(Show::Nothing)
    }

    fn new(show: Show) -> Self {
        Self {
            show,
            workers: Vec::new(),
            step_size: 0,
            unit: "examples",
            metrics: Vec::new(),
            taken: 0,
            began_at: 0.0,
            length: Length::Steps(0),
            leader: None,
            metric: None,
        }
    }
}

impl Observer for Progress {
    /// A run starts.
    fn began(&mut self, setup: &Setup, folder: &RunFolder) {
        let workers = setup.workers();
        self.workers = vec![(f32::NAN, 0); workers];
        self.step_size = setup.facts.step_size;
        self.unit = setup.facts.unit;
        self.metrics = setup.facts.metrics.iter().map(MetricInfo::from).collect();
        self.length = match (setup.plan.steps, setup.plan.seconds) {
            (Some(steps), _) => Length::Steps(steps * workers as u64),
            (None, Some(seconds)) => Length::Seconds(seconds),
            (None, None) => Length::Steps(0),
        };
        if let Show::Bar(bar) = &self.show {
            bar.set_length(self.position(f64::INFINITY));
            // With an invalid template indicatif would show its default.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
        }
        let mut devices: Vec<&str> = setup.devices.iter().map(|d| d.name.as_str()).collect();
        devices.dedup();
        self.line(&format!(
            "{}: {}, {} parameters, {}, {} on {}",
            folder.path().display(),
            setup.facts.title,
            setup.layout.parameter_len(),
            setup.method.name(),
            count(workers, "worker"),
            devices.join(", "),
        ));
    }

    /// Workers start at this step and training time in seconds: rates are measured from there on.
    fn starts(&mut self, step: u64, seconds: f64) {
        self.workers.fill((f32::NAN, step));
        (self.taken, self.began_at) = (0, seconds);
    }

    /// A worker has taken a step, `seconds` into training.
    fn stepped(&mut self, step: Stepped) {
        let Stepped {
            worker,
            step,
            loss,
            seconds,
        } = step;
        self.taken += 1;
        if let Some(of_worker) = self.workers.get_mut(worker) {
            *of_worker = (loss, step);
        }
        match &self.show {
            Show::Bar(bar) => {
                bar.set_message(self.state(seconds));
                bar.set_position(self.position(seconds));
            }
            Show::Lines { last } if last.elapsed() >= BETWEEN_LINES => {
                self.line(&self.state(seconds));
                self.show = Show::Lines {
                    last: Instant::now(),
                };
            }
            Show::Lines { .. } | Show::Nothing => {}
        }
    }

    /// An election was held.
    fn elected(&mut self, leader: Option<WorkerId>) {
        self.leader = leader;
    }

    /// A line for the user.
    fn notice(&mut self, text: &str) {
        self.line(text);
    }

    /// A line for the user, even if quiet was requested.
    fn warn(&mut self, text: &str) {
        match &self.show {
            Show::Bar(_) | Show::Lines { .. } => self.line(text),
            Show::Nothing => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// All workers have been evaluated.
    fn evaluated(&mut self, evaluation: &Evaluation) {
        let headline = evaluation.headline();
        let first = self.metrics.first();
        self.metric = first.and_then(|metric| headline?.1.get(&metric.name));
        self.line(&evaluation.line(&self.metrics));
    }

    /// The run has ended.
    fn ended(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

impl Progress {
    fn steps(&self) -> u64 {
        self.workers.iter().map(|(_, step)| step).sum()
    }

    /// The progress of the run, out of `position(infinity)`.
    fn position(&self, seconds: f64) -> u64 {
        match self.length {
            Length::Steps(steps) if seconds.is_infinite() => steps,
            Length::Steps(_) => self.steps(),
            Length::Seconds(budget) => seconds.min(budget) as u64,
        }
    }

    fn state(&self, seconds: f64) -> String {
        let steps = self.steps();
        let (sum, count) = self
            .workers
            .iter()
            .filter(|(loss, _)| loss.is_finite())
            .fold((0.0, 0), |(sum, count), (loss, _)| (sum + loss, count + 1));
        let per_second = self.taken as f64 / (seconds - self.began_at);
        let left = match self.length {
            Length::Steps(all) => all.saturating_sub(steps) as f64 / per_second,
            Length::Seconds(budget) => budget - seconds,
        };
        let left = Duration::from_secs(left.clamp(0.0, 1e9) as u64);
        format!(
            "step {}  loss {}{}  {:.0} {}/s  leader {}  {} left",
            steps / self.workers.len().max(1) as u64,
            match count {
                0 => String::from("diverged"),
                _ => format!("{:.3}", sum / count as f32),
            },
            self.metrics.first().map_or_else(String::new, |metric| {
                let value = self
                    .metric
                    .map_or_else(|| String::from("-"), |value| metric.shown(value));
                format!("  {} {value}", metric.name)
            }),
            per_second * self.step_size as f64,
            self.unit,
            self.leader
                .map_or_else(|| String::from("-"), |id| format!("worker {}", id.worker)),
            humantime::format_duration(left),
        )
    }

    fn line(&self, text: &str) {
        match &self.show {
            Show::Bar(bar) => bar.println(text),
            // A log that cannot be written (its reader is gone, its disk is full) does not end a
            // run: the run's folder has the record.
            Show::Lines { .. } => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            Show::Nothing => {}
        }
    }
}
