//! Pieces of HTML: whatever comes from a file is escaped here.

use std::fmt::Write;

/// A text as it stands in HTML, inside an attribute too.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A text as it stands in JSON inside a script: it cannot end the script.
pub fn json_text(text: &str) -> String {
    let text = serde_json::Value::from(text).to_string();
    text.replace('<', "\\u003c")
}

/// A number as it stands in JSON: to seven digits, but a whole number as it is; null for what is not
/// finite.
pub fn json_number(value: f64) -> String {
    if !value.is_finite() {
        return String::from("null");
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let rounded: f64 = format!("{value:.6e}").parse().unwrap_or(value);
    match (1e-4..1e15).contains(&rounded.abs()) {
        true => format!("{rounded}"),
        false => format!("{rounded:e}"),
    }
}

/// A table with a heading over each column; the first of each row is its heading.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n");
    if !head.is_empty() {
        let cells: String = head
            .iter()
            .map(|cell| format!("<th scope=\"col\">{}</th>", escape(cell)))
            .collect();
        let _ = writeln!(text, "<thead><tr>{cells}</tr></thead>");
    }
    text.push_str("<tbody>\n");
    for row in rows {
        let cells = row.iter().enumerate().map(|(index, cell)| match index {
            0 => format!("<th scope=\"row\">{}</th>", escape(cell)),
            _ => format!("<td>{}</td>", escape(cell)),
        });
        let _ = writeln!(text, "<tr>{}</tr>", cells.collect::<String>());
    }
    text.push_str("</tbody></table></div>\n");
    text
}

/// A number of at most six digits.
pub fn figure(value: f64) -> String {
    if !value.is_finite() {
        return String::from("not finite");
    }
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e15) {
        return format!("{value:.3e}");
    }
    let digits = match value == 0.0 {
        true => 0.0,
        false => value.abs().log10().floor(),
    };
    let decimals = (5.0 - digits).clamp(0.0, 8.0) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Bytes, in a unit that suits them.
pub fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    let unit = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match unit.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes / size),
        None => format!("{bytes:.0} B"),
    }
}

/// Seconds, as a person says them.
pub fn duration(seconds: f64) -> String {
    match std::time::Duration::try_from_secs_f64(seconds) {
        Ok(time) if time.as_secs() >= 60 => {
            let whole = std::time::Duration::from_secs(time.as_secs());
            humantime::format_duration(whole).to_string()
        }
        _ => format!("{} s", figure((seconds * 100.0).round() / 100.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "</script><img src=x onerror='a()'>&\"\u{2028}\n";

    #[test]
    fn no_text_becomes_a_tag() {
        let escaped = escape(NASTY);
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert_eq!(escape("a < b & c"), "a &lt; b &amp; c");
        let row = vec![NASTY.to_owned(), NASTY.to_owned()];
        let table = table(&[NASTY, NASTY], &[row]);
        assert!(
            !table.contains("<img") && !table.contains("</script"),
            "{table}"
        );
    }

    #[test]
    fn no_text_ends_a_script() {
        let text = json_text(NASTY);
        assert!(!text.contains('<'), "{text}");
        let read: String = serde_json::from_str(&text).unwrap();
        assert_eq!(read, NASTY);
    }

    #[test]
    fn numbers_are_short_and_valid_json() {
        for (value, expected) in [
            (12.0, "12"),
            (1_234_567_890.0, "1234567890"),
            (0.123_456_789, "0.1234568"),
            (1.0 / 3e9, "3.333333e-10"),
            (2.5e20, "2.5e20"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            let text = json_number(value);
            assert_eq!(text, expected);
            assert!(serde_json::from_str::<Option<f64>>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn figures_are_as_a_person_reads_them() {
        assert_eq!(figure(45.5), "45.5");
        assert_eq!(figure(1_234_567.0), "1234567");
        assert_eq!(figure(0.000_012_3), "1.230e-5");
        assert_eq!(figure(f64::NAN), "not finite");
        assert_eq!(bytes(26_000_000), "26.0 MB");
        assert_eq!(bytes(12), "12 B");
        assert_eq!(duration(12.345), "12.35 s");
        assert_eq!(duration(3725.4), "1h 2m 5s");
    }
}
