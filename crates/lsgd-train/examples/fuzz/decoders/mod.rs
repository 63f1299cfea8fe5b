//! Every decoder of what comes from a network or a file.

mod checkpoint;
mod config;
mod data;
mod engine;
mod images;
mod link;
mod optimizer;
mod records;
mod weights;

use std::fs;
use std::path::Path;

use crate::harness::{Bound, Decoder};

/// The decoders whose names begin with `prefix`; they may use `folder`.
pub fn all(folder: &Path, prefix: &str) -> Vec<Decoder> {
    type Group = fn(&Path) -> Vec<Decoder>;
    let groups: [(&str, Group); 9] = [
        ("link", |_| link::decoders()),
        ("optimizer", |_| vec![optimizer::decoder()]),
        ("checkpoint", checkpoint::decoders),
        ("records", records::decoders),
        ("engine", engine::decoders),
        ("config", config::decoders),
        ("data", data::decoders),
        ("images", images::decoders),
        ("weights", weights::decoders),
    ];
    let mut all = Vec::new();
    for (name, group) in groups {
        // Names begin with that of the group; making a group can take seconds.
        if name.starts_with(prefix) || prefix.starts_with(name) {
            let own = folder.join(name);
            fs::create_dir(&own).expect("the folder is new");
            all.extend(group(&own));
        }
    }
    all.retain(|decoder| decoder.name.starts_with(prefix));
    all
}

/// A bound of so many KiB, and so many bytes for each byte of the input.
const fn kib(fixed: usize, per_byte: usize) -> Bound {
    Bound {
        fixed: fixed << 10,
        per_byte,
    }
}
