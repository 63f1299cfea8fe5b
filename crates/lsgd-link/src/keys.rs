//! The keys used in Zenoh's key space.

/// Version of the protocol. Nodes of different versions do not connect.
const VERSION: u32 = 5;

/// The keys of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// The keys of run `name`: a hash of it, so that any name makes a valid key.
    pub fn of_run(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        Self {
            prefix: format!("lsgd/{VERSION}/{}", &hash[..16]),
        }
    }

    /// The liveliness token of a node's incarnation.
    pub fn token(&self, node: u32, incarnation: u64) -> String {
        format!("{}/node/{node}/{incarnation}", self.prefix)
    }

    /// All liveliness tokens, including those of other runs.
    pub fn tokens() -> String {
        format!("lsgd/{VERSION}/*/node/*/*")
    }

    /// Where a node's incarnation answers with its hello.
    pub fn hello(&self, node: u32, incarnation: u64) -> String {
        format!("{}/hello/{node}/{incarnation}", self.prefix)
    }

    /// Where a node publishes its status.
    pub fn status(&self, node: u32) -> String {
        format!("{}/status/{node}", self.prefix)
    }

    /// Where all nodes publish their statuses.
    pub fn statuses(&self) -> String {
        format!("{}/status/*", self.prefix)
    }

    /// Where a node's incarnation serves vectors.
    pub fn vector(&self, node: u32, incarnation: u64) -> String {
        format!("{}/vector/{node}/{incarnation}", self.prefix)
    }

    /// The node and incarnation of the token `key`.
    pub fn parse_token(&self, key: &str) -> Option<(u32, u64)> {
        let rest = key.strip_prefix(&self.prefix)?.strip_prefix("/node/")?;
        let (node, incarnation) = rest.split_once('/')?;
        let (node, incarnation) = (node.parse().ok()?, incarnation.parse().ok()?);
        // "007" and "+7" are other keys than "7", so they belong to no node.
        (self.token(node, incarnation) == key).then_some((node, incarnation))
    }

    /// The node and incarnation of the token `key`, and the keys of its run, if that is another
    /// one.
    pub fn parse_other_token(&self, key: &str) -> Option<(Self, u32, u64)> {
        let versions = format!("lsgd/{VERSION}/");
        let (run, _) = key.strip_prefix(&versions)?.split_once('/')?;
        let other = Self {
            prefix: format!("{versions}{run}"),
        };
        let (node, incarnation) = other.parse_token(key)?;
        (other.prefix != self.prefix).then_some((other, node, incarnation))
    }

    /// The node whose status is published at `key`.
    pub fn parse_status(&self, key: &str) -> Option<u32> {
        let node = key.strip_prefix(&self.prefix)?.strip_prefix("/status/")?;
        let node = node.parse().ok()?;
        (self.status(node) == key).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        let keys = Keys::of_run("any name, even with */$?#");
        for (node, incarnation) in [(0, 0), (7, 1), (u32::MAX, u64::MAX)] {
            assert_eq!(
                keys.parse_token(&keys.token(node, incarnation)),
                Some((node, incarnation))
            );
            assert_eq!(keys.parse_status(&keys.status(node)), Some(node));
        }
    }

    /// Nodes of one protocol version share these keys: other texts would be another version.
    #[test]
    fn keys_are_those_of_the_protocol() {
        let keys = Keys::of_run("a");
        let run = "lsgd/5/17762fddd969a453";
        assert_eq!(keys.token(3, 7), format!("{run}/node/3/7"));
        assert_eq!(Keys::tokens(), "lsgd/5/*/node/*/*");
        assert_eq!(keys.hello(3, 7), format!("{run}/hello/3/7"));
        assert_eq!(keys.status(3), format!("{run}/status/3"));
        assert_eq!(keys.statuses(), format!("{run}/status/*"));
        assert_eq!(keys.vector(3, 7), format!("{run}/vector/3/7"));
    }

    #[test]
    fn other_keys_are_nobodys() {
        let keys = Keys::of_run("a");
        let prefix = &keys.prefix;
        let (other, key) = (Keys::of_run("b"), Keys::of_run("b").token(1, 2));
        assert_eq!(keys.parse_other_token(&key), Some((other, 1, 2)));
        assert_eq!(keys.parse_other_token(&keys.token(1, 2)), None);
        let padded = format!("lsgd/{VERSION}/b/node/01/2");
        assert_eq!(keys.parse_other_token(&padded), None);
        for key in [
            key,
            format!("{prefix}/node/01/2"),
            format!("{prefix}/node/1/+2"),
            format!("{prefix}/node/1"),
            format!("{prefix}/node/1/2/3"),
            format!("{prefix}/node/4294967296/2"),
            format!("{prefix}/node/-1/2"),
        ] {
            assert_eq!(keys.parse_token(&key), None, "{key}");
        }
        let other = Keys::of_run("b").status(1);
        assert_eq!(keys.parse_status(&other), None);
        assert_eq!(keys.parse_status(&format!("{prefix}/status/01")), None);
        assert_eq!(keys.parse_status(&format!("{prefix}/status/x")), None);
        assert_eq!(keys.parse_status(&format!("{prefix}/status/1/2")), None);
    }
}
