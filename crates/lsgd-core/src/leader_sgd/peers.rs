//! A worker's messages to its peers, and what it does with their commands.

use std::sync::Arc;

use burn::module::Module;

use super::{DeferredStep, InnerOptimizer, LeaderSgd, StepPhase};
use crate::method::BatchNorm;
use crate::module::{Change, OnDevice, device_of, read, read_buffers, replace_gradients};
use crate::{
    CentreReply, CentreRequest, Command, Delivery, ExchangeAt, ExchangeOutcome, Factors, Layout,
    Message, Mode, Pull, Report, Scope, ShortDigest, Snapshot, SnapshotError, Source, VectorKind,
};

/// What a pull is recorded with.
struct Moved {
    scope: Scope,
    /// `async`: of a leader's parameters.
    digest: Option<ShortDigest>,
    /// The leader's factors, if another than this worker leads.
    followed: Option<Factors>,
}

impl<I> LeaderSgd<I> {
    /// Reports, and sends its contribution to an exchange.
    pub(super) fn send_report<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        self.phase = StepPhase::Done;
        if !self.is_report_due() {
            return;
        }
        let meets = self.exchange.mode() == Mode::Sync;
        let due = self.method.exchange_steps.due(self.step);
        let vector = self.method.averages();
        // In `async` its peers use the last ones it sent.
        let sends_buffers = self.method.batch_norm == BatchNorm::Mean && due.any();
        let shared = self
            .deferred
            .as_mut()
            .and_then(|deferred| deferred.shared.take());
        let own = match shared {
            Some(gradients) => Some(gradients),
            None => vector.is_some().then(|| self.read(module, layout)),
        };
        let buffers = match &own {
            _ if !sends_buffers => None,
            Some(own) => own.as_ref().ok().map(|own| own.buffers().into()),
            None => read_buffers(module, layout).ok().map(Arc::from),
        };
        let (report, behind) = match meets {
            true => (self.report(), 0),
            false => self.report_so_far(),
        };
        self.exchange.send(Message::Report {
            report,
            behind,
            buffers,
        });
        if let (Some(vector), Some(own)) = (vector, own) {
            self.observe_norms(layout);
            let own = own.map(|own| self.rule.contribution(own));
            self.exchange.send(Message::Publish(vector, own));
        }
        if self.method.has_centre() && due.local {
            self.request_centre(module, layout);
        }
        if meets {
            self.phase = StepPhase::Waiting;
        }
    }

    /// The report, with the losses that have been read if they are new enough; and by how many steps
    /// they are older than the report.
    fn report_so_far(&self) -> (Report, u64) {
        if self.method.probes() {
            return (self.report(), 0);
        }
        let (loss, behind) = self.window.recent(self.loss_lag);
        (self.report_of(loss), behind as u64)
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
            self.name([addition]);
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
            self.name([&addition]);
            self.exchange
                .send(Message::Publish(VectorKind::Centre, Ok(addition)));
        }
        let module = match pull {
            // It is named by its version.
            Some(pull) => {
                let moved = Moved {
                    scope: Scope::Local,
                    digest: None,
                    followed: None,
                };
                self.apply_pull(pull, moved, module, layout)
            }
            None => module,
        };
        self.targets.keep(&self.rule.proximal_pulls(), &module);
        module
    }

    /// Computes the digest by which the records of `async` name a vector: here rather than where all
    /// workers wait for each other.
    fn name<'a>(&self, vectors: impl IntoIterator<Item = &'a Arc<Snapshot>>) {
        if self.exchange.mode() == Mode::Async {
            for vector in vectors {
                let _ = vector.digest();
            }
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
                self.name(own.iter());
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
                self.take_buffers(&buffers, module, layout)
            }
            _ => module,
        }
    }

    /// Copies running statistics.
    fn take_buffers<M: Module>(&mut self, buffers: &[f32], module: M, layout: &Layout) -> M {
        let Some(device) = device_of(&module).filter(|_| !buffers.is_empty()) else {
            return module;
        };
        let buffers = OnDevice::upload("buffers", &[], buffers, &device);
        let change = Change {
            parameters: None,
            buffers: Some((&buffers, 1.0)),
        };
        self.moved = true;
        change.apply(module, layout)
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
        let Some(device) = device_of(&module) else {
            return module;
        };
        let mean = OnDevice::upload("mean gradient", mean.parameters(), &[], &device);
        let gradients = replace_gradients(&module, layout, deferred.gradients, &mean);
        self.inner_step(deferred.rate, module, gradients)
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
        let pull = self.rule.on_exchange(at, delivered);
        // Only `sync` exchanges deliver means, from which pulls of other vectors are made.
        let leader = delivered.leader.as_ref();
        let leader = leader.filter(|_| self.exchange.mode() == Mode::Async);
        let module = match (pull, leader) {
            (Some(pull), leader) => {
                let moved = Moved {
                    scope,
                    digest: leader.map(|leader| leader.digest().into()),
                    followed: self.factors_to_follow(delivered),
                };
                self.apply_pull(pull, moved, module, layout)
            }
            // That a node's leader receives its own parameters follows from its publishing them.
            (None, Some(own)) if scope == Scope::Global => {
                let (step, source) = (self.step, own.source());
                self.exchange.send(Message::Led { step, source });
                module
            }
            (None, _) => module,
        };
        self.targets.keep(&self.rule.proximal_pulls(), &module);
        module
    }

    /// Applies a pull, and reports it.
    fn apply_pull<M: Module>(&mut self, pull: Pull, moved: Moved, module: M, layout: &Layout) -> M {
        // A target computed from the outcome may still overflow.
        if self
            .checked(std::iter::once(&pull.target), layout)
            .is_none()
        {
            return module;
        }
        let Moved {
            scope,
            digest,
            followed,
        } = moved;
        // A pull of no strength does not follow.
        let followed = followed.filter(|_| pull.strength > 0.0);
        let factors = followed.and_then(|leaders| self.take_over(leaders, scope));
        let adopted = Message::Adopted {
            step: self.step,
            scope,
            source: pull.target.source(),
            strength: pull.strength,
            digest,
            factors,
        };
        let follows = self.targets.with_buffers();
        let module = self.pull(pull, follows, module, layout);
        self.exchange.send(adopted);
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
        read(module, layout, self.source()).map(|own| self.with_factors(own))
    }

    /// This worker at its current step.
    pub(super) fn source(&self) -> Source {
        Source::Worker {
            id: self.exchange.id(),
            step: self.step,
        }
    }
}
