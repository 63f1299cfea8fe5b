//! Which classes are taken for which.

use std::collections::BTreeMap;
use std::fmt::Write;

use lsgd_run::words::csv_field;

use crate::scoring::Guess;

/// Most classes of a matrix that is written: it has a number for each two of them.
pub const MAX_CLASSES: usize = 4096;

/// Test examples by their class and by what a model takes them for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    names: Vec<String>,
    /// Examples of the first class that were taken for the second; no entry for none.
    counts: BTreeMap<(usize, usize), u64>,
}

impl Confusion {
    /// Of classes with these names, in their order; no examples yet.
    pub fn new(names: Vec<String>) -> Self {
        let counts = BTreeMap::new();
        Self { names, counts }
    }

    /// Counts a guess; a class that there is not is ignored.
    pub fn add(&mut self, guess: Guess) {
        let classes = self.names.len();
        if guess.class < classes && guess.guess < classes {
            *self.counts.entry((guess.class, guess.guess)).or_default() += 1;
        }
    }

    /// The matrix as CSV: one row a class, one column for each class that its examples were taken for.
    pub fn csv(&self) -> String {
        let mut text = String::from("class");
        for name in &self.names {
            text.push(',');
            text.push_str(&csv_field(name));
        }
        text.push('\n');
        for (class, name) in self.names.iter().enumerate() {
            text.push_str(&csv_field(name));
            let mut row = self.row(class).peekable();
            for guess in 0..self.names.len() {
                let counted = row.next_if(|(at, _)| *at == guess);
                let count = counted.map_or(0, |(_, count)| count);
                // Writing to a string cannot fail.
                let _ = write!(text, ",{count}");
            }
            text.push('\n');
        }
        text
    }

    /// One line a class: its examples, its error, and the class it is taken for most often.
    pub fn table(&self) -> String {
        let shown: Vec<String> = self.names.iter().map(|name| shorten(name)).collect();
        let widest = shown.iter().map(|name| name.chars().count()).max();
        let width = widest.unwrap_or(0).max("class".len());
        let mut text = format!("{:width$}  examples    error  mostly taken for\n", "class");
        for (class, name) in shown.iter().enumerate() {
            let row: Vec<(usize, u64)> = self.row(class).collect();
            let others = row.iter().filter(|(guess, _)| *guess != class);
            let wrong: u64 = others.clone().map(|(_, count)| count).sum();
            let examples: u64 = row.iter().map(|(_, count)| count).sum();
            let error = match examples {
                0 => String::from("-"),
                _ => format!("{:.2} %", 100.0 * wrong as f64 / examples as f64),
            };
            // Of several, the first.
            let most = others.rev().max_by_key(|(_, count)| *count);
            let most = most.map(|(guess, count)| format!("  {} ({count})", shown[*guess]));
            let most = most.unwrap_or_default();
            let _ = writeln!(text, "{name:width$}  {examples:8} {error:>8}{most}");
        }
        text
    }

    /// What examples of `class` were taken for, in order, and how many for each.
    fn row(&self, class: usize) -> impl Iterator<Item = (usize, u64)> {
        let row = self.counts.range((class, 0)..(class + 1, 0));
        row.map(|((_, guess), count)| (*guess, *count))
    }
}

/// Longest name of a class in a table, in characters.
const MAX_NAME: usize = 30;

/// The beginning of a long name, on one line.
fn shorten(name: &str) -> String {
    let printed = name.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut short: String = printed.clone().take(MAX_NAME).collect();
    if printed.count() > MAX_NAME {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three of cat, one of them taken for a dog; two of "dog, big", both for "owl"; no owl.
    fn confusion() -> Confusion {
        let mut all = Confusion::new(["cat", "dog, big", "owl"].map(String::from).to_vec());
        for (class, guess) in [(0, 0), (0, 1), (0, 0), (1, 2), (1, 2), (7, 0), (0, 7)] {
            all.add(Guess { class, guess });
        }
        all
    }

    #[test]
    fn rows_are_classes_and_columns_guesses() {
        let expected = "class,cat,\"dog, big\",owl\ncat,2,1,0\n\"dog, big\",0,0,2\nowl,0,0,0\n";
        assert_eq!(confusion().csv(), expected);
    }

    #[test]
    fn a_table_has_the_error_of_each_class() {
        let table = confusion().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "class     examples    error  mostly taken for",
                "cat              3  33.33 %  dog, big (1)",
                "dog, big         2 100.00 %  owl (2)",
                "owl              0        -",
            ]
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shorten(&"x".repeat(31)), format!("{}...", "x".repeat(30)));
        assert_eq!(shorten("a\nb"), "a?b");
    }
}
