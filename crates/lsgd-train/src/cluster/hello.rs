//! What a node says of itself to a node it meets, and how that compares.

use std::collections::BTreeMap;
use std::fmt;

use borsh::{BorshDeserialize, BorshSerialize};

use super::strangers::tame;

/// The key by which the description of a node names its run.
pub(super) const RUN_NAME: &str = "run.name";

/// What a node is set to, for others to compare with their own.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Hello {
    /// The node, from 0.
    pub node: u32,
    /// Which life of it.
    pub life: u64,
    /// How many nodes it thinks the run has.
    pub nodes: u32,
    /// Whatever else must not differ, by its name in the config.
    pub description: BTreeMap<String, String>,
}

/// Something that must not differ between two nodes, and does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name in the config.
    pub key: String,
    /// This node's value; `None` when it has none.
    pub ours: Option<String>,
    /// The other's.
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
    /// Longest in bytes. Nothing longer is sent or decoded.
    pub const LONGEST: usize = 64 * 1024;

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("memory can be written")
    }

    /// From bytes that came from anywhere.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > Self::LONGEST {
            let (found, most) = (bytes.len(), Self::LONGEST);
            return Err(format!("{found} bytes where a hello has at most {most}"));
        }
        borsh::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// This node's value of `key` and that of a node that anybody may be, fit for a log.
    pub(super) fn difference(&self, other: &Self, key: &str) -> Difference {
        let value = |hello: &Self| hello.description.get(key).map(|v| tame(v.as_bytes()));
        Difference {
            key: key.to_owned(),
            ours: value(self),
            theirs: value(other),
        }
    }

    /// What differs between this node and another, in the order of the keys.
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
            life: 1,
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
        (theirs.node, theirs.life) = (1, 7);
        assert_eq!(ours.differences(&theirs), []);
    }
}
