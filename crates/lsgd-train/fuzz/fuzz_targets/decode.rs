//! Any bytes, as a status, a hello or a request for part of a vector: they are refused, or read what
//! is written the same again.
//!
//!     cargo install cargo-fuzz
//!     cd crates/lsgd-train
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run decode -- -max_total_time=600 -max_len=600
//!
//! `tests/link/decoders.rs` checks the same on a bounded number of cases, in every test run.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/link/decoding.rs"]
mod decoding;

fuzz_target!(|bytes: &[u8]| decoding::decode_all(bytes));
