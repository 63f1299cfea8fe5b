//! Leader SGD around any Burn optimizer.

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};

use crate::method::{BatchNorm, Pull};
use crate::module::{Change, read};
use crate::{
    Adoption, Exchange, Layout, LossWindow, Message, Method, Mode, Order, Refusal, Report, Scope,
    Snapshot, Source, Vector, WindowLoss,
};

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Take another step.
    Continue,
    /// A meeting is under way: call [`LeaderSgd::exchange`] again when there is an order.
    Wait,
    /// The run is over.
    Stop,
}

/// An optimizer that follows the leader: an inner [`ModuleOptimizer`], then whichever pulls are
/// due (arXiv 1905.10395, Algorithm 1).
///
/// ```text
/// gradient step    x <- inner optimizer(x, gradient)              every step
/// global prox      x <- x - (p2 / tau_G) (x - last global leader)  every step
/// local prox       x <- x - (p1 / tau) (x - last local leader)     every step
/// local pull       x <- x - lambda (x - local leader)              at a local exchange
/// global pull      x <- x - lambda_G (x - global leader)           at a global exchange
/// ```
///
/// The strengths are not multiplied by the learning rate. Only trainable parameters are pulled:
/// momentum stays with its worker. The prox pulls wait for a first leader. A leader is pulled to
/// itself by nothing: a single worker's bits are those of its inner optimizer.
///
/// It offers `step`, `to_record` and `load_record` as [`ModuleOptimizer`] does. It is not an
/// `impl Optimizer`, whose `step` never learns which parameter it holds.
pub struct LeaderSgd {
    inner: ModuleOptimizer,
    method: Method,
    exchange: Box<dyn Exchange>,
    layout: Option<Arc<Layout>>,
    step: u64,
    window: LossWindow,
    /// The leaders last received; none where this worker leads.
    leaders: Adoption,
    phase: Phase,
}

/// Where the worker is within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The gradient step is taken, the peers do not know yet.
    Stepped,
    /// The peers know, and the worker waits for their answer.
    Waiting,
    /// Nothing is left to do before the next gradient step.
    Done,
    /// The run is over.
    Closed,
}

impl LeaderSgd {
    /// Wraps `inner`; `exchange` connects to the peers, for threads a
    /// [`Member`](crate::Member) of a [`Group`](crate::Group).
    pub fn new(inner: ModuleOptimizer, method: Method, exchange: impl Exchange + 'static) -> Self {
        Self {
            inner,
            window: LossWindow::new(method.loss_window),
            method,
            exchange: Box::new(exchange),
            layout: None,
            step: 0,
            leaders: Adoption::default(),
            phase: Phase::Done,
        }
    }

    /// Counts steps from `step` on: those before were taken by others, or in a life before.
    pub fn starting_at(mut self, step: u64) -> Self {
        self.step = step;
        self
    }

    /// Tells the mean training loss of the batch whose gradients the next [`step`](Self::step)
    /// takes. A worker whose last `loss_window` losses are not known never leads.
    pub fn observe(&mut self, loss: f32) {
        self.window.push(loss);
    }

    /// The inner optimizer's step, then the pulls that are due; waits for peers if the connection
    /// waits. Gradients are those of `module`.
    pub fn step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> M {
        let module = self.gradient_step(lr, module, grads);
        self.exchange(module).0
    }

    /// The first half of [`step`](Self::step): the inner optimizer's step and the prox pulls.
    pub fn gradient_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> M {
        let layout = self
            .layout
            .get_or_insert_with(|| Layout::of(&module))
            .clone();
        let module = self.inner.step(lr, module, grads);
        self.step += 1;
        if self.phase != Phase::Closed {
            self.phase = Phase::Stepped;
        }
        let module = self.prox(module, &layout, Scope::Global);
        self.prox(module, &layout, Scope::Local)
    }

    /// The second half of [`step`](Self::step): tells the peers and does what they order. Call it
    /// until it no longer says [`Next::Wait`].
    pub fn exchange<M: Module>(&mut self, mut module: M) -> (M, Next) {
        let Some(layout) = self.layout.clone() else {
            return (module, Next::Continue);
        };
        if self.phase == Phase::Stepped {
            self.tell(&module, &layout);
        }
        // Where peers meet, orders come only to those who wait; who never meets is told at once.
        let meets = self.exchange.mode() == Mode::Sync && self.method.vector.is_some();
        while self.phase != Phase::Closed {
            let waiting = self.phase == Phase::Waiting;
            if meets && !waiting {
                break;
            }
            let Some(order) = self.exchange.receive(waiting) else {
                break;
            };
            module = self.obey(order, module, &layout);
        }
        let next = match self.phase {
            Phase::Waiting => Next::Wait,
            Phase::Closed => Next::Stop,
            Phase::Done | Phase::Stepped => Next::Continue,
        };
        (module, next)
    }

