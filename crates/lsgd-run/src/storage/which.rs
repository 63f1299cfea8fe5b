//! The snapshots of a checkpoint.

use std::fmt;
use std::str::FromStr;

/// The parameters that a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The leader's: of the worker with the lowest training loss.
    Leader,
    /// The replica mean: the mean over all workers, with re-estimated BatchNorm statistics.
    Mean,
    /// The mean over the workers of all nodes, at the end of a run of several.
    MeanOfAllNodes,
    /// One worker's, by its number from 0.
    Worker(usize),
    /// The mean of all workers' moving averages, with re-estimated BatchNorm statistics.
    Ema,
    /// The mean of the last replica means, with re-estimated BatchNorm statistics.
    Lawa,
    /// One worker's moving average, with its own BatchNorm statistics.
    WorkerEma(usize),
}

impl Which {
    /// For a mean over the workers: the values of one of them, by its number, that it is the mean of.
    pub fn of_workers(self) -> Option<fn(usize) -> Self> {
        match self {
            Which::Mean => Some(Which::Worker),
            Which::Ema => Some(Which::WorkerEma),
            _ => None,
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Leader => f.write_str("leader"),
            Which::Mean => f.write_str("mean"),
            Which::MeanOfAllNodes => f.write_str("mean-of-all-nodes"),
            Which::Worker(rank) => write!(f, "worker-{rank}"),
            Which::Ema => f.write_str("ema"),
            Which::Lawa => f.write_str("lawa"),
            Which::WorkerEma(rank) => write!(f, "worker-{rank}-ema"),
        }
    }
}

/// A word that is no [`Which`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "give leader, mean, mean-of-all-nodes, worker-K, such as worker-0, ema, lawa or worker-K-ema"
)]
pub struct WhichError;

impl FromStr for Which {
    type Err = WhichError;

    fn from_str(word: &str) -> Result<Self, WhichError> {
        match word {
            "leader" => Ok(Which::Leader),
            "mean" => Ok(Which::Mean),
            "mean-of-all-nodes" => Ok(Which::MeanOfAllNodes),
            "ema" => Ok(Which::Ema),
            "lawa" => Ok(Which::Lawa),
            _ => {
                let rank = word.strip_prefix("worker-").ok_or(WhichError)?;
                let (rank, which): (_, fn(usize) -> Which) = match rank.strip_suffix("-ema") {
                    Some(rank) => (rank, Which::WorkerEma),
                    None => (rank, Which::Worker),
                };
                // `parse` would take a sign.
                if !rank.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(WhichError);
                }
                rank.parse().map(which).map_err(|_| WhichError)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_is_read_as_it_is_written() {
        for which in [
            Which::Leader,
            Which::Mean,
            Which::MeanOfAllNodes,
            Which::Worker(0),
            Which::Worker(1023),
            Which::Ema,
            Which::Lawa,
            Which::WorkerEma(0),
            Which::WorkerEma(17),
        ] {
            assert_eq!(which.to_string().parse(), Ok(which));
        }
        let wrong = [
            "",
            "Leader",
            "worker",
            "worker-",
            "worker--1",
            "worker-+1",
            "worker-1x",
            "worker-1e9",
            "worker-ema",
            "worker--ema",
            "worker-1-ema-ema",
            "ema-1",
        ];
        for word in wrong {
            assert_eq!(word.parse::<Which>(), Err(WhichError), "{word}");
        }
        assert_eq!(
            "worker-99999999999999999999999".parse::<Which>(),
            Err(WhichError)
        );
    }
}
