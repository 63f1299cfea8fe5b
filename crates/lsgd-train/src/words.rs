//! Words of messages: how many of something.

use std::fmt::Display;

/// `1 step`, `2 steps`: a number with its noun, whose plural ends in s.
///
/// ```
/// use lsgd_train::words::count;
///
/// assert_eq!(count(1, "step"), "1 step");
/// assert_eq!(count(0, "step"), "0 steps");
/// ```
pub fn count(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
