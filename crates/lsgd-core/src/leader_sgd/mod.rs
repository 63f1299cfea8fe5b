//! Leader SGD around any Burn optimizer.

mod peers;

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};

use crate::module::{Change, gradient_squares, read_gradients};
use crate::{
    Exchange, Layout, LossWindow, Message, Method, Mode, Refusal, Report, Rule, Snapshot,
    WindowLoss,
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

/// An optimizer that follows the leader: an inner [`ModuleOptimizer`], then whichever moves are due
/// by the [`Rule`] of its method (arXiv 1905.10395, Algorithm 1).
///
/// ```text
/// x <- inner optimizer(x, gradient)      every step
/// x <- x - strength (x - target)         every step, toward what was delivered last
/// x <- x - strength (x - target)         at an exchange, toward what it delivers
/// ```
///
/// The strengths are not multiplied by the learning rate. Only trainable parameters are moved:
/// momentum stays with its worker. Where workers share gradients, the inner optimizer takes its step
/// at the exchange, with their mean.
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
    /// The loss on the probe, where workers are ranked by it and it was told.
    probed: Option<f64>,
    rule: Box<dyn Rule>,
    /// The step that waits for the mean gradient, where workers share gradients.
    held: Option<Held>,
    phase: Phase,
}

/// A gradient step that is not taken yet.
struct Held {
    rate: ModuleLearningRate,
    gradients: GradientsParams,
    /// The same gradients, for the others.
    shared: Option<Result<Arc<Snapshot>, Refusal>>,
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
            probed: None,
            rule: method.rule(),
            held: None,
            method,
            exchange: Box::new(exchange),
            layout: None,
            step: 0,
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

    /// Whether it wants to know the loss on the [probe](crate::Objective::probe) now: where workers are
    /// ranked by it, every tau steps.
    pub fn wants_probe(&self) -> bool {
        self.method.probes() && self.method.elects() && self.method.periods.due(self.step).local
    }

    /// Tells the loss on the probe of the module as it is after the last gradient step.
    pub fn observe_probe(&mut self, loss: f64) {
        self.probed = Some(loss);
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

    /// The first half of [`step`](Self::step): the inner optimizer's step, unless that waits for the
    /// mean gradient, and the moves of every step.
    pub fn gradient_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        mut module: M,
        grads: GradientsParams,
    ) -> M {
        let layout = match self.layout.clone() {
            Some(layout) => layout,
            None => self.begin(&module),
        };
        self.step += 1;
        if self.phase != Phase::Closed {
            self.phase = Phase::Stepped;
        }
        let rate = lr.into();
        if self.method.shares_gradients() {
            let source = self.source();
            let shared = read_gradients(&module, &layout, source, &grads).map(Arc::new);
            self.held = Some(Held {
                rate,
                gradients: grads,
                shared: Some(shared),
            });
            return module;
        }
        if self.rule.wants_gradients() {
            let squares = gradient_squares(&module, &layout, &grads);
            self.rule.observe(&squares);
        }
        module = self.inner.step(rate, module, grads);
        for due in self.rule.between().into_iter().flatten() {
            let change = Change {
                parameters: Some((due.target.parameters(), due.strength)),
                buffers: None,
            };
            module = change.apply(module, &layout);
        }
        module
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
        let meets = self.exchange.mode() == Mode::Sync && self.method.exchanges();
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

    /// What ranks the worker: the mean training loss over the window, or the loss on the probe.
    fn score(&self) -> WindowLoss {
        match (self.method.probes(), self.probed) {
            (false, _) => self.window.loss(),
            (true, Some(loss)) => WindowLoss::Mean(loss),
            (true, None) => WindowLoss::Filling { have: 0, need: 1 },
        }
    }

    /// How the worker does, as its peers are told.
    pub fn report(&self) -> Report {
        Report {
            rank: self.exchange.rank(),
            step: self.step,
            loss: self.score(),
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

    /// Before the first step: what `module` holds, and for the rule where it begins.
    fn begin<M: Module>(&mut self, module: &M) -> Arc<Layout> {
        let layout = Layout::of(module);
        self.layout = Some(layout.clone());
        let has_centre = self.method.has_centre();
        if (has_centre || self.rule.wants_start())
            && let Ok(start) = self.read(module, &layout)
        {
            if has_centre {
                self.exchange.send(Message::Begin(start.clone()));
            }
            if self.rule.wants_start() {
                self.rule.begin(start);
            }
        }
        layout
    }
}
