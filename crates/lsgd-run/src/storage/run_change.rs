//! Settings in which a run that continues differs from before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::words::one_line;

/// The key of the number of nodes.
const NODES: &str = "cluster.nodes";

/// The key that says how long silence is no death: it changes when, not what.
const SILENCE: &str = "cluster.silence_seconds";

/// A setting that a run is to continue with in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    /// Its name in the config.
    pub key: String,
    /// What it was; `None` if it was unset.
    pub was: Option<String>,
    /// What it is.
    pub is: Option<String>,
}

impl RunChange {
    /// Whether a run can continue with it: the same arithmetic, for longer or by more or fewer nodes.
    pub(super) fn is_allowed(&self) -> bool {
        let several = |nodes: &Option<String>| nodes.as_ref().is_some_and(|nodes| nodes != "1");
        self.key.starts_with("budget.")
            || self.key == SILENCE
            || self.key == NODES && several(&self.was) && several(&self.is)
    }

    /// What it changes besides, if that is not plain.
    pub(crate) fn consequence(&self) -> Option<&'static str> {
        (self.key == NODES).then_some("batches are dealt out anew, and a new node joins the others")
    }
}

impl fmt::Display for RunChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a file has them, on one line.
        let shown = |value: &Option<String>| one_line(value.as_deref().unwrap_or("unset"));
        let (is, was) = (shown(&self.is), shown(&self.was));
        write!(f, "{} is {is}, was {was}", one_line(&self.key))
    }
}

/// What differs, in order of the keys. The name of a run is that of its folder.
pub(super) fn differences<'a>(
    was: &'a BTreeMap<String, String>,
    is: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = RunChange> + 'a {
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let changed = |key: &&String| was.get(*key) != is.get(*key) && *key != "run.name";
    keys.into_iter().filter(changed).map(|key| RunChange {
        key: key.clone(),
        was: was.get(key).cloned(),
        is: is.get(key).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_continues_for_longer_by_other_nodes_and_with_other_patience() {
        let change = |key: &str, was: &str, is: &str| RunChange {
            key: key.to_owned(),
            was: Some(was.to_owned()),
            is: Some(is.to_owned()),
        };
        for allowed in [
            change("budget.steps", "8", "16"),
            change("cluster.nodes", "2", "3"),
            change("cluster.silence_seconds", "1.25", "10.0"),
        ] {
            assert!(allowed.is_allowed(), "{allowed}");
        }
        for refused in [
            change("method.name", "lsgd", "easgd"),
            change("cluster.nodes", "1", "2"),
            change("cluster.wire", "f32", "bf16"),
        ] {
            assert!(!refused.is_allowed(), "{refused}");
        }
    }
}
