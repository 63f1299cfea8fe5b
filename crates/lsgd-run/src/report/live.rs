//! The page about runs that go on, and what it asks for: the same charts and tables.

use super::data;
use super::html::{escape, json_text};
use super::page::{Content, Document, sections};
use super::run::Run;
use crate::error::RunError;

const SCRIPT: &str = include_str!("assets/live.js");

/// What the page says of `runs`, and of what is not shown.
fn content(runs: &[Run], left_out: &[String]) -> Content {
    let mut content = Content::of(runs);
    for why in left_out {
        content.head += &format!("<p class=\"note\">Not shown: {}</p>\n", escape(why));
    }
    content
}

/// The page about `runs`, which says `state`.
///
/// # Errors
///
/// [`RunError::Report`].
pub fn page(runs: &[Run], left_out: &[String], state: &str) -> Result<String, RunError> {
    let content = content(runs, left_out);
    let page = Document {
        title: &content.title,
        // Without a script there are pictures, which a browser can ask for again.
        head: "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n",
        fetches: "; connect-src 'self'",
        body: &format!(
            "<p id=\"state\" role=\"status\">{}</p>\n{}",
            escape(state),
            content.body()?
        ),
        foot: "Made anew from the runs' folders while they go on.",
        data: &data::charts(&content.charts),
        script: &format!("<script>\n{SCRIPT}</script>\n"),
    };
    Ok(page.text())
}

/// What its script asks for: all that the page shows, as JSON.
pub fn state(runs: &[Run], left_out: &[String]) -> String {
    let content = content(runs, left_out);
    format!(
        "{{\"title\":{},\"head\":{},\"before\":{},\"after\":{},\"charts\":{}}}",
        json_text(&content.title),
        json_text(&content.head),
        json_text(&sections(&content.before)),
        json_text(&sections(&content.after)),
        data::charts(&content.charts)
    )
}
