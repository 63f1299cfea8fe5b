//! How nodes introduce themselves to each other, and compare their settings.

use std::collections::BTreeMap;
use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::rejected::sanitize;

/// The key of the run's name in a node's description.
pub(crate) const RUN_NAME: &str = "run.name";

/// A node's settings, for others to compare with their own.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hello {
    /// The node, from 0.
    pub node: u32,
    /// Its incarnation.
    pub incarnation: u64,
    /// The number of nodes in its config.
    pub nodes: u32,
    /// All other settings that must be equal, by name in the config.
    pub description: BTreeMap<String, String>,
}

/// A setting that must be equal on two nodes, and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name in the config.
    pub key: String,
    /// This node's value; `None` if it has none.
    pub ours: Option<String>,
    /// The other node's.
    pub theirs: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unset = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".into());
        let (ours, theirs) = (or_unset(&self.ours), or_unset(&self.theirs));
        write!(f, "{} is {ours} here and {theirs} there", self.key)
    }
}

impl Hello {
    /// Maximum length in bytes. Nothing longer is sent or decoded.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Encodes the hello.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// Decodes a hello from untrusted bytes.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::MAX_LEN {
            let (found, most) = (bytes.len(), Self::MAX_LEN);
            return Err(format!("{found} bytes where a hello has at most {most}"));
        }
        borsh::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// This node's value of `key` and that of an untrusted node, sanitized for a log.
    pub(crate) fn difference(&self, other: &Self, key: &str) -> Difference {
        let value = |hello: &Self| hello.description.get(key).map(|v| sanitize(v.as_bytes()));
        Difference {
            key: key.to_owned(),
            ours: value(self),
            theirs: value(other),
        }
    }

    /// The settings that differ between this node and another, ordered by key.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let all = |hello: &Self| {
            let mut all = hello.description.clone();
            all.insert(String::from("cluster.nodes"), hello.nodes.to_string());
            all
        };
        let (ours, mut theirs) = (all(self), all(other));
        let mut differences = Vec::new();
        for (key, ours) in ours {
            let theirs = theirs.remove(&key);
            if theirs.as_ref() != Some(&ours) {
                differences.push(Difference {
                    key,
                    ours: Some(ours),
                    theirs,
                });
            }
        }
        differences.extend(theirs.into_iter().map(|(key, theirs)| Difference {
            key,
            ours: None,
            theirs: Some(theirs),
        }));
        differences.sort_by(|a, b| a.key.cmp(&b.key));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(nodes: u32, description: &[(&str, &str)]) -> Hello {
        let description = description
            .iter()
            .map(|&(key, value)| (key.into(), value.into()));
        Hello {
            node: 0,
            incarnation: 1,
            nodes,
            description: description.collect(),
        }
    }

    #[test]
    fn all_that_differs_is_named_with_both_values() {
        let ours = hello(
            2,
            &[
                ("data.batch_size", "32"),
                ("model.name", "cnn7"),
                ("z", "1"),
            ],
        );
        let theirs = hello(
            3,
            &[
                ("a", "0"),
                ("data.batch_size", "64"),
                ("model.name", "cnn7"),
            ],
        );
        let lines: Vec<_> = ours
            .differences(&theirs)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "a is unset here and 0 there",
                "cluster.nodes is 2 here and 3 there",
                "data.batch_size is 32 here and 64 there",
                "z is 1 here and unset there",
            ]
        );
    }

    #[test]
    fn number_and_life_may_differ() {
        let ours = hello(2, &[("a", "0")]);
        let mut theirs = ours.clone();
        (theirs.node, theirs.incarnation) = (1, 7);
        assert_eq!(ours.differences(&theirs), []);
    }
}
