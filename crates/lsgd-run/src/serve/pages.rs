//! What visitors get, made from the runs' folders when it is asked for.

use std::path::{Path, PathBuf};
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
    at: Instant,
    made: Result<Made, RunError>,
    /// Made when it is asked for first.
    page: OnceLock<Arc<str>>,
}

struct Made {
    runs: Current,
    state: String,
    tag: String,
    figures: String,
}

impl Shown {
    /// Reads the folders.
    fn read(root: &Path) -> Self {
        let made = Current::read(root).map(|runs| {
            let state = runs.state();
            Made {
                tag: format!("\"{}\"", blake3::hash(state.as_bytes()).to_hex()),
                figures: runs.figures(),
                state,
                runs,
            }
        });
        Self {
            at: Instant::now(),
            made,
            page: OnceLock::new(),
        }
    }

    /// How long ago it was read.
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// A page that follows the runs; of none, one that says so.
    ///
    /// # Errors
    ///
    /// The message of [`RunError::Report`].
    pub fn page(&self) -> Result<Arc<str>, String> {
        if let Some(page) = self.page.get() {
            return Ok(page.clone());
        }
        let page = match &self.made {
            Ok(made) => made.runs.page(),
            Err(why) => page_of_none(&why.to_string()),
        };
        let page = page.map_err(|why| why.to_string())?;
        Ok(self.page.get_or_init(|| page.into()).clone())
    }

    /// What such a page asks for, and a tag that is another when that is.
    ///
    /// # Errors
    ///
    /// Why there are no runs.
    pub fn state(&self) -> Result<(&str, &str), String> {
        let made = self.made.as_ref().map_err(RunError::to_string)?;
        Ok((&made.state, &made.tag))
    }

    /// The runs' latest figures.
    ///
    /// # Errors
    ///
    /// Why there are no runs.
    pub fn figures(&self) -> Result<&str, String> {
        let made = self.made.as_ref().map_err(RunError::to_string)?;
        Ok(&made.figures)
    }
}

/// The runs in a folder, as read last.
pub(super) struct Pages {
    root: PathBuf,
    last: Mutex<Option<Reading>>,
}

struct Reading {
    /// How long it took, with the making of what is asked for most.
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
            Some(reading) if !is_due(reading.shown.age(), reading.took) => reading.shown.clone(),
            _ => {
                let begin = Instant::now();
                let shown = Arc::new(Shown::read(&self.root));
                let took = match shown.made {
                    Ok(_) => begin.elapsed(),
                    // What is wrong may be right in a moment.
                    Err(_) => Duration::ZERO,
                };
                let reading = Reading {
                    took,
                    shown: shown.clone(),
                };
                *last = Some(reading);
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
