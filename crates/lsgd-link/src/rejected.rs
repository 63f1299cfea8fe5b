//! Counts invalid messages: one line for many, so that no sender can fill a log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The messages rejected since the last line.
#[derive(Debug, Default)]
pub(crate) struct RejectedMessages(Mutex<Refused>);

#[derive(Debug, Default)]
struct Refused {
    count: u64,
    last: String,
    reported_at: Option<Instant>,
}

impl RejectedMessages {
    /// A message at `key` was rejected.
    pub fn note(&self, key: &str, why: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        refused.last = format!("{key}: {why}");
    }

    /// A line about the rejected messages, if there are any and the last line is old enough.
    pub fn line(&self, now: Instant) -> Option<String> {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let early = refused
            .reported_at
            .is_some_and(|reported_at| now.saturating_duration_since(reported_at) < PAUSE);
        if refused.count == 0 || early {
            return None;
        }
        refused.reported_at = Some(now);
        let (count, last) = (std::mem::take(&mut refused.count), &refused.last);
        Some(match count {
            1 => format!("a message was refused: {last}"),
            _ => format!("{count} messages were refused, the last one: {last}"),
        })
    }
}

/// Makes untrusted text fit for a log: one short line.
pub(crate) fn sanitize(bytes: &[u8]) -> String {
    const MAX: usize = 200;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX)]);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_one_line() {
        let rejected = RejectedMessages::default();
        let start = Instant::now();
        assert_eq!(rejected.line(start), None);
        rejected.note("a/b", "no sense");
        let line = rejected.line(start).unwrap();
        assert_eq!(line, "a message was refused: a/b: no sense");
        for _ in 0..1000 {
            rejected.note("c", "nor this");
        }
        assert_eq!(rejected.line(start + PAUSE / 2), None);
        let line = rejected.line(start + PAUSE).unwrap();
        assert_eq!(
            line,
            "1000 messages were refused, the last one: c: nor this"
        );
        assert_eq!(rejected.line(start + 3 * PAUSE), None);
    }

    #[test]
    fn a_strangers_text_is_one_short_line() {
        assert_eq!(sanitize(b"two\nlines\x1b[31m"), "two lines [31m");
        assert!(sanitize(&[b'x'; 100_000]).len() <= 200);
    }
}
