//! Names of a run's checkpoints.

use std::fmt;
use std::str::FromStr;

/// One of a run's checkpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckpointName {
    /// The last one.
    #[default]
    Newest,
    /// The one with the best evaluation.
    Best,
    /// The one of this step.
    Step(u64),
}

impl fmt::Display for CheckpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Best => f.write_str("best"),
            Self::Step(step) => write!(f, "{step}"),
        }
    }
}

/// A word that is no [`CheckpointName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give newest, best or a step, such as 1000")]
pub struct CheckpointNameError;

impl FromStr for CheckpointName {
    type Err = CheckpointNameError;

    fn from_str(word: &str) -> Result<Self, CheckpointNameError> {
        match word {
            "newest" => Ok(Self::Newest),
            "best" => Ok(Self::Best),
            _ => {
                let step = word.strip_prefix("step-").unwrap_or(word);
                // `parse` would take a sign.
                if !step.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(CheckpointNameError);
                }
                step.parse()
                    .map(Self::Step)
                    .map_err(|_| CheckpointNameError)
            }
        }
    }
}

impl CheckpointName {
    /// Whether it names the checkpoint of this step, if it names none that is newer.
    pub(super) fn names(self, step: u64, is_best: bool) -> bool {
        match self {
            Self::Newest => true,
            Self::Best => is_best,
            Self::Step(named) => named == step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_as_it_is_shown() {
        for name in [
            CheckpointName::Newest,
            CheckpointName::Best,
            CheckpointName::Step(0),
            CheckpointName::Step(u64::MAX),
        ] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert_eq!("step-12".parse(), Ok(CheckpointName::Step(12)));
        for word in [
            "",
            "last",
            "-1",
            "+1",
            "1e3",
            "step-",
            "99999999999999999999",
        ] {
            let named = word.parse::<CheckpointName>();
            assert_eq!(named, Err(CheckpointNameError), "{word}");
        }
    }
}
