//! The keys of a run's `config.toml` that a glance shows.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use crate::error::RunError;
use crate::storage::read_bounded;

/// Largest config that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// The tables, as far as they are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Shown {
    /// `[method]`
    pub method: Method,
    /// `[budget]`
    pub budget: Budget,
}

/// `[method]`
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Method {
    /// Its name.
    pub name: String,
}

/// `[budget]`: how long a run is to train; the keys that are not set are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Steps of a worker.
    pub steps: Option<u64>,
    /// Epochs of the whole data.
    pub epochs: Option<f64>,
    /// Minutes of training.
    pub minutes: Option<f64>,
}

impl Budget {
    /// The share of it that is used up, from 0 to 1, after so many steps, epochs and seconds, as far as
    /// they are known.
    pub fn used(
        self,
        steps: Option<u64>,
        epochs: Option<f64>,
        seconds: Option<f64>,
    ) -> Option<f64> {
        let share = |spent: Option<f64>, all: Option<f64>| Some(spent? / all?);
        let of_steps = share(
            steps.map(|steps| steps as f64),
            self.steps.map(|steps| steps as f64),
        );
        let of_minutes = share(seconds.map(|seconds| seconds / 60.0), self.minutes);
        let used = of_steps.or(share(epochs, self.epochs)).or(of_minutes)?;
        used.is_finite().then_some(used.clamp(0.0, 1.0))
    }
}

/// Reads the config of the run in `folder`; of one that has none yet, nothing.
///
/// # Errors
///
/// [`RunError::Read`], or [`RunError::Damaged`] if it is not TOML or a key has another type.
pub fn read(folder: &Path) -> Result<Shown, RunError> {
    let path = folder.join("config.toml");
    let text = match read_bounded(&path, MAX_CONFIG) {
        Err(RunError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Shown::default());
        }
        text => text?,
    };
    let text = std::str::from_utf8(&text);
    let text = text.map_err(|_| RunError::damaged(&path, "not UTF-8 text"))?;
    toml::from_str(text).map_err(|why| RunError::damaged(&path, why.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_keys_are_passed_over() {
        let text =
            "[run]\nname = 'a'\n[method]\nname = 'lsgd'\nlocal_pull = 0.1\n[budget]\nepochs = 2.5";
        let shown: Shown = toml::from_str(text).unwrap();
        assert_eq!(shown.method.name, "lsgd");
        assert_eq!(shown.budget.epochs, Some(2.5));
        assert_eq!(
            toml::from_str::<Shown>("").unwrap().budget,
            Budget::default()
        );
    }

    #[test]
    fn the_share_of_a_budget_is_in_its_own_unit() {
        let used = |text: &str| {
            let budget: Budget = toml::from_str(text).unwrap();
            budget.used(Some(5), Some(3.0), Some(90.0))
        };
        assert_eq!(used("steps = 20"), Some(0.25));
        assert_eq!(used("epochs = 4"), Some(0.75));
        assert_eq!(used("minutes = 3.0"), Some(0.5));
        assert_eq!(used("epochs = 2.9"), Some(1.0));
        assert_eq!(used("steps = 0"), None);
        assert_eq!(used(""), None);
        let minutes = Budget {
            minutes: Some(3.0),
            ..Budget::default()
        };
        assert_eq!(minutes.used(Some(5), Some(3.0), None), None);
    }
}
