//! Changes of valid inputs, with what their form allows: a change that keeps a file's structure gets past
//! the first check.

mod binary;
mod containers;
mod json;
mod text;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

pub use containers::{gzipped, tar_of};

/// What kind of text or bytes a decoder reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes without more structure.
    Bytes,
    /// One JSON value.
    Json,
    /// A JSON value on every line.
    JsonLines,
    /// Lines such as `key = value`, or words.
    Text,
    /// A length, a JSON header, tensors.
    Safetensors,
    /// A length, a CBOR header, tensors.
    Burnpack,
    /// Compressed text or, if it begins with a tar header, a compressed archive.
    Gzip,
    /// Chunks with checksums.
    Png,
}

/// The next input: a valid one, changed; now and then random bytes.
pub fn input(form: Form, valid: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let Some(chosen) = valid.choose(random) else {
        return binary::noise(random);
    };
    match random.random_range(0..32) {
        0 => return binary::noise(random),
        1 => return chosen.clone(),
        2..10 => return binary::changed(chosen.clone(), valid, random),
        _ => {}
    }
    let changed = match form {
        Form::Bytes => None,
        Form::Json => json::changed(chosen, random),
        Form::JsonLines => Some(json::changed_lines(chosen, random)),
        Form::Text => Some(text::changed(chosen, random)),
        Form::Safetensors => containers::safetensors(chosen, random),
        Form::Burnpack => containers::burnpack(chosen, random),
        Form::Gzip => containers::gzip(chosen, valid, random),
        Form::Png => containers::png(chosen, valid, random),
    };
    match changed {
        Some(changed) => changed,
        None => binary::changed(chosen.clone(), valid, random),
    }
}
