//! Names that MLflow takes, and that are files.

use std::collections::{BTreeMap, BTreeSet};

/// Most characters of a name: MLflow takes 250, of which a worker's name needs some.
const LONGEST: usize = 200;

/// Gives each text a name of its own, of ASCII letters, digits, `_`, `.`, `-` and spaces.
#[derive(Debug, Default)]
pub struct Names {
    given: BTreeMap<String, String>,
    /// In lower case: some file systems do not tell cases apart.
    taken: BTreeSet<String>,
}

impl Names {
    /// Names other than these, which are in lower case.
    pub fn but(reserved: &[&str]) -> Self {
        Self {
            taken: reserved.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// The name of `text`, always the same.
    pub fn of(&mut self, text: &str) -> String {
        if let Some(name) = self.given.get(text) {
            return name.clone();
        }
        let fitting = fitting(text);
        let mut name = fitting.clone();
        let mut number = 1;
        while !self.taken.insert(name.to_ascii_lowercase()) {
            number += 1;
            name = format!("{fitting}_{number}");
        }
        self.given.insert(text.to_owned(), name.clone());
        name
    }
}

fn fitting(text: &str) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.- ".contains(letter);
    let name: String = text
        .chars()
        .take(LONGEST)
        .map(|letter| if fits(letter) { letter } else { '_' })
        .collect();
    // A path that is another, or none; some file systems drop a last dot or space.
    match name.trim_end_matches(['.', ' ']) {
        kept if kept.len() == name.len() && !name.is_empty() => name,
        kept => format!("{kept}_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_told_apart() {
        let mut names = Names::but(&["training_loss"]);
        let long = "x".repeat(300);
        for (text, expected) in [
            ("error", "error"),
            ("method.local_pull", "method.local_pull"),
            ("top-1 (%)", "top-1 ___"),
            ("a/b", "a_b"),
            ("a:b", "a_b_2"),
            ("A_B", "A_B_3"),
            ("..", "_"),
            ("", "__2"),
            ("é", "__3"),
            ("training_loss", "training_loss_2"),
            (&long, &"x".repeat(200)),
            ("a/b", "a_b"),
        ] {
            assert_eq!(names.of(text), expected, "{text}");
        }
    }
}
