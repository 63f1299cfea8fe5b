//! What a person sees of a run: bars on a terminal, plain lines in a log, or nothing.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lsgd_core::Rank;

use crate::run::{Evaluation, RunFolder};
use crate::train::{Score, Setup};
use crate::words::count;

/// Least time between two lines in a log that tell of steps.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// How progress is shown.
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
    batch_size: usize,
    /// Steps that all have taken since they began, and when that was, in seconds of training.
    taken: u64,
    began_at: f64,
    /// Steps of all workers in the budget, or seconds where it has no steps.
    length: Length,
    leader: Option<Rank>,
    error: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    Steps(u64),
    Seconds(f64),
}

impl Progress {
    /// A bar where standard error is a terminal that can show one, lines elsewhere.
    pub fn on_stderr() -> Self {
        let bar = ProgressBar::no_length();
        // Nothing of it would be seen where there is no terminal, or `TERM` is unset or `dumb`.
        Self::new(match bar.is_hidden() {
            false => Show::Bar(bar),
            true => Show::Lines {
                last: Instant::now(),
            },
        })
    }

    /// Nothing at all.
    pub fn quiet() -> Self {
        Self::new(Show::Nothing)
    }

    fn new(show: Show) -> Self {
        Self {
            show,
            workers: Vec::new(),
            batch_size: 0,
            taken: 0,
            began_at: 0.0,
            length: Length::Steps(0),
            leader: None,
            error: None,
        }
    }

    /// A run begins.
    pub fn began(&mut self, setup: &Setup, folder: &RunFolder) {
        let workers = setup.workers();
        self.workers = vec![(f32::NAN, 0); workers];
        self.batch_size = setup.config.data.batch_size;
        self.length = match (setup.plan.steps, setup.plan.seconds) {
            (Some(steps), _) => Length::Steps(steps * workers as u64),
            (None, Some(seconds)) => Length::Seconds(seconds),
            (None, None) => Length::Steps(0),
        };
        if let Show::Bar(bar) = &self.show {
            bar.set_length(self.position(f64::INFINITY));
            // A template that indicatif does not take would show nothing but its default.
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
        }
        let mut devices: Vec<&str> = setup.devices.iter().map(|d| d.name.as_str()).collect();
        devices.dedup();
        self.line(&format!(
            "{}: {}, {} parameters, {} on {}, {} on {}",
            folder.path().display(),
            setup.config.model.name,
            setup.layout.parameter_len(),
            setup.method.name(),
            serde_name(&setup.config.data.name),
            count(workers, "worker"),
            devices.join(", "),
        ));
    }

    /// Workers begin at this step, where the run has been trained for so many seconds: rates are of
    /// what they do from there on.
    pub fn starts(&mut self, step: u64, seconds: f64) {
        self.workers.fill((f32::NAN, step));
        (self.taken, self.began_at) = (0, seconds);
    }

    /// A worker has taken a step, `seconds` into training.
    pub fn stepped(&mut self, worker: usize, step: u64, loss: f32, seconds: f64) {
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

    /// An election is over.
    pub fn led(&mut self, leader: Option<Rank>) {
        self.leader = leader;
    }

    /// Something else that a person should know.
    pub fn notice(&mut self, text: &str) {
        self.line(text);
    }

    /// Something that a person should know who asked for quiet, too.
    pub fn warn(&self, text: &str) {
        match &self.show {
            Show::Bar(_) | Show::Lines { .. } => self.line(text),
            Show::Nothing => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    /// All have been evaluated.
    pub fn evaluated(&mut self, evaluation: &Evaluation) {
        let leader = evaluation.leader.as_ref().and_then(|leader| leader.test);
        self.error = leader.or(evaluation.replica_mean).map(|score| score.error);
        let told = |name: &str, score: Option<Score>| match score {
            Some(score) => format!("{name} {:.2} % (loss {:.3})", score.error, score.loss),
            None => format!("{name} none"),
        };
        self.line(&format!(
            "step {}, epoch {:.2}: test error of {}, {}",
            evaluation.step,
            evaluation.epoch,
            told("the leader", leader),
            told("the replica mean", evaluation.replica_mean),
        ));
    }

    /// The run is over.
    pub fn ended(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    fn steps(&self) -> u64 {
        self.workers.iter().map(|(_, step)| step).sum()
    }

    /// How far the run has come, of `position(infinity)`.
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
            "step {}  loss {}  error {}  {:.0} images/s  leader {}  {} left",
            steps / self.workers.len().max(1) as u64,
            match count {
                0 => String::from("diverged"),
                _ => format!("{:.3}", sum / count as f32),
            },
            self.error
                .map_or_else(|| String::from("-"), |error| format!("{error:.2} %")),
            per_second * self.batch_size as f64,
            self.leader.map_or_else(
                || String::from("-"),
                |rank| format!("worker {}", rank.worker)
            ),
            humantime::format_duration(left),
        )
    }

    fn line(&self, text: &str) {
        match &self.show {
            Show::Bar(bar) => bar.println(text),
            // A log that cannot be written (its reader is gone, its disk is full) is no reason to
            // end a run: the run's folder has the record.
            Show::Lines { .. } => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            Show::Nothing => {}
        }
    }
}

/// A config word as the config spells it.
fn serde_name(word: &impl serde::Serialize) -> String {
    serde_json::to_value(word)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
