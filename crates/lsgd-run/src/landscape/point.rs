//! Which vectors of a checkpoint span the plane.

use std::fmt;
use std::str::FromStr;

use lsgd_core::Source;

use crate::storage::{CheckpointState, Which};

const GLOBAL_LEADER: &str = "global-leader";

/// A vector of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// One that `eval` and `export` take too.
    Of(Which),
    /// The parameters that the last exchange with other nodes delivered to this one: those of the leader of all
    /// nodes.
    GlobalLeader,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(which) => which.fmt(f),
            Self::GlobalLeader => f.write_str(GLOBAL_LEADER),
        }
    }
}

/// The three points of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Three(pub [Point; 3]);

/// A list that is no [`Three`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ThreeError {
    /// Another number of points.
    #[error("{0} of three points; separate them by commas, as in worker-0,worker-1,leader")]
    Count(usize),
    /// A word that is no point.
    #[error(
        "give three of leader, global-leader, mean, mean-of-all-nodes, worker-K, such as worker-0, ema, lawa \
         and worker-K-ema"
    )]
    Word,
}

impl FromStr for Three {
    type Err = ThreeError;

    fn from_str(list: &str) -> Result<Self, ThreeError> {
        let point = |word: &str| match word.trim() {
            GLOBAL_LEADER => Ok(Point::GlobalLeader),
            word => word.parse().map(Point::Of).map_err(|_| ThreeError::Word),
        };
        let points: Vec<Point> = list.split(',').map(point).collect::<Result<_, _>>()?;
        let count = points.len();
        let points = points.try_into().map_err(|_| ThreeError::Count(count))?;
        Ok(Self(points))
    }
}

/// What is in a checkpoint to choose three points from.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    /// The workers with finite values, each with its training loss if that is known.
    workers: Vec<(usize, Option<f64>)>,
    /// The worker that leads its node.
    leader: Option<usize>,
    /// Whether the leader of all nodes is here, and is not the one of this node.
    has_other_leader: bool,
    /// A mean over time, which is not on the line between two workers.
    average: Option<Which>,
}

impl Choices {
    /// What is in this checkpoint of node `node`, from 0.
    pub(super) fn of(state: &CheckpointState, node: u32) -> Self {
        let evaluation = state.evaluation.as_ref();
        let scores = evaluation.map_or(&[][..], |evaluation| &evaluation.workers);
        // Of a run that had lost workers it has fewer, whose numbers are those of their own nodes.
        let score = |worker: usize| match scores.len() == state.workers {
            true => scores.get(worker),
            false => None,
        };
        let workers = (0..state.workers).filter(|worker| {
            let is_held = state.steps.get(*worker).is_some_and(Option::is_some);
            is_held && score(*worker).is_none_or(|score| score.test.is_some())
        });
        let delivered = state.delivered();
        let own = delivered.is_some_and(|source| match (source, state.leader) {
            (Source::Worker { id, .. }, Some(leader)) => {
                (id.node, id.worker as usize) == (node, leader)
            }
            _ => false,
        });
        let has = |which: Which, is_there: bool| is_there.then_some(which);
        Self {
            workers: workers
                .map(|worker| (worker, score(worker).and_then(|score| score.training_loss)))
                .collect(),
            leader: state.leader,
            has_other_leader: delivered.is_some() && !own,
            average: evaluation.and_then(|evaluation| {
                has(Which::Ema, evaluation.ema.is_some())
                    .or(has(Which::Lawa, evaluation.lawa.is_some()))
            }),
        }
    }

    /// The worker with the highest loss, the leader of the node and that of all nodes, as the paper has
    /// them; where these are one, the two workers with the highest losses and the leader; of two workers,
    /// both and what is averaged over time. `None` if there are no three that could span a plane.
    pub(super) fn three(&self) -> Option<Three> {
        let mut others = self.workers.clone();
        // Workers whose loss is not known are in order of their numbers.
        let loss = |(_, loss): &(usize, Option<f64>)| loss.unwrap_or(f64::NEG_INFINITY);
        others.sort_by(|one, other| loss(other).total_cmp(&loss(one)));
        let is_leader = |(worker, _): &(usize, Option<f64>)| Some(*worker) == self.leader;
        let leader = others.iter().position(is_leader);
        // Nobody led: the one with the lowest loss stands for the leader.
        let leader = leader.or(others.len().checked_sub(1))?;
        let (leader, _) = others.remove(leader);
        let leader = match Some(leader) == self.leader {
            true => Which::Leader,
            false => Which::Worker(leader),
        };
        let mut others = others.into_iter().map(|(worker, _)| Which::Worker(worker));
        let (first, second) = (others.next()?, others.next());
        let three = match (self.has_other_leader, second, self.average) {
            (true, ..) => [Point::Of(first), Point::Of(leader), Point::GlobalLeader],
            (false, Some(second), _) => [first, second, leader].map(Point::Of),
            (false, None, Some(average)) => [first, leader, average].map(Point::Of),
            (false, None, None) => return None,
        };
        Some(Three(three))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_points_are_read_as_they_are_written() {
        let three = |list: &str| list.parse::<Three>().map(|Three(points)| points);
        let of = |points: [Point; 3]| points.map(|point| point.to_string()).join(",");
        for list in [
            "worker-0,worker-12,leader",
            "mean,global-leader,worker-1-ema",
        ] {
            assert_eq!(of(three(list).unwrap()), list);
        }
        assert_eq!(three("mean, ema ,lawa"), three("mean,ema,lawa"));
        for (list, expected) in [
            ("leader", ThreeError::Count(1)),
            ("leader,mean,ema,lawa", ThreeError::Count(4)),
            ("leader,mean,", ThreeError::Word),
            ("leader,mean,best", ThreeError::Word),
            ("leader,mean,worker-x", ThreeError::Word),
        ] {
            assert_eq!(three(list), Err(expected), "{list}");
        }
    }

    #[test]
    fn the_least_surprising_three_are_chosen() {
        let losses = |losses: &[f64]| {
            let losses = losses.iter().map(|loss| Some(*loss)).enumerate();
            losses.collect::<Vec<_>>()
        };
        let chosen = |choices: &Choices| {
            let three = choices.three().map(|Three(points)| points);
            three.map(|points| points.map(|point| point.to_string()).join(","))
        };
        let mut choices = Choices {
            workers: losses(&[0.3, 0.1, 0.4, 0.2]),
            leader: Some(1),
            ..Choices::default()
        };
        assert_eq!(
            chosen(&choices).as_deref(),
            Some("worker-2,worker-0,leader")
        );
        choices.has_other_leader = true;
        assert_eq!(
            chosen(&choices).as_deref(),
            Some("worker-2,leader,global-leader")
        );
        choices.leader = None;
        choices.has_other_leader = false;
        assert_eq!(
            chosen(&choices).as_deref(),
            Some("worker-2,worker-0,worker-1")
        );
        choices.workers = vec![(0, None), (1, None), (3, None)];
        choices.leader = Some(1);
        assert_eq!(
            chosen(&choices).as_deref(),
            Some("worker-0,worker-3,leader")
        );
        choices.workers.truncate(2);
        assert_eq!(chosen(&choices), None);
        choices.average = Some(Which::Ema);
        assert_eq!(chosen(&choices).as_deref(), Some("worker-0,leader,ema"));
        choices.has_other_leader = true;
        assert_eq!(
            chosen(&choices).as_deref(),
            Some("worker-0,leader,global-leader")
        );
        choices.workers.truncate(1);
        assert_eq!(chosen(&choices), None);
        assert_eq!(Choices::default().three(), None);
    }
}
