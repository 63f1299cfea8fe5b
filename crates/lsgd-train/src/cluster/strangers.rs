//! Bytes that make no sense, counted: one line for many, so that nobody can fill a log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// What was refused since the last line.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Refused>);

#[derive(Debug, Default)]
struct Refused {
    count: u64,
    last: String,
    told: Option<Instant>,
}

impl Strangers {
    /// Something at `key` was refused.
    pub fn note(&self, key: &str, why: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        refused.last = format!("{key}: {why}");
    }

    /// A line about what was refused, when there is something to tell and the last line is old.
    pub fn line(&self, now: Instant) -> Option<String> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let early = refused
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < PAUSE);
        if refused.count == 0 || early {
            return None;
        }
        refused.told = Some(now);
        let (count, last) = (std::mem::take(&mut refused.count), &refused.last);
        Some(match count {
            1 => format!("a message was refused: {last}"),
            _ => format!("{count} messages were refused, the last one: {last}"),
        })
    }
}

/// Text from a stranger, fit for a log: one short line.
pub(crate) fn tame(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_one_line() {
        let strangers = Strangers::default();
        let start = Instant::now();
        assert_eq!(strangers.line(start), None);
        strangers.note("a/b", "no sense");
        let line = strangers.line(start).unwrap();
        assert_eq!(line, "a message was refused: a/b: no sense");
        for _ in 0..1000 {
            strangers.note("c", "nor this");
        }
        assert_eq!(strangers.line(start + PAUSE / 2), None);
        let line = strangers.line(start + PAUSE).unwrap();
        assert_eq!(
            line,
            "1000 messages were refused, the last one: c: nor this"
        );
        assert_eq!(strangers.line(start + 3 * PAUSE), None);
    }

    #[test]
    fn a_strangers_text_is_one_short_line() {
        assert_eq!(tame(b"two\nlines\x1b[31m"), "two lines [31m");
        assert!(tame(&[b'x'; 100_000]).len() <= 200);
    }
}
