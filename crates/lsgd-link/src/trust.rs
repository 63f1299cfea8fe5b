//! Reports which of the configured nodes do not trust this one, or are not trusted.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::incoming::Incoming;
use crate::session::address_of;
use crate::shared::Shared;
use crate::tls::{Handshake, Tls};

/// Time between two attempts to reach nodes that did not answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Performs one handshake with each of `endpoints`, as soon as it answers. Ends when the returned
/// sender is dropped.
pub(crate) fn watch(
    shared: Arc<Shared>,
    tls: Tls,
    mut endpoints: Vec<String>,
) -> std::io::Result<Sender<()>> {
    let (running, ended) = mpsc::channel();
    let watch = move || {
        while !endpoints.is_empty() {
            endpoints.retain(|endpoint| match tls.shake_hands(address_of(endpoint)) {
                None => true,
                Some(Handshake::Trusted) => false,
                Some(Handshake::Refused(why)) => {
                    let endpoint = endpoint.clone();
                    shared.emit(Incoming::Untrusted { endpoint, why });
                    false
                }
            });
            if ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    thread::Builder::new()
        .name(String::from("trust"))
        .spawn(watch)?;
    Ok(running)
}
