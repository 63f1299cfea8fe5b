//! The link between nodes, over real Zenoh sessions on loopback.

mod decoders;
mod decoding;
mod fetching;
mod meeting;
mod nodes;
mod opening;
mod outages;
mod strangers;
mod tls;
