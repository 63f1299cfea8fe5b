//! The page: one file with all that it needs, which fetches nothing.

use std::fmt::Write;

use super::chart::Chart;
use super::charts;
use super::comparison;
use super::data;
use super::html::{bytes, duration, escape, figure};
use super::metrics::Scored;
use super::palette;
use super::run::Run;
use super::section::Section;
use super::status;
use super::svg;
use super::tables::{self, last};
use crate::error::RunError;
use crate::storage::{REPORT_MARK, State};

const CHARTS_STYLE: &str = include_str!("assets/uPlot.min.css");
const STYLE: &str = include_str!("assets/report.css");
const CHARTS_SCRIPT: &str = include_str!("assets/uPlot.iife.min.js");
const SCRIPT: &str = include_str!("assets/report.js");

/// What a page says of one run, or of several side by side.
pub(super) struct Content {
    pub title: String,
    /// What a run was and what came of it; of several, nothing.
    pub head: String,
    pub before: Vec<Section>,
    pub charts: Vec<Chart>,
    pub after: Vec<Section>,
}

impl Content {
    pub fn of(runs: &[Run]) -> Self {
        let (title, head, (before, after), charts) = match runs {
            [] => {
                let title = String::from("Nothing to show yet");
                (title, String::new(), (Vec::new(), Vec::new()), Vec::new())
            }
            [run] => {
                let head = head(run);
                (
                    run.name.clone(),
                    head,
                    tables::of_run(run),
                    charts::charts(run),
                )
            }
            runs => {
                let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
                let title = format!("{} runs: {}", runs.len(), names.join(", "));
                (
                    title,
                    String::new(),
                    tables::of_runs(runs),
                    comparison::charts(runs),
                )
            }
        };
        Self {
            title,
            head,
            before,
            charts,
            after,
        }
    }

    /// The body of a page, below its title.
    ///
    /// # Errors
    ///
    /// [`RunError::Report`].
    pub fn body(&self) -> Result<String, RunError> {
        let mut figures = String::new();
        for (index, chart) in self.charts.iter().enumerate() {
            figures += &figure_of(index, chart)?;
        }
        if figures.is_empty() {
            figures = String::from("<p>Nothing has been recorded yet that could be drawn.</p>\n");
        }
        Ok(format!(
            "<div id=\"head\">{}</div>\n<div id=\"before\">{}</div>\n\
             <div class=\"charts\">\n{figures}</div>\n<div id=\"after\">{}</div>\n",
            self.head,
            sections(&self.before),
            sections(&self.after)
        ))
    }
}

/// The page of one run, or the one that compares several.
///
/// # Errors
///
/// [`RunError::Report`].
pub fn page(runs: &[Run]) -> Result<String, RunError> {
    let content = Content::of(runs);
    let version = env!("CARGO_PKG_VERSION");
    Ok(Document {
        title: &content.title,
        head: "",
        fetches: "",
        body: &content.body()?,
        foot: &format!("Made by lsgd-run {version} from the run's folder. It fetches nothing."),
        data: &data::charts(&content.charts),
        script: "",
    }
    .text())
}

/// A document: one file with all that it needs.
pub(super) struct Document<'a> {
    pub title: &'a str,
    /// More of its head.
    pub head: &'a str,
    /// What it may fetch, as a policy says it; that it fetches nothing else is also the browser's
    /// business.
    pub fetches: &'a str,
    /// What is below its title.
    pub body: &'a str,
    pub foot: &'a str,
    /// The charts as JSON.
    pub data: &'a str,
    /// Scripts after those that draw the charts.
    pub script: &'a str,
}

impl Document<'_> {
    pub fn text(&self) -> String {
        let Self {
            head,
            fetches,
            body,
            foot,
            data,
            script,
            ..
        } = self;
        let title = escape(self.title);
        format!(
            "{REPORT_MARK}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'{fetches}\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n{head}<title>{title}</title>\n\
             <style>{CHARTS_STYLE}</style>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n{body}<footer>{foot}</footer>\n\
             </main>\n<script type=\"application/json\" id=\"data\">{data}</script>\n\
             <script>{CHARTS_SCRIPT}</script>\n<script>\n{SCRIPT}</script>\n{script}</body>\n</html>\n"
        )
    }
}