    /// The step it is at: steps taken, and those before it [began](Self::starting_at).
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The mean training loss over the window.
    pub fn loss(&self) -> WindowLoss {
        self.window.loss()
    }

    /// How the worker does, as its peers are told.
    pub fn report(&self) -> Report {
        Report {
            rank: self.exchange.rank(),
            step: self.step,
            loss: self.window.loss(),
            joined: true,
        }
    }

    /// The inner optimizer's state, as [`ModuleOptimizer::to_record`].
    pub fn to_record(&self) -> OptimizerRecord {
        self.inner.to_record()
    }

    /// Loads the inner optimizer's state, as [`ModuleOptimizer::load_record`].
    pub fn load_record(mut self, record: OptimizerRecord) -> Self {
        self.inner = self.inner.load_record(record);
        self
    }

    /// Reports, and brings what a meeting needs of everybody.
    fn tell<M: Module>(&mut self, module: &M, layout: &Arc<Layout>) {
        self.phase = Phase::Done;
        let Some(vector) = self.method.vector else {
            return;
        };
        let meets = self.exchange.mode() == Mode::Sync;
        if meets && !self.method.periods.due(self.step).any() {
            return;
        }
        let averages = self.method.batch_norm == BatchNorm::Mean;
        let own = (averages || vector == Vector::Mean).then(|| self.read(module, layout));
        let buffers = match &own {
            Some(Ok(own)) if averages => Some(own.buffers().into()),
            _ => None,
        };
        self.exchange.send(Message::Report {
            report: self.report(),
            buffers,
        });
        if let (Vector::Mean, Some(own)) = (vector, own) {
            self.exchange.send(Message::Publish(vector, own));
        }
        if meets {
            self.phase = Phase::Waiting;
        }
    }

    fn obey<M: Module>(&mut self, order: Order, module: M, layout: &Arc<Layout>) -> M {
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
            Order::Centre(_) => module,
            Order::Close => {
                self.phase = Phase::Closed;
                module
            }
        }
    }

    /// The pulls of Algorithm 1, the local one first.
    fn adopt<M: Module>(&mut self, adoption: Adoption, module: M, layout: &Layout) -> M {
        let module = self.pull(module, layout, Scope::Local, adoption.local);
        let module = self.pull(module, layout, Scope::Global, adoption.global);
        match adoption.buffers {
            Some(buffers) if buffers.len() == layout.buffer_len() => Change {
                parameters: None,
                buffers: Some((&buffers, 1.0)),
            }
            .apply(module, layout),
            _ => module,
        }
    }

    /// `x <- x - strength (x - leader)`; a leader is not pulled to itself.
    fn pull<M: Module>(
        &mut self,
        module: M,
        layout: &Layout,
        scope: Scope,
        leader: Option<Arc<Snapshot>>,
    ) -> M {
        let Some(leader) = leader else {
            return module;
        };
        if let Err(why) = leader.check(layout) {
            let step = self.step;
            self.exchange.send(Message::Refused { step, why });
            return module;
        }
        let source = leader.source();
        if matches!(source, Source::Worker { rank, .. } if rank == self.exchange.rank()) {
            *self.last_leader(scope) = None;
            return module;
        }
        *self.last_leader(scope) = Some(leader.clone());
        let strength = self.strengths(scope).strength;
        let follows = self.method.batch_norm == BatchNorm::Leader;
        let module = Change {
            parameters: Some((leader.parameters(), strength)),
            buffers: follows.then_some((leader.buffers(), strength)),
        }
        .apply(module, layout);
        self.exchange.send(Message::Adopted {
            step: self.step,
            scope,
            source,
            strength,
        });
        module
    }

    /// `x <- x - (prox / period) (x - last leader)`.
    fn prox<M: Module>(&mut self, module: M, layout: &Layout, scope: Scope) -> M {
        let strength = self.strengths(scope).every_step;
        match self.last_leader(scope) {
            Some(leader) if strength != 0.0 => Change {
                parameters: Some((leader.parameters(), strength)),
                buffers: None,
            }
            .apply(module, layout),
            _ => module,
        }
    }

    fn strengths(&self, scope: Scope) -> Pull {
        match scope {
            Scope::Local => self.method.local,
            Scope::Global => self.method.global,
        }
    }

    fn last_leader(&mut self, scope: Scope) -> &mut Option<Arc<Snapshot>> {
        match scope {
            Scope::Local => &mut self.leaders.local,
            Scope::Global => &mut self.leaders.global,
        }
    }

    fn read<M: Module>(&self, module: &M, layout: &Arc<Layout>) -> Result<Arc<Snapshot>, Refusal> {
        let source = Source::Worker {
            rank: self.exchange.rank(),
            step: self.step,
        };
        read(module, layout, source).map(Arc::new)
    }
}
