//! What other nodes see of this one while a session lasts: its token, and its answers.

use std::sync::Arc;

use zenoh::liveliness::LivelinessToken;
use zenoh::query::Query;
use zenoh::{Session, Wait};

use crate::keys::Keys;
use crate::serve::Servers;
use crate::session;
use crate::shared::{Shared, lock};
use crate::traffic::Flow;

impl Shared {
    /// Bytes on the links, including those of closed sessions; `None` if Zenoh does not report
    /// them.
    pub fn link_bytes(&self) -> Option<Flow> {
        let (sent, received) = session::bytes(&self.session())?;
        let earlier = *lock(&self.earlier);
        Some(Flow {
            sent: earlier.sent + sent,
            received: earlier.received + received,
        })
    }

    /// Leaves the network: other nodes no longer see this one.
    pub fn leave(&self) {
        if let Some(bytes) = self.link_bytes() {
            *lock(&self.earlier) = bytes;
        }
        // The token first, so that others see a clean end.
        drop(lock(&self.token).take());
        // The other side of a connection may be gone already.
        let _ = self.session().close().wait();
    }

    /// Joins the network with a new session.
    pub fn join(self: &Arc<Self>, session: Session) -> zenoh::Result<()> {
        *lock(&self.session) = session.clone();
        *lock(&self.token) = Some(self.declare(&session)?);
        Ok(())
    }

    /// Declares everything that other nodes see of this one; the token last, so that a node which
    /// sees it gets answers. All of it ends with the session.
    pub fn declare(self: &Arc<Self>, session: &Session) -> zenoh::Result<LivelinessToken> {
        let (node, incarnation) = (self.own.node, self.own.incarnation);
        let hello = self.own.encode();
        session
            .declare_queryable(self.keys.hello(node, incarnation))
            .callback(move |query: Query| {
                // A query that cannot be answered came from a node that is gone.
                let _ = query.reply(query.key_expr().clone(), hello.clone()).wait();
            })
            .background()
            .wait()?;
        let servers = Servers::new(self.clone());
        session
            .declare_queryable(self.keys.vector(node, incarnation))
            .callback(move |query| servers.take(query))
            .background()
            .wait()?;
        let receiver = self.clone();
        session
            .declare_subscriber(self.keys.statuses())
            .callback(move |sample| receiver.receive_status(&sample))
            .background()
            .wait()?;
        let receiver = self.clone();
        session
            .liveliness()
            .declare_subscriber(Keys::tokens())
            .history(true)
            .callback(move |sample| receiver.receive_token(&sample))
            .background()
            .wait()?;
        let token = self.keys.token(node, incarnation);
        session.liveliness().declare_token(token).wait()
    }
}
