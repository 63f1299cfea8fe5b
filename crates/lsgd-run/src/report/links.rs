//! What nodes have exchanged, by the counters that they put on record.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Flow {
    /// Sent by this node.
    pub sent: u64,
    /// Received by this node.
    pub received: u64,
}

impl Flow {
    /// What was added since `before`; `None` if the counters have begun anew.
    fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            sent: self.sent.checked_sub(before.sent)?,
            received: self.received.checked_sub(before.received)?,
        })
    }

    /// Both sums.
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            received: self.received.saturating_add(other.received),
        }
    }
}

/// Bytes since a node was last started, by other node (from 0) and kind.
pub type Counters = BTreeMap<u32, BTreeMap<String, Flow>>;

/// The counters at some moment.
#[derive(Debug, Clone, PartialEq)]
struct Counted {
    /// Seconds of training.
    seconds: f64,
    peers: Counters,
}

/// What a node has exchanged with others since it was last started, and how fast.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Links {
    newest: Option<Counted>,
    /// The last counters of an earlier moment.
    before: Option<Counted>,
}

/// What was exchanged with one other node, of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchanged<'a> {
    /// The other node, from 0.
    pub peer: u32,
    /// What for.
    pub kind: &'a str,
    /// Bytes since the node was last started.
    pub bytes: Flow,
    /// Bytes a second of training, sent and received, between the last two counts.
    pub rate: Option<(f64, f64)>,
}

impl Links {
    /// Adds counters, in the order of the record.
    pub fn add(&mut self, seconds: f64, peers: Counters) {
        let counted = Counted { seconds, peers };
        match self.newest.replace(counted) {
            Some(last) if last.seconds < seconds => self.before = Some(last),
            // While workers pause the clock stands still.
            _ => {}
        }
    }

    /// The counters with which a node has ended.
    pub fn end(&mut self, peers: Counters) {
        let seconds = f64::NAN;
        self.newest = Some(Counted { seconds, peers });
        self.before = None;
    }

    /// What is on record, by node and kind.
    pub fn exchanged(&self) -> impl Iterator<Item = Exchanged<'_>> {
        let peers = self.newest.iter().flat_map(|newest| &newest.peers);
        peers.flat_map(move |(peer, kinds)| {
            kinds.iter().map(move |(kind, bytes)| Exchanged {
                peer: *peer,
                kind,
                bytes: *bytes,
                rate: self.rate(*peer, kind, *bytes),
            })
        })
    }

    fn rate(&self, peer: u32, kind: &str, now: Flow) -> Option<(f64, f64)> {
        let (newest, before) = (self.newest.as_ref()?, self.before.as_ref()?);
        let seconds = newest.seconds - before.seconds;
        let known = before.peers.get(&peer).and_then(|kinds| kinds.get(kind));
        let more = now.since(known.copied().unwrap_or_default())?;
        let rate = |bytes: u64| bytes as f64 / seconds;
        (seconds > 0.0).then(|| (rate(more.sent), rate(more.received)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(sent: u64, received: u64) -> Counters {
        let kinds = BTreeMap::from([(String::from("report"), Flow { sent, received })]);
        BTreeMap::from([(1, kinds)])
    }

    fn rate(links: &Links) -> Option<(f64, f64)> {
        links.exchanged().next().unwrap().rate
    }

    #[test]
    fn rates_are_those_between_two_moments() {
        let mut links = Links::default();
        assert_eq!(links.exchanged().count(), 0);
        links.add(5.0, counters(100, 10));
        assert_eq!(rate(&links), None);
        links.add(10.0, counters(300, 10));
        assert_eq!(rate(&links), Some((40.0, 0.0)));
        // The clock stands still, and the bytes do not.
        links.add(10.0, counters(400, 10));
        assert_eq!(rate(&links), Some((60.0, 0.0)));
        assert_eq!(links.exchanged().next().unwrap().bytes.sent, 400);
        // The node was started again.
        links.add(12.0, counters(30, 5));
        assert_eq!(rate(&links), None);
        links.end(counters(500, 50));
        let last = links.exchanged().next().unwrap();
        assert_eq!((last.peer, last.bytes.received, last.rate), (1, 50, None));
    }
}
