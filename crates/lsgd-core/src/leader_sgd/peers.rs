//! A worker's messages to its peers, and what it does with their commands.

use std::sync::Arc;

use burn::module::Module;

use super::{DeferredStep, InnerOptimizer, LeaderSgd, StepPhase};
use crate::method::BatchNorm;
use crate::module::{Change, read, read_buffers, replace_gradients};
use crate::{
    CentreReply, CentreRequest, Command, Delivery, ExchangeAt, ExchangeOutcome, Layout, Message,
    Mode, Pull, Scope, Snapshot, SnapshotError, Source, VectorKind,
};

impl<I> LeaderSgd<I> {
    /// Reports, and sends its contribution to an exchange.
    pub(super) fn send_report<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        self.phase = StepPhase::Done;
        if !self.method.exchanges() {
            return;
        }
        let meets = self.exchange.mode() == Mode::Sync;
        if meets && !self.method.periods.due(self.step).any() {
            return;
        }
        let vector = self.method.averages();
        let averages_buffers = self.method.batch_norm == BatchNorm::Mean;
        let shared = self
            .deferred
            .as_mut()
            .and_then(|deferred| deferred.shared.take());
        let own = match shared {
            Some(gradients) => Some(gradients),
            None => vector.is_some().then(|| self.read(module, layout)),
        };
        let buffers = match &own {
            _ if !averages_buffers => None,
            Some(own) => own.as_ref().ok().map(|own| own.buffers().into()),
            None => read_buffers(module, layout).ok().map(Arc::from),
        };
        self.exchange.send(Message::Report {
            report: self.report(),
            buffers,
        });
        if let (Some(vector), Some(own)) = (vector, own) {
            let own = own.map(|own| self.rule.contribution(own));
            self.exchange.send(Message::Publish(vector, own));
        }
        if self.method.has_centre() && self.method.periods.due(self.step).local {
            self.request_centre(module, layout);
        }
        if meets {
            self.phase = StepPhase::Waiting;
        }
    }

    /// Sends the method's request to the node's centre.
    fn request_centre<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        let (step, source) = (self.step, self.source());
        let mut own = || read(module, layout, source).map(Arc::new);
        let request = match self.rule.centre_request(&mut own) {
            Ok(request) => request,
            Err(why) => return self.exchange.send(Message::Refused { step, why }),
        };
        if let CentreRequest::Add(addition) = &request {
            let addition = Ok(addition.clone());
            self.exchange
                .send(Message::Publish(VectorKind::Centre, addition));
        }
        if !matches!(request, CentreRequest::Pending) {
            self.exchange.send(Message::WantCentre);
        }
    }

    /// Applies the method's reply to the node's centre.
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
        let CentreReply { pull, contribution } = self.rule.on_centre(own, centre);
        if let Some(addition) = contribution {
            self.exchange
                .send(Message::Publish(VectorKind::Centre, Ok(addition)));
        }
        match pull {
            Some(pull) => self.apply_pull(pull, Scope::Local, module, layout),
            None => module,
        }
    }

    pub(super) fn handle<M: Module>(
        &mut self,
        command: Command,
        module: M,
        layout: &Arc<Layout>,
    ) -> M
    where
        I: InnerOptimizer<M>,
    {
        match command {
            Command::Publish => {
                let own = self.read(&module, layout);
                self.exchange
                    .send(Message::Publish(VectorKind::Parameters, own));
                module
            }
            Command::Adopt(delivery) => {
                if self.phase == StepPhase::Waiting {
                    self.phase = StepPhase::Done;
                }
                self.adopt(delivery, module, layout)
            }
            Command::Centre(centre) => self.take_centre(centre, module, layout),
            Command::Close => {
                self.phase = StepPhase::Closed;
                module
            }
        }
    }

    /// Applies the outcomes of exchanges, the local one first.
    fn adopt<M: Module>(&mut self, delivery: Delivery, module: M, layout: &Layout) -> M
    where
        I: InnerOptimizer<M>,
    {
        let module = match self.deferred.take() {
            Some(deferred) => self.step_with_mean(deferred, &delivery, module, layout),
            None => {
                let module = self.on_exchange(module, layout, Scope::Local, &delivery.local);
                self.on_exchange(module, layout, Scope::Global, &delivery.global)
            }
        };
        match delivery.buffers {
            Some(buffers) if buffers.len() == layout.buffer_len() => {
                let change = Change {
                    parameters: None,
                    buffers: Some((&buffers, 1.0)),
                };
                self.change(change, module, layout)
            }
            _ => module,
        }
    }

    /// The inner optimizer's step with the mean gradient; none if there is no mean.
    fn step_with_mean<M: Module>(
        &mut self,
        deferred: DeferredStep,
        delivery: &Delivery,
        module: M,
        layout: &Layout,
    ) -> M
    where
        I: InnerOptimizer<M>,
    {
        let local = delivery.local.mean.as_ref();
        let mean = local.or(delivery.global.mean.as_ref());
        let Some(mean) = self.checked(mean.into_iter(), layout).and(mean) else {
            return module;
        };
        let gradients = replace_gradients(&module, layout, deferred.gradients, mean.parameters());
        self.inner.step(deferred.rate, module, gradients)
    }

    /// Applies the pull that the method makes of an exchange's outcome.
    fn on_exchange<M: Module>(
        &mut self,
        module: M,
        layout: &Layout,
        scope: Scope,
        delivered: &ExchangeOutcome,
    ) -> M {
        if self.checked(delivered.vectors(), layout).is_none() {
            return module;
        }
        let at = ExchangeAt {
            own: self.exchange.id(),
            step: self.step,
            scope,
        };
        match self.rule.on_exchange(at, delivered) {
            Some(pull) => self.apply_pull(pull, scope, module, layout),
            None => module,
        }
    }

    /// Applies a pull, and reports it.
    fn apply_pull<M: Module>(&mut self, pull: Pull, scope: Scope, module: M, layout: &Layout) -> M {
        let Pull { target, strength } = pull;
        // A target computed from the outcome may still overflow.
        if self.checked(std::iter::once(&target), layout).is_none() {
            return module;
        }
        let follows = self.method.batch_norm == BatchNorm::Leader;
        let change = Change {
            parameters: Some((target.parameters(), strength)),
            buffers: follows.then_some((target.buffers(), strength)),
        };
        let module = self.change(change, module, layout);
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
    ) -> Result<Arc<Snapshot>, SnapshotError> {
        read(module, layout, self.source()).map(Arc::new)
    }

    /// This worker at its current step.
    pub(super) fn source(&self) -> Source {
        Source::Worker {
            id: self.exchange.id(),
            step: self.step,
        }
    }
}
