//! Changes of texts that consist of lines such as `key = value`.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Values in place of others.
const VALUES: [&str; 44] = [
    "0",
    "-1",
    "1",
    "2",
    "0.5",
    "-0.0",
    "1e308",
    "-1e308",
    "1e-320",
    "1e19",
    "nan",
    "inf",
    "-inf",
    "true",
    "false",
    "\"\"",
    "\"x\"",
    "\"\\u0000\"",
    "\"~\"",
    "\"../..\"",
    "\"a\\nb\"",
    "[]",
    "[0]",
    "{}",
    "[[]]",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "9007199254740993",
    "0x7fffffffffffffff",
    "1_000",
    "2026-01-01",
    "12:00:00",
    "'''\n'''",
    "\"\"\"",
    "[1, 2, 3]",
    "{ epochs = 1.0, steps = 1 }",
    "{ steps = 9223372036854775807 }",
    "\u{1f600}",
    "\u{feff}",
    "65536",
    "4294967296",
    "1e3",
];

/// A text with one to four changes.
pub fn changed(text: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.push(String::new());
    for _ in 0..random.random_range(1..=4) {
        change(&mut lines, random);
    }
    let end = if random.random_bool(0.05) {
        "\r\n"
    } else {
        "\n"
    };
    lines.join(end).into_bytes()
}

fn change(lines: &mut Vec<String>, random: &mut ChaCha8Rng) {
    let at = random.random_range(0..lines.len());
    let other = random.random_range(0..lines.len());
    let new = VALUES.choose(random).copied().unwrap_or_default();
    match random.random_range(0..16) {
        0 if lines.len() > 1 => drop(lines.remove(at)),
        1 => lines.insert(other, lines[at].clone()),
        2 => lines.swap(at, other),
        3 => {
            // One key with the value of another.
            let key = key_of(&lines[at]).to_owned();
            let value = lines[other].split_once('=').map_or(new, |(_, value)| value);
            lines[at] = format!("{key}={value}");
        }
        4 if random.random_bool(0.1) => {
            let depth = 1 << random.random_range(4..13);
            lines[at] = format!("{} = {}", key_of(&lines[at]), "[".repeat(depth));
        }
        5 if random.random_bool(0.1) => {
            let depth = 1 << random.random_range(2..11);
            lines[at] = format!("{}{} = 1", "a.".repeat(depth), key_of(&lines[at]));
        }
        6 => within(&mut lines[at], random, |word| word.repeat(2)),
        7 => within(&mut lines[at], random, |_| String::from(new)),
        8 => lines[at].push_str(new),
        9 => drop(lines[at].pop()),
        _ => {
            let key = key_of(&lines[at]).to_owned();
            lines[at] = match key.is_empty() || key == lines[at] {
                // A line without a key: a value among others, such as those of a table of numbers.
                true => replaced_field(&lines[at], new, random),
                false => format!("{key}= {new}"),
            };
        }
    }
}

/// What is before the `=`.
fn key_of(line: &str) -> &str {
    line.split_once('=').map_or(line, |(key, _)| key)
}

/// One of the values between commas or spaces replaced.
fn replaced_field(line: &str, new: &str, random: &mut ChaCha8Rng) -> String {
    let separator = if line.contains(',') { "," } else { " " };
    let mut fields: Vec<&str> = line.split(separator).collect();
    let at = random.random_range(0..fields.len());
    fields[at] = new;
    fields.join(separator)
}

/// A word of the line as something else.
fn within(line: &mut String, random: &mut ChaCha8Rng, other: impl Fn(&str) -> String) {
    let starts: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
    let Some(&start) = starts.choose(random) else {
        return;
    };
    let is_part = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let length = line[start..]
        .find(|c| !is_part(c))
        .unwrap_or(line.len() - start);
    let new = other(&line[start..start + length]);
    line.replace_range(start..start + length, &new);
}
