//! Phrases for messages: counts, lists, suggestions.

use std::borrow::Cow;
use std::fmt::Display;

/// `1 step`, `2 steps`: a number with its noun, whose plural ends in s.
///
/// ```
/// use lsgd_run::words::count;
///
/// assert_eq!(count(1, "step"), "1 step");
/// assert_eq!(count(0, "step"), "0 steps");
/// ```
pub fn count(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The first line of a text.
pub fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The text with a space for every control character, cut after a thousand characters: what a file or
/// another program says, in a message of one line.
///
/// ```
/// use lsgd_run::words::one_line;
///
/// assert_eq!(one_line("no\n\u{1b}[31mred"), "no  [31mred");
/// ```
pub fn one_line(text: &str) -> String {
    const MOST: usize = 1000;
    let mut line: String = text.chars().take(MOST).collect();
    if line.len() < text.len() {
        line.push_str("...");
    }
    line.replace(char::is_control, " ")
}

/// The text in printable ASCII, every other character escaped: a name or a text of a file on any terminal,
/// where it can neither move the cursor nor be wider than it is long.
///
/// ```
/// use lsgd_run::words::printable;
///
/// assert_eq!(printable("first, 2nd"), "first, 2nd");
/// assert_eq!(printable("a\u{1b}[2Jb\n\u{e9}"), r"a\u{1b}[2Jb\n\u{e9}");
/// ```
pub fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~' => line.push(letter),
            _ => line.extend(letter.escape_default()),
        }
    }
    line
}

/// A field of CSV (RFC 4180): `text`, in quotes if it needs them.
///
/// ```
/// use lsgd_run::words::csv_field;
///
/// assert_eq!(csv_field("top5_error"), "top5_error");
/// assert_eq!(csv_field("a \"b\", c"), "\"a \"\"b\"\", c\"");
/// ```
pub fn csv_field(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", text.replace('"', "\"\""))),
        false => Cow::Borrowed(text),
    }
}

/// `"a", "b" or "c"`: a list of alternatives.
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// `; did you mean "b"?` if one of `known` is [`nearest`] to `word`, else empty: the end of a
/// message.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(meant) => format!("; did you mean \"{meant}\"?"),
        None => String::new(),
    }
}

/// The most similar of `known`, if it is similar enough to have been meant by `word`; case is
/// ignored.
///
/// ```
/// use lsgd_run::words::nearest;
///
/// assert_eq!(nearest("LSDG", ["sgd", "lsgd"]), Some("lsgd"));
/// assert_eq!(nearest("adagrad", ["sgd", "lsgd"]), None);
/// ```
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long words are no misspellings, and the comparison takes quadratic time.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| {
            let similarity = strsim::normalized_damerau_levenshtein(&word, &known.to_lowercase());
            (similarity, known)
        })
        .filter(|(similarity, _)| *similarity >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
