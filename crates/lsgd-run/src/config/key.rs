//! The declaration of a key: its path, allowed values, meaning, and when it is used.

use std::fmt;

use super::error::quote_number;

/// A key of a config. Its checks, its line in the template and its entry in the documentation all
/// come from here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// `table.key`
    pub path: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// Its meaning, in a few lines, without its range and use.
    pub doc: &'static str,
    /// How the template writes its value: an example if it has no default, or its default if TOML
    /// could write it in several ways. Empty if the default is written as it is.
    pub example: &'static str,
    /// The condition under which it is used; `None` if it always is.
    pub used: Option<Used>,
}

impl Key {
    /// A key that is always used.
    pub const fn new(path: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            path,
            kind,
            doc,
            example: "",
            used: None,
        }
    }

    /// The same, written as `example` in the template.
    #[must_use]
    pub const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// The same, used when the key `by` is one of `words`.
    #[must_use]
    pub const fn used_if(self, by: &'static str, words: &'static [&'static str]) -> Self {
        let used = Some(Used {
            by,
            words,
            all_but: false,
        });
        Self { used, ..self }
    }

    /// The same, used unless the key `by` is one of `words`.
    #[must_use]
    pub const fn used_unless(self, by: &'static str, words: &'static [&'static str]) -> Self {
        let used = Some(Used {
            by,
            words,
            all_but: true,
        });
        Self { used, ..self }
    }

    /// Its table.
    pub fn table(&self) -> &'static str {
        self.path
            .split_once('.')
            .map_or(self.path, |(table, _)| table)
    }

    /// Its name in its table.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(_, name)| name)
    }
}

/// When a key is used: if another key, of [`Kind::Word`], has one of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// The other key, as `table.key`.
    pub by: &'static str,
    /// The words.
    pub words: &'static [&'static str],
    /// Whether it must have any other value instead.
    pub all_but: bool,
}

impl Used {
    /// Whether the key is used if the other one is `word`.
    pub fn is(&self, word: &str) -> bool {
        self.words.contains(&word) != self.all_but
    }
}

impl fmt::Display for Used {
    /// `sgd, lars`, or `all but sgd`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all_but {
            f.write_str("all but ")?;
        }
        f.write_str(&self.words.join(", "))
    }
}

/// A table of a config.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableDoc {
    /// Its name.
    pub name: &'static str,
    /// The template's comment on it; may be empty.
    pub doc: &'static str,
}

/// The values that a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string that is a path; `~` is expanded.
    Path,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A boolean.
    Flag,
    /// An integer from the first to the second; an integral float such as `1e3` is accepted.
    Whole(u64, u64),
    /// A float in a range; an integer is accepted.
    Number(Range),
    /// Three integers.
    Shape,
    /// A table with keys of its own.
    Entry(&'static Entry),
    /// A list of such tables.
    Entries(&'static Entry),
    /// `"auto"` or a list of strings.
    Devices,
    /// A list of strings.
    Endpoints,
}

/// Largest integer of TOML.
pub(super) const MAX_INTEGER: u64 = i64::MAX as u64;
/// Up to here every integer is exact as a float.
pub(super) const EXACT: f64 = (1u64 << 53) as f64;
/// Beyond this, the end of a range is too far away to mention.
const FAR: f64 = 1e6;

impl Kind {
    /// An integer from 1 to `most`.
    pub const fn up_to(most: u64) -> Self {
        Kind::Whole(1, most)
    }

    /// The range in a few words, such as `in [0, 1]`, if it is worth mentioning.
    pub(super) fn range(self) -> Option<String> {
        match self {
            Kind::Whole(least, most) if (most as f64) < FAR => Some(format!("{least} to {most}")),
            Kind::Number(range) if range.most < FAR => Some(format!("in {range}")),
            Kind::Number(range) => Some(range.start()),
            _ => None,
        }
    }
}

/// A table with keys of its own, as the value of a key.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Its keys.
    pub fields: &'static [Field],
    /// An example, for errors.
    pub example: &'static str,
}

/// A key of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// Whether it is required.
    pub needed: bool,
}

impl Field {
    /// A key that may be left out.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            needed: false,
        }
    }

    /// A required key.
    pub const fn needed(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            needed: true,
        }
    }
}

/// A range of numbers; NaN is in none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    least: f64,
    most: f64,
    /// Whether `least` is excluded.
    over: bool,
    /// Whether `most` is excluded.
    under: bool,
}

impl Range {
    /// From 0 to 1.
    pub const FRACTION: Self = Self::from(0.0).to(1.0);

    /// All finite numbers from `least`.
    pub const fn from(least: f64) -> Self {
        Self {
            least,
            most: f64::INFINITY,
            over: false,
            under: true,
        }
    }

    /// All finite numbers over `least`.
    pub const fn over(least: f64) -> Self {
        Self {
            over: true,
            ..Self::from(least)
        }
    }

    /// Limited to numbers up to `most`, which may be infinite.
    #[must_use]
    pub const fn to(self, most: f64) -> Self {
        Self {
            most,
            under: false,
            ..self
        }
    }

    /// Limited to numbers less than `most`.
    #[must_use]
    pub const fn under(self, most: f64) -> Self {
        Self {
            most,
            under: true,
            ..self
        }
    }

    /// Whether `number` is in the range.
    pub fn contains(&self, number: f64) -> bool {
        let above = number > self.least || (number == self.least && !self.over);
        let below = number < self.most || (number == self.most && !self.under);
        above && below
    }

    /// `from 0 to 1`, `over 0, at most 10`, `from 0`: what to give.
    pub(super) fn words(&self) -> String {
        let most = quote_number(self.most);
        let end = match (self.most.is_finite(), self.over, self.under) {
            (false, _, true) => String::new(),
            (false, _, false) => String::from(", or inf"),
            (true, false, false) => format!(" to {most}"),
            (true, false, true) => format!(" to less than {most}"),
            (true, true, false) => format!(", at most {most}"),
            (true, true, true) => format!(", less than {most}"),
        };
        format!("{}{end}", self.start())
    }

    /// `from 0`, `over 0`
    fn start(&self) -> String {
        let word = if self.over { "over" } else { "from" };
        format!("{word} {}", quote_number(self.least))
    }
}

impl fmt::Display for Range {
    /// `[0, 1)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = (
            if self.over { '(' } else { '[' },
            if self.under { ')' } else { ']' },
        );
        let [least, most] = [self.least, self.most].map(quote_number);
        write!(f, "{open}{least}, {most}{close}")
    }
}
