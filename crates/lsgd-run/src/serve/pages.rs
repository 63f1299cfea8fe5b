//! What visitors get, made from the runs' folders when it is asked for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::error::RunError;
use crate::report::{Current, page_of_none};

/// Shortest time between two readings.
const SHORTEST: Duration = Duration::from_secs(1);

/// Between two readings lie so many times what the first took: reading takes at most a hundredth of one
/// core, however long the records are.
const APART: u32 = 99;

/// Whether the folders are to be read again, `age` after a reading that took `took`.
fn is_due(age: Duration, took: Duration) -> bool {
    age >= SHORTEST.max(took.saturating_mul(APART))
}

/// The runs at some moment, and what is made of them.
pub(super) struct Shown {
    runs: Result<Current, RunError>,
    page: OnceLock<Arc<str>>,
    state: OnceLock<(Arc<str>, String)>,
}

impl Shown {
    /// A page that follows the runs; of none, one that says so.
    ///
    /// # Errors
    ///
    /// [`RunError::Drawing`].
    pub fn page(&self) -> Result<Arc<str>, RunError> {
        if let Some(page) = self.page.get() {
            return Ok(page.clone());
        }
        let page = match &self.runs {
            Ok(runs) => runs.page()?,
            Err(why) => page_of_none(&why.to_string())?,
        };
        Ok(self.page.get_or_init(|| page.into()).clone())
    }

    /// What such a page asks for, and a tag that is another when that is.
    ///
    /// # Errors
    ///
    /// Why there are no runs.
    pub fn state(&self) -> Result<(Arc<str>, String), &RunError> {
        let runs = self.runs.as_ref()?;
        let state = self.state.get_or_init(|| {
            let state = runs.state();
            let tag = format!("\"{}\"", blake3::hash(state.as_bytes()).to_hex());
            (state.into(), tag)
        });
        Ok(state.clone())
    }

    /// The runs' latest figures.
    ///
    /// # Errors
    ///
    /// Why there are no runs.
    pub fn figures(&self) -> Result<Arc<str>, &RunError> {
        Ok(self.runs.as_ref()?.figures().into())
    }
}

/// The runs in a folder, as read last.
pub(super) struct Pages {
    root: PathBuf,
    last: Mutex<Option<Reading>>,
}

struct Reading {
    at: Instant,
    took: Duration,
    shown: Arc<Shown>,
}

impl Pages {
    /// Of the runs that `root` holds, or will hold.
    pub fn new(root: PathBuf) -> Self {
        let last = Mutex::new(None);
        Self { root, last }
    }

    /// The runs as they are now, or were at the last reading. Waits for one that goes on.
    pub fn get(&self) -> Arc<Shown> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some(reading) if !is_due(reading.at.elapsed(), reading.took) => reading.shown.clone(),
            _ => {
                let begin = Instant::now();
                let shown = Arc::new(Shown {
                    runs: Current::read(&self.root),
                    page: OnceLock::new(),
                    state: OnceLock::new(),
                });
                *last = Some(Reading {
                    at: Instant::now(),
                    took: begin.elapsed(),
                    shown: shown.clone(),
                });
                shown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_at_most_a_hundredth_of_the_time() {
        let (millis, seconds) = (Duration::from_millis, Duration::from_secs);
        assert!(!is_due(millis(999), millis(1)) && is_due(millis(1000), millis(1)));
        assert!(!is_due(seconds(98), seconds(1)) && is_due(seconds(99), seconds(1)));
        assert!(!is_due(seconds(1 << 40), Duration::MAX));
    }

    #[test]
    fn before_a_run_begins_the_page_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let pages = Pages::new(folder.path().join("first"));
        let shown = pages.get();
        assert!(shown.page().unwrap().contains("no run has begun here yet"));
        assert!(shown.state().is_err() && shown.figures().is_err());
    }
}
