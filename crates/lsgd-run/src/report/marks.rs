//! What does not happen in every exchange: faults, restarts, checkpoints.

use std::collections::BTreeMap;

use super::thinning::Spent;
use crate::words::one_line;

/// Most marks of a kind that are kept.
const MARKS: usize = 256;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happened {
    /// A checkpoint was written.
    Checkpoint,
    /// The run was continued.
    Resumed,
    /// The node began where others were.
    Joined,
    /// Another node connected.
    NodeConnected,
    /// Another node was lost.
    NodeLost,
    /// A worker failed and started again.
    Restarted,
    /// A worker left: it had finished or failed.
    Left,
    /// A worker's losses were not finite.
    Diverged,
    /// A published vector was refused.
    Refused,
    /// A vector could not be fetched.
    NotFetched,
}

impl Happened {
    /// What a row of a chart is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Resumed => "run continued",
            Self::Joined => "node joined",
            Self::NodeConnected => "node connected",
            Self::NodeLost => "node lost",
            Self::Restarted => "worker restarted",
            Self::Left => "worker left",
            Self::Diverged => "worker diverged",
            Self::Refused => "vector refused",
            Self::NotFetched => "not fetched",
        }
    }
}

/// When something happened, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// When.
    pub at: Spent,
    /// Who and why, on one line; may be empty.
    pub text: String,
}

/// What happened of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct MarksOfKind {
    /// How often.
    pub count: u64,
    /// In order of time; if there were too many, every second, fourth, ... of them.
    pub marks: Vec<Mark>,
    /// One of so many is kept.
    every: u64,
}

/// All that happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marks(BTreeMap<Happened, MarksOfKind>);

impl Marks {
    /// Adds what happened; `text` is called if it is kept.
    pub fn add(&mut self, happened: Happened, at: Spent, text: impl FnOnce() -> String) {
        let of = self.0.entry(happened).or_insert_with(|| MarksOfKind {
            count: 0,
            marks: Vec::new(),
            every: 1,
        });
        if of.count.is_multiple_of(of.every) {
            if of.marks.len() == MARKS {
                let mut number = 0;
                of.marks.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                of.every *= 2;
            }
            if of.count.is_multiple_of(of.every) {
                let text = one_line(&text());
                of.marks.push(Mark { at, text });
            }
        }
        of.count += 1;
    }

    /// What happened, by kind.
    pub fn kinds(&self) -> impl Iterator<Item = (&Happened, &MarksOfKind)> {
        self.0.iter()
    }

    /// Whether nothing did.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_marks_every_second_stays_and_all_are_counted() {
        let mut marks = Marks::default();
        for number in 0..10_000_u32 {
            let at = Spent::new(f64::from(number), 0);
            marks.add(Happened::Checkpoint, at, || number.to_string());
        }
        let (_, of) = marks.kinds().next().unwrap();
        assert_eq!(of.count, 10_000);
        assert!(
            (MARKS / 2..=MARKS).contains(&of.marks.len()),
            "{}",
            of.marks.len()
        );
        let gaps = of
            .marks
            .windows(2)
            .map(|pair| pair[1].at.seconds - pair[0].at.seconds);
        assert!(
            gaps.clone().all(|gap| gap == 64.0),
            "{:?}",
            gaps.collect::<Vec<_>>()
        );
    }
}
