//! A line of `events.jsonl`, as far as a page needs it.

use lsgd_core::{Scope, VectorKind, WorkerId};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::links::Counters;
use super::marks::Happened;
use crate::storage::Written;
use crate::wording;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Election,
    Exchange,
    Adoption,
    Refused,
    NodeConnected,
    NodeLost,
    Joined,
    NotFetched,
    Restarted,
    Left,
    Checkpoint,
    Resumed,
    Diverged,
    Traffic,
    #[default]
    #[serde(other)]
    Other,
}

/// The fields used of a line.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Line {
    pub event: Kind,
    #[serde(default)]
    pub step: u64,
    pub seconds: f64,
    pub scope: Option<Scope>,
    pub vector: Option<VectorKind>,
    /// That there is one.
    pub source: Option<IgnoredAny>,
    pub bytes: Option<u64>,
    pub leader: Option<WorkerId>,
    pub worker: Option<WorkerId>,
    pub node: Option<u32>,
    pub strength: Option<f64>,
    pub staleness: Option<u64>,
    pub recorded_by: Option<u32>,
    /// Bytes since the node was last started, by node and kind.
    pub peers: Option<Counters>,
    /// What does not happen in every exchange, as a run tells it.
    #[serde(skip)]
    pub told: Option<String>,
}

impl Line {
    /// A line of node `own`, from 0.
    ///
    /// # Errors
    ///
    /// If it is no line of a record.
    pub fn parse(line: &[u8], own: u32) -> serde_json::Result<Self> {
        // There are far more of them than of all others.
        let written = Self::adoption(line).or_else(|| Self::exchange(line));
        if let Some(written) = written {
            return Ok(written);
        }
        let mut read: Self = serde_json::from_slice(line)?;
        if let Some(happened) = read.happened() {
            // A line of another version may lack what the words are made of.
            let told = wording::event(line, own).ok().flatten();
            let short = || format!("step {}: {}", read.step, happened.name());
            read.told = Some(told.map_or_else(short, |told| told.line));
        }
        Ok(read)
    }

    /// What it says that does not happen in every exchange.
    pub fn happened(&self) -> Option<Happened> {
        Some(match self.event {
            Kind::Checkpoint => Happened::Checkpoint,
            Kind::Resumed => Happened::Resumed,
            // Every run begins so.
            Kind::Joined if self.source.is_none() && self.step == 0 => return None,
            Kind::Joined => Happened::Joined,
            Kind::NodeConnected => Happened::NodeConnected,
            Kind::NodeLost => Happened::NodeLost,
            Kind::Restarted => Happened::Restarted,
            Kind::Left => Happened::Left,
            Kind::Diverged => Happened::Diverged,
            Kind::Refused => Happened::Refused,
            Kind::NotFetched => Happened::NotFetched,
            Kind::Election | Kind::Exchange | Kind::Adoption | Kind::Traffic | Kind::Other => {
                return None;
            }
        })
    }

    /// A pull toward a worker's parameters, in a line as this version writes it.
    fn adoption(line: &[u8]) -> Option<Self> {
        let mut line = Written::new(line);
        let step = line.whole("{\"event\":\"adoption\",\"step\":")?;
        line.text(",\"worker\":")?;
        let worker = line.worker()?;
        let scope = line.field(",\"scope\":")?;
        line.text(",\"source\":")?;
        line.source()?;
        let strength = line.field(",\"strength\":")?;
        let staleness = Some(line.whole(",\"staleness\":")?);
        line.digest()?;
        Some(Self {
            event: Kind::Adoption,
            step,
            worker: Some(worker),
            scope,
            source: Some(IgnoredAny),
            strength,
            staleness,
            seconds: Self::seconds(line)?,
            ..Self::default()
        })
    }

    /// An exchange of a worker's parameters, in a line as this version writes it.
    fn exchange(line: &[u8]) -> Option<Self> {
        let mut line = Written::new(line);
        let step = line.whole("{\"event\":\"exchange\",\"step\":")?;
        line.whole::<u64>(",\"exchange\":")?;
        let scope = line.field(",\"scope\":")?;
        let vector = line.field(",\"vector\":")?;
        line.text(",\"source\":")?;
        line.source()?;
        line.whole::<u64>(",\"workers\":")?;
        let bytes = Some(line.whole(",\"bytes\":")?);
        let staleness = Some(line.whole(",\"staleness\":")?);
        line.digest()?;
        Some(Self {
            event: Kind::Exchange,
            step,
            scope,
            vector,
            source: Some(IgnoredAny),
            bytes,
            staleness,
            seconds: Self::seconds(line)?,
            ..Self::default()
        })
    }

    /// The time, which ends a line.
    fn seconds(mut line: Written) -> Option<f64> {
        let seconds = line.field(",\"seconds\":")?;
        line.text("}")?;
        line.end()?;
        Some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rare_is_told_as_a_run_tells_it() {
        let told = |line: &str| Line::parse(line.as_bytes(), 1).unwrap().told;
        let worker = r#""worker":{"node":1,"worker":0}"#;
        let left = format!(r#"{{"event":"left","step":4,{worker},"seconds":1.0}}"#);
        assert_eq!(
            told(&left).as_deref(),
            Some("worker 0 has left after step 4")
        );
        // Without what the words are made of.
        let lost = r#"{"event":"node_lost","step":4,"node":2,"seconds":1.0}"#;
        assert_eq!(told(lost).as_deref(), Some("step 4: node lost"));
        assert_eq!(
            told(r#"{"event":"election","scope":"local","seconds":1.0}"#),
            None
        );
    }

    /// A line is the same whether it is read as this version writes it or as a general parser does.
    #[test]
    fn a_line_is_what_a_general_parser_makes_of_it() {
        let source = r#"{"worker":{"id":{"node":1,"worker":7},"step":12}}"#;
        let adoption = |source: &str, more: &str| {
            format!(
                r#"{{"event":"adoption","step":16,"worker":{{"node":0,"worker":3}},"scope":"global","source":{source},"strength":0.1,"staleness":2{more},"seconds":0.8}}"#
            )
        };
        let exchange = |source: &str, more: &str| {
            format!(
                r#"{{"event":"exchange","step":16,"exchange":1,"scope":"local","vector":"mean","source":{source},"workers":4,"bytes":18446744073709551615,"staleness":0{more},"seconds":0.8}}"#
            )
        };
        let digest = r#","digest":"0123456789abcdef""#;
        for (line, is_short) in [
            (adoption(source, ""), true),
            (adoption(source, digest), true),
            (adoption("\"mean\"", ""), false),
            (exchange(source, ""), true),
            (exchange(source, digest), true),
            (exchange(source, r#","averaged":[[0,1]]"#), false),
            (exchange("null", ""), false),
        ] {
            let line = line.as_bytes();
            let written = Line::adoption(line).or_else(|| Line::exchange(line));
            let general: Line = serde_json::from_slice(line).unwrap();
            assert_eq!(written.is_some(), is_short, "{general:?}");
            assert_eq!(
                written.unwrap_or_else(|| Line::parse(line, 0).unwrap()),
                general
            );
            for end in 0..line.len() {
                let cut = &line[..end];
                assert_eq!(Line::adoption(cut).or_else(|| Line::exchange(cut)), None);
                assert!(Line::parse(cut, 0).is_err());
            }
        }
    }
}
