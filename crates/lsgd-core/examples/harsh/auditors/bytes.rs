//! What links carried equals what nodes count.
//!
//! Every byte of a vector that arrives at a node is in the record of the exchange that it was
//! fetched for, or of the start. The exception are vectors that came too late: the node had moved on
//! meanwhile, or its exchange had no outcome to record.

use std::collections::BTreeMap;

use lsgd_core::{Event, Scope, SnapshotDigest, VectorKind, WireFormat};

use super::views::Views;
use crate::network::{Seen, Setting, Sight};

pub struct Bytes {
    wire: WireFormat,
    nodes: Vec<Ledger>,
}

/// Of one node.
#[derive(Debug, Clone, Default)]
struct Ledger {
    /// What it asked for, for an exchange, and of what kind.
    for_exchange: BTreeMap<SnapshotDigest, VectorKind>,
    /// The mean that it asked for, and of what kind.
    mean: Option<(SnapshotDigest, VectorKind)>,
    /// What has arrived of that and is in no record yet, by kind.
    carried: BTreeMap<VectorKind, u64>,
    /// What it asked for, to start from.
    for_start: Vec<SnapshotDigest>,
    carried_for_start: u64,
}

impl Bytes {
    pub fn new(setting: &Setting) -> Self {
        Self {
            wire: setting.wire,
            nodes: vec![Ledger::default(); setting.nodes as usize],
        }
    }

    pub fn see(&mut self, sight: &Sight, views: &Views) -> Result<(), String> {
        let ledger = &mut self.nodes[sight.node as usize];
        match &sight.what {
            Seen::Started => *ledger = Ledger::default(),
            Seen::Asked(vector) if views.node(sight.node).starts => {
                // Whatever the exchange under way still waits for comes too late.
                ledger.for_exchange.clear();
                ledger.mean = None;
                ledger.carried.clear();
                ledger.for_start.push(vector.digest);
            }
            Seen::Asked(vector) => {
                ledger.for_start.retain(|digest| *digest != vector.digest);
                ledger.for_exchange.insert(vector.digest, vector.kind);
            }
            Seen::Arrived(vector) => {
                let (values, weights) = (vector.parameters().len(), vector.weights().len());
                let bytes = match self.wire.of(vector.source()) {
                    WireFormat::F32 => 4 * (values + weights),
                    WireFormat::Bf16 => 2 * (values + weights),
                    WireFormat::Int8 => values + values.div_ceil(32) + 4 * weights,
                    // One value of a block that is smaller than 64: an exponent, a number, a position.
                    WireFormat::Topk => {
                        assert!(values <= 64, "written for small models");
                        4
                    }
                };
                let bytes = bytes as u64;
                let digest = vector.digest();
                if ledger.for_start.contains(&digest) {
                    ledger.carried_for_start += bytes;
                } else if let Some(kind) = ledger.for_exchange.get(&digest) {
                    *ledger.carried.entry(*kind).or_default() += bytes;
                }
            }
            Seen::AskedForMean(mean) => ledger.mean = Some((mean.name(), mean.kind)),
            Seen::Unaveraged(name, _) => {
                ledger.mean.take_if(|(asked, _)| asked == name);
            }
            Seen::Averaged(name, bytes) => {
                if let Some((_, kind)) = ledger.mean.take_if(|(asked, _)| asked == name) {
                    *ledger.carried.entry(kind).or_default() += bytes;
                }
            }
            Seen::Recorded(Event::Exchange {
                scope: Scope::Global,
                vector,
                bytes,
                exchange,
                ..
            }) => {
                let carried = ledger.carried.remove(vector).unwrap_or(0);
                if carried != *bytes {
                    return Err(format!(
                        "exchange {exchange} counts {bytes} bytes of {vector:?} where the links carried {carried}"
                    ));
                }
            }
            Seen::Recorded(Event::Joined { bytes, .. }) => {
                let carried = ledger.carried_for_start;
                if carried != *bytes {
                    return Err(format!(
                        "a start counts {bytes} bytes where the links carried {carried}"
                    ));
                }
                *ledger = Ledger::default();
            }
            Seen::Delivered(_, delivered) => {
                let left = std::mem::take(ledger).carried;
                // A mean that overflows is not recorded.
                let left = left.iter().filter(|(kind, _)| match kind {
                    VectorKind::Mean | VectorKind::Gradient => delivered.mean.is_some(),
                    VectorKind::Parameters | VectorKind::Centre => delivered.leader.is_some(),
                });
                if let Some((kind, bytes)) = left.into_iter().next() {
                    return Err(format!("{bytes} bytes of {kind:?} are in no record"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
