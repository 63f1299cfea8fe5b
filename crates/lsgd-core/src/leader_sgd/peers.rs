//! What passes between a worker and its peers: what it tells them, and what it does of what they order.

use std::sync::Arc;

use burn::module::Module;

use super::{Held, LeaderSgd, Phase};
use crate::method::BatchNorm;
use crate::module::{Change, read, replace_gradients};
use crate::{
    Adoption, Delivered, Layout, Meeting, Message, Mode, Move, Order, Refusal, Scope, Snapshot,
    Source, Told, Vector, Visit,
};

impl LeaderSgd {
    /// Reports, and brings what a meeting needs of everybody.
    pub(super) fn tell<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        self.phase = Phase::Done;
        if !self.method.exchanges() {
            return;
        }
        let meets = self.exchange.mode() == Mode::Sync;
        if meets && !self.method.periods.due(self.step).any() {
            return;
        }
        let vector = self.method.averages();
        let averages_buffers = self.method.batch_norm == BatchNorm::Mean;
        let shared = self.held.as_mut().and_then(|held| held.shared.take());
        let own = match shared {
            Some(gradients) => Some(gradients),
            None => (averages_buffers || vector.is_some()).then(|| self.read(module, layout)),
        };
        let buffers = match &own {
            Some(Ok(own)) if averages_buffers => Some(own.buffers().into()),
            _ => None,
        };
        self.exchange.send(Message::Report {
            report: self.report(),
            buffers,
        });
        if let (Some(vector), Some(own)) = (vector, own) {
            let own = own.map(|own| self.rule.bring(own));
            self.exchange.send(Message::Publish(vector, own));
        }
        if self.method.has_centre() && self.method.periods.due(self.step).local {
            self.visit_centre(module, layout);
        }
        if meets {
            self.phase = Phase::Waiting;
        }
    }

    /// Says to the node's centre what the method says.
    fn visit_centre<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        let (step, source) = (self.step, self.source());
        let mut own = || read(module, layout, source).map(Arc::new);
        let visit = match self.rule.visit(&mut own) {
            Ok(visit) => visit,
            Err(why) => return self.exchange.send(Message::Refused { step, why }),
        };
        if let Visit::Bring(addition) = &visit {
            let addition = Ok(addition.clone());
            self.exchange
                .send(Message::Publish(Vector::Centre, addition));
        }
        if !matches!(visit, Visit::Stay) {
            self.exchange.send(Message::WantCentre);
        }
    }

    /// Does what the method does with the node's centre.
    fn take_centre<M: Module>(
        &mut self,
        centre: Arc<Snapshot>,
        module: M,
        layout: &Arc<Layout>,
    ) -> M {
        if self.checked(std::iter::once(&centre), layout).is_none() {
            return module;
        }
        let Ok(own) = self.read(&module, layout) else {
            return module;
        };
        let Told { go, bring } = self.rule.told(own, centre);
        if let Some(addition) = bring {
            self.exchange
                .send(Message::Publish(Vector::Centre, Ok(addition)));
        }
        match go {
            Some(go) => self.go(go, Scope::Local, module, layout),
            None => module,
        }
    }

    pub(super) fn obey<M: Module>(&mut self, order: Order, module: M, layout: &Arc<Layout>) -> M {
        match order {
            Order::Publish => {
                let own = self.read(&module, layout);
                self.exchange.send(Message::Publish(Vector::Snapshot, own));
                module
            }
            Order::Adopt(adoption) => {
                if self.phase == Phase::Waiting {
                    self.phase = Phase::Done;
                }
                self.adopt(adoption, module, layout)
            }
            Order::Centre(centre) => self.take_centre(centre, module, layout),
            Order::Close => {
                self.phase = Phase::Closed;
                module
            }
        }
    }

    /// Does what the method does with what exchanges have delivered, the local one first.
    fn adopt<M: Module>(&mut self, adoption: Adoption, module: M, layout: &Layout) -> M {
        let module = match self.held.take() {
            Some(held) => self.step_with_mean(held, &adoption, module, layout),
            None => {
                let module = self.meet(module, layout, Scope::Local, &adoption.local);
                self.meet(module, layout, Scope::Global, &adoption.global)
            }
        };
        match adoption.buffers {
            Some(buffers) if buffers.len() == layout.buffer_len() => Change {
                parameters: None,
                buffers: Some((&buffers, 1.0)),
            }
            .apply(module, layout),
            _ => module,
        }
    }

    /// The inner optimizer's step with the mean gradient; none if there is no such mean.
    fn step_with_mean<M: Module>(
        &mut self,
        held: Held,
        adoption: &Adoption,
        module: M,
        layout: &Layout,
    ) -> M {
        let local = adoption.local.mean.as_ref();
        let mean = local.or(adoption.global.mean.as_ref());
        let Some(mean) = self.checked(mean.into_iter(), layout).and(mean) else {
            return module;
        };
        let gradients = replace_gradients(&module, layout, held.gradients, mean.parameters());
        self.inner.step(held.rate, module, gradients)
    }

    /// The move that the method makes of what an exchange has delivered.
    fn meet<M: Module>(
        &mut self,
        module: M,
        layout: &Layout,
        scope: Scope,
        delivered: &Delivered,
    ) -> M {
        if self.checked(delivered.vectors(), layout).is_none() {
            return module;
        }
        let at = Meeting {
            own: self.exchange.rank(),
            step: self.step,
            scope,
        };
        match self.rule.meet(at, delivered) {
            Some(go) => self.go(go, scope, module, layout),
            None => module,
        }
    }

    /// Moves the module, and tells the peers.
    fn go<M: Module>(&mut self, go: Move, scope: Scope, module: M, layout: &Layout) -> M {
        let Move { target, strength } = go;
        // One that was made of what was delivered may still be too large to be finite.
        if self.checked(std::iter::once(&target), layout).is_none() {
            return module;
        }
        let follows = self.method.batch_norm == BatchNorm::Leader;
        let module = Change {
            parameters: Some((target.parameters(), strength)),
            buffers: follows.then_some((target.buffers(), strength)),
        }
        .apply(module, layout);
        self.exchange.send(Message::Adopted {
            step: self.step,
            scope,
            source: target.source(),
            strength,
        });
        module
    }

    /// Whether all of `vectors` fit the module. One that does not is reported.
    fn checked<'a>(
        &mut self,
        mut vectors: impl Iterator<Item = &'a Arc<Snapshot>>,
        layout: &Layout,
    ) -> Option<()> {
        match vectors.try_for_each(|vector| vector.check(layout)) {
            Ok(()) => Some(()),
            Err(why) => {
                let step = self.step;
                self.exchange.send(Message::Refused { step, why });
                None
            }
        }
    }

    pub(super) fn read<M: Module>(
        &self,
        module: &M,
        layout: &Arc<Layout>,
    ) -> Result<Arc<Snapshot>, Refusal> {
        read(module, layout, self.source()).map(Arc::new)
    }

    /// This worker at this step.
    pub(super) fn source(&self) -> Source {
        Source::Worker {
            rank: self.exchange.rank(),
            step: self.step,
        }
    }
}
