//! The centre variable of asynchronous EASGD and DOWNPOUR.

use std::sync::Arc;

use super::LocalLeader;
use crate::snapshot::add;
use crate::{Event, Order, Refusal, Scope, Snapshot, Source, Vector};

impl LocalLeader {
    /// Sets the centre variable that workers will add to.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when `start` is not finite or not of the model that the node trains.
    pub fn set_centre(&mut self, start: &Snapshot) -> Result<(), Refusal> {
        start.check(self.layout.as_ref().unwrap_or(start.layout()))?;
        self.layout = Some(start.layout().clone());
        self.centre = Some(Arc::new(recentred(start, start.parameters().to_vec(), 0)?));
        Ok(())
    }

    pub(super) fn answer_centre(&mut self, worker: u32) {
        if let Some(centre) = &self.centre {
            self.orders
                .push_back((worker, Order::Centre(centre.clone())));
        }
    }

    /// `centre <- centre + addition`, then tells the worker what it became.
    pub(super) fn add_to_centre(&mut self, worker: u32, addition: &Snapshot) {
        let Some(centre) = &self.centre else {
            return;
        };
        let Source::Centre { version } = centre.source() else {
            return;
        };
        let mut sum = centre.parameters().to_vec();
        add(&mut sum, addition.parameters());
        let next = match recentred(centre, sum, version + 1) {
            Ok(next) => next,
            Err(why) => return self.refuse(worker, Vector::Centre, why),
        };
        let source = next.source();
        self.centre = Some(Arc::new(next));
        self.exchanges += 1;
        self.events.push_back(Event::Exchange {
            step: self.furthest_step(),
            exchange: self.exchanges,
            scope: Scope::Local,
            vector: Vector::Centre,
            source,
            workers: 1,
            bytes: addition.bytes(),
            staleness: 0,
        });
        self.answer_centre(worker);
    }
}

/// The centre of `version` with these values, if they are finite.
fn recentred(like: &Snapshot, values: Vec<f32>, version: u64) -> Result<Snapshot, Refusal> {
    let layout = like.layout();
    let source = Source::Centre { version };
    let next = Snapshot::new(layout.clone(), source, values, like.buffers().to_vec())?;
    next.check(layout)?;
    Ok(next)
}
