//! Changes of JSON values.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::binary;

/// Deepest nesting that a change makes: beyond what `serde_json` follows.
const DEEPEST: usize = 4000;

/// Numbers as texts, of which some are no values that a number type holds.
const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0.5",
    "-0.5",
    "1e-320",
    "1e18",
    "1e19",
    "1e308",
    "-1e308",
    "1e400",
    "1e-9",
    "3.0000000001",
];

/// What a number is written as until the text is made: `serde_json` has no value for some of them.
const MARK: &str = "\u{1}number ";

/// A JSON text with one to four values of it changed; `None` if it is no JSON.
pub fn changed(text: &[u8], random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let value = serde_json::from_slice(text).ok()?;
    Some(written(&changed_value(value, random), random))
}

/// The same of a line or several; lines may also be dropped, repeated and swapped.
pub fn changed_lines(text: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..lines.len());
        match random.random_range(0..8) {
            0 => lines[at].clear(),
            1 => lines.insert(at, lines[at].clone()),
            2 => {
                let other = random.random_range(0..lines.len());
                lines.swap(at, other);
            }
            _ => {
                if let Some(line) = changed(&lines[at], random) {
                    lines[at] = line;
                }
            }
        }
    }
    lines.join(&b'\n')
}

/// The value with one to four changes.
pub fn changed_value(mut value: Value, random: &mut ChaCha8Rng) -> Value {
    for _ in 0..random.random_range(1..=4) {
        let others = nodes(&value);
        let chosen = random.random_range(0..others);
        let other = nth(&mut value, &mut random.random_range(0..others)).cloned();
        if let Some(node) = nth(&mut value, &mut { chosen }) {
            change(node, other.unwrap_or_default(), random);
        }
    }
    value
}

/// The text of a value, at times with a key twice.
pub fn written(value: &Value, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut text = value.to_string();
    if let Some(brace) = text.find('{').filter(|_| random.random_bool(0.05)) {
        // A key that is there already, or is not known.
        let key = text[brace + 1..].split(':').next().unwrap_or_default();
        let twice = if key.starts_with('"') { key } else { "\"x\"" };
        text.insert_str(brace + 1, &format!("{twice}:null,"));
    }
    unmarked(&text).into_bytes()
}

/// The text with marked numbers as what they stand for.
fn unmarked(text: &str) -> String {
    let mark = json!(MARK).to_string();
    let mark = mark.trim_end_matches('"');
    let mut parts = text.split(mark);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('"').unwrap_or((part, ""));
        whole.push_str(number);
        whole.push_str(rest);
    }
    whole
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(nodes).sum(),
        Value::Object(all) => all.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Node number `left` in depth-first order.
fn nth<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|value| nth(value, left)),
        Value::Object(all) => all.values_mut().find_map(|value| nth(value, left)),
        _ => None,
    }
}

fn change(node: &mut Value, other: Value, random: &mut ChaCha8Rng) {
    let number = || json!(format!("{MARK}{}", "0"));
    match random.random_range(0..16) {
        0 => *node = Value::Null,
        1 => *node = json!(random.random::<bool>()),
        2 => *node = other,
        3 => *node = json!([node.take()]),
        4 => *node = json!({ "a": node.take() }),
        5 if random.random_bool(0.1) => {
            // Deep, but not so deep that dropping it overflows the stack.
            let depth = random.random_range(100..DEEPEST);
            *node = (0..depth).fold(number(), |inner, _| json!([inner]));
        }
        6 => *node = json!(string(random)),
        7 => shorten(node, random),
        8 => lengthen(node, other, random),
        _ => {
            let number = NUMBERS.choose(random).copied().unwrap_or("0");
            match node {
                // Where there are several, one of them.
                Value::Array(_) | Value::Object(_) => {
                    let inner = nodes(node);
                    if let Some(inner) = nth(node, &mut random.random_range(0..inner)) {
                        *inner = json!(format!("{MARK}{number}"));
                    }
                }
                _ => *node = json!(format!("{MARK}{number}")),
            }
        }
    }
}

fn string(random: &mut ChaCha8Rng) -> String {
    match random.random_range(0..6) {
        0 => String::new(),
        1 => "x".repeat(random.random_range(1..5000)),
        2 => String::from("\u{0}\n\u{1f600}\u{301}/../.."),
        3 => String::from("worker-18446744073709551615"),
        4 => random.random::<u64>().to_string(),
        _ => String::from_utf8_lossy(&binary::noise(random)).into_owned(),
    }
}

fn shorten(node: &mut Value, random: &mut ChaCha8Rng) {
    match node {
        Value::Array(all) if !all.is_empty() => {
            all.remove(random.random_range(0..all.len()));
        }
        Value::Object(all) if !all.is_empty() => {
            let keys: Vec<String> = all.keys().cloned().collect();
            if let Some(key) = keys.choose(random) {
                all.remove(key);
            }
        }
        Value::String(text) => {
            text.pop();
        }
        _ => *node = Value::Null,
    }
}

fn lengthen(node: &mut Value, other: Value, random: &mut ChaCha8Rng) {
    match node {
        Value::Array(all) => {
            let more = all.first().cloned().unwrap_or(other);
            let count = 1 << random.random_range(0..10);
            all.extend(std::iter::repeat_n(more, count));
        }
        Value::Object(all) => {
            let keys: Vec<String> = all.keys().cloned().collect();
            let key = keys.choose(random).cloned().unwrap_or_default();
            all.insert(format!("{key}{}", random.random_range(0..3)), other);
        }
        Value::String(text) => text.push_str(&string(random)),
        _ => *node = json!([node.take(), other]),
    }
}
