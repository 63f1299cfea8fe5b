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
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Leader => f.write_str("leader"),
            Which::Mean => f.write_str("mean"),
            Which::MeanOfAllNodes => f.write_str("mean-of-all-nodes"),
            Which::Worker(rank) => write!(f, "worker-{rank}"),
        }
    }
}

/// A word that is no [`Which`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give leader, mean, mean-of-all-nodes or worker-K, such as worker-0")]
pub struct WhichError;

impl FromStr for Which {
    type Err = WhichError;

    fn from_str(word: &str) -> Result<Self, WhichError> {
        match word {
            "leader" => Ok(Which::Leader),
            "mean" => Ok(Which::Mean),
            "mean-of-all-nodes" => Ok(Which::MeanOfAllNodes),
            _ => {
                let rank = word.strip_prefix("worker-").ok_or(WhichError)?;
                // `parse` would take a sign.
                if !rank.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(WhichError);
                }
                rank.parse().map(Which::Worker).map_err(|_| WhichError)
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
