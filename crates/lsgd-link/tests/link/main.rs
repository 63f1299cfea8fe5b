//! The link between nodes, over real Zenoh sessions on loopback.

mod averaging;
mod decoders;
mod decoding;
mod fetching;
mod meeting;
mod nodes;
mod opening;
mod outages;
#[path = "../../../lsgd-train/tests/program/ports.rs"]
mod ports;
mod rejected;
mod tls;
