//! Why runs cannot be shown while they go on.

use std::io;
use std::net::SocketAddr;

use super::token::{LONGEST, SHORTEST, TOKEN};

/// Why a page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not free, or not this machine's.
    #[error("no page can be served at {address}: {source}; port 0 takes one that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Others than this machine could see the page without a token.
    #[error(
        "a page at {address} could be seen from other machines: set the variable {TOKEN} to a token that its \
         visitors have to know, or serve it at 127.0.0.1"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// The token is not one that an address can have.
    #[error("the variable {TOKEN} has to have {SHORTEST} to {LONGEST} letters, digits, - and _")]
    UnfitToken,
    /// No thread could be started.
    #[error("the thread that serves the page could not be started: {0}")]
    NoThread(io::Error),
}