/// What a run was and what came of it.
fn head(run: &Run) -> String {
    let summary = run.summary.as_ref();
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    fact("state", run.state.name().to_owned());
    if let Some(method) = run.setting("method.name") {
        let mode = run.setting("run.mode").map(|mode| format!(", {mode}"));
        fact("method", format!("{method}{}", mode.unwrap_or_default()));
    }
    if let Some((name, _)) = run.scored().first() {
        let shown = [
            (Scored::Leader, "leader"),
            (Scored::ReplicaMean, "replica mean"),
            (Scored::WorkerMean, "mean over workers"),
        ];
        for (scored, who) in shown {
            if let Some(value) = last(run, scored, name) {
                fact(
                    &format!("{}, {who}", charts::metric(run, name)),
                    figure(value),
                );
            }
        }
    }
    if let Some(leader) = status::leader(run).filter(|_| run.state.may_go_on()) {
        fact("leader now", leader);
    }
    let workers = summary.map_or(run.metrics.workers.len(), |summary| summary.workers);
    fact("workers", workers.to_string());
    if let Some(nodes) = run.setting("cluster.nodes").filter(|nodes| *nodes != "1") {
        fact("nodes", nodes.to_owned());
    }
    let end = run.end();
    let steps = summary.map(|summary| summary.steps as f64);
    if let Some(steps) = steps.or(end.map(|end| end.steps)) {
        fact("steps of a worker", figure(steps));
    }
    if let Some(summary) = summary {
        fact("epochs", figure(summary.epochs));
        fact("samples", summary.samples.to_string());
    }
    let seconds = summary.map(|summary| summary.training_seconds);
    let clock = if run.is_simulated() {
        "virtual time"
    } else {
        "training time"
    };
    if let Some(seconds) = seconds.or(end.map(|end| end.seconds)) {
        fact(clock, duration(seconds));
    }
    if let Some(summary) = summary {
        fact("start to end", duration(summary.seconds));
        fact("samples per second", figure(summary.samples_per_second));
    }
    if run.has_bytes() || run.events.total_bytes() > 0 {
        fact("bytes exchanged", bytes(run.events.total_bytes()));
    }
    let peak = summary.and_then(|summary| summary.peak_memory_bytes);
    if let Some(peak) = peak {
        fact("peak memory", bytes(peak));
    }
    fact("seed", run.record.seed.to_string());
    let items = facts.into_iter().map(|(name, value)| {
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(&name),
            escape(&value)
        )
    });
    format!(
        "<dl class=\"facts\">\n{}</dl>\n{}",
        items.collect::<String>(),
        meaning(run.state)
    )
}

/// What a state means that does not speak for itself.
fn meaning(state: State) -> String {
    match state {
        State::Running | State::Ended => String::new(),
        state => format!(
            "<p class=\"note\">{}: {}.</p>\n",
            escape(state.name()),
            escape(state.meaning())
        ),
    }
}

/// Sections, some of which can be opened.
pub(super) fn sections(sections: &[Section]) -> String {
    let mut text = String::new();
    for Section {
        title,
        body,
        closed,
    } in sections
    {
        let title = escape(title);
        let _ = match closed {
            true => write!(
                text,
                "<details>\n<summary><h2>{title}</h2></summary>\n{body}</details>\n"
            ),
            false => write!(text, "<section>\n<h2>{title}</h2>\n{body}</section>\n"),
        };
    }
    text
}

/// A chart: a picture and its legend, which the script replaces.
fn figure_of(index: usize, chart: &Chart) -> Result<String, RunError> {
    let picture = svg::draw(chart)?;
    let title = escape(&chart.title);
    let picture = picture.replacen(
        "<svg",
        &format!("<svg role=\"img\" aria-label=\"{title}\""),
        1,
    );
    let mut legend = String::new();
    // Rows are named at the axis.
    let named = chart.rows.is_empty() && chart.series.len() > 1;
    for series in chart.series.iter().filter(|_| named) {
        let (red, green, blue) = palette::color(series.look);
        let color = match series.is_ink() {
            true => String::from("currentColor"),
            false => format!("#{red:02x}{green:02x}{blue:02x}"),
        };
        let dash = palette::gap(series.look);
        let dash = dash.map(|gap| format!(" stroke-dasharray=\"{} {gap}\"", palette::DASH));
        let _ = write!(
            legend,
            "<li><svg width=\"28\" height=\"8\" aria-hidden=\"true\"><path d=\"M0 4H28\" \
             stroke=\"{color}\" stroke-width=\"3\"{}/></svg> {}</li>",
            dash.unwrap_or_default(),
            escape(&series.name)
        );
    }
    if !legend.is_empty() {
        legend = format!("<ul class=\"legend\">{legend}</ul>\n");
    }
    let mut note = escape(&chart.note);
    if !note.is_empty() {
        note = format!("<p class=\"note\">{note}</p>\n");
    }
    Ok(format!(
        "<figure id=\"chart-{index}\">\n<figcaption><h2>{title}</h2></figcaption>\n{note}\
         <div class=\"still\"><div class=\"wide\">{picture}</div>\n{legend}</div>\n\
         <div class=\"live\" hidden></div>\n</figure>\n"
    ))
}
