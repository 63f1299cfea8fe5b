//! Says which of the nodes to connect to do not trust this one, or are not trusted.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::session::address_of;
use super::shared::{Event, Shared};
use super::tls::{Handshake, Tls};

/// Time between two attempts to reach those that were not there.
const PAUSE: Duration = Duration::from_secs(2);

/// Shakes hands with each of `endpoints` once, as soon as it is there. Ends when what it returns is
/// dropped.
pub(super) fn watch(
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
                    shared.send(Event::Untrusted(endpoint.clone(), why));
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
