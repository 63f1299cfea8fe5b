//! Leader SGD around any Burn optimizer.

mod inner;
mod peers;
mod targets;
mod varying;

use std::sync::Arc;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};

pub use inner::InnerOptimizer;
use targets::Targets;
pub use varying::TakeOver;

use crate::method::BatchNorm;
use crate::module::{Change, SquaredNorms, read_gradients};
use crate::{
    Exchange, Factors, GradientClip, Layout, Loss, LossWindow, Message, Method, Mode, Pull, Report,
    Rule, RuleState, Snapshot, SnapshotError, StateError, WindowLoss, WorkerState,
};

/// Most steps whose gradient norms stay on the device: after so many they are read.
const MAX_UNREAD_NORMS: usize = 64;

/// What the worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Take another step.
    Continue,
    /// An exchange is under way: call [`LeaderSgd::exchange`] again when there is a command.
    Wait,
    /// The run is over.
    Stop,
}

/// An optimizer that follows the leader: an inner [`ModuleOptimizer`], then the pulls that the
/// [`Rule`] of its method asks for (arXiv 1905.10395, Algorithm 1).
///
/// ```text
/// x <- inner optimizer(x, gradient)      every step
/// x <- x - strength (x - target)         every step, toward what was delivered last
/// x <- x - strength (x - target)         at an exchange, toward what it delivers
/// ```
///
/// The strengths are not multiplied by the learning rate. Only trainable parameters are pulled:
/// momentum stays with its worker. Where workers share gradients, the inner optimizer takes its
/// step at the exchange, with their mean.
///
/// It has `step` as [`ModuleOptimizer`] does. It is not an `impl Optimizer`, whose `step` never
/// learns which parameter it holds. If gradient steps are not taken
/// by a [`ModuleOptimizer`], `I` is any other [`InnerOptimizer`].
pub struct LeaderSgd<I = ModuleOptimizer> {
    inner: I,
    clip: Option<GradientClip>,
    factors: Factors,
    /// What it makes of its leader's factors, if it takes them over.
    take_over: Option<TakeOver>,
    method: Method,
    exchange: Box<dyn Exchange>,
    layout: Option<Arc<Layout>>,
    step: u64,
    window: LossWindow,
    /// In `async`: by how many steps the losses of a report may be older than it.
    loss_lag: usize,
    /// The last probe loss, if workers are ranked by it.
    probed: Option<f64>,
    rule: Box<dyn Rule>,
    /// The norms of the last gradients, which the rule does not know yet.
    norms: Vec<SquaredNorms>,
    targets: Targets,
    /// The step that waits for the mean gradient, if workers share gradients.
    deferred: Option<DeferredStep>,
    /// Whether a pull has changed the module since the inner optimizer last saw it.
    moved: bool,
    phase: StepPhase,
}

/// A gradient step that has not been taken yet.
struct DeferredStep {
    rate: ModuleLearningRate,
    gradients: GradientsParams,
    /// The same gradients, for the other workers.
    shared: Option<Result<Arc<Snapshot>, SnapshotError>>,
}

/// The worker's position within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepPhase {
    /// The gradient step has been taken; the peers do not know yet.
    Stepped,
    /// The peers know, and the worker waits for their answer.
    Waiting,
    /// Nothing is left to do before the next gradient step.
    Done,
    /// The run is over.
    Closed,
}

impl<I> LeaderSgd<I> {
    /// Wraps `inner`; `exchange` connects to the peers: for threads, a [`Member`](crate::Member) of
    /// a [`Group`](crate::Group).
    pub fn new(inner: I, method: Method, exchange: impl Exchange + 'static) -> Self {
        Self {
            inner,
            clip: None,
            factors: Factors::ONE,
            take_over: None,
            window: LossWindow::new(method.loss_window),
            loss_lag: 0,
            probed: None,
            rule: method.rule(),
            norms: Vec::new(),
            targets: Targets::new(method.batch_norm == BatchNorm::Leader),
            deferred: None,
            moved: false,
            method,
            exchange: Box::new(exchange),
            layout: None,
            step: 0,
            phase: StepPhase::Done,
        }
    }

    /// Limits the gradients of every step, if `clip` says so. The rule of the method sees a worker's own
    /// gradients without this limit.
    #[must_use]
    pub fn clipping(mut self, clip: Option<GradientClip>) -> Self {
        self.clip = clip;
        self
    }

    /// Counts steps from `step` on; earlier ones were taken by other workers or an earlier
    /// incarnation.
    pub fn starting_at(mut self, step: u64) -> Self {
        self.step = step;
        self
    }

    /// In `async`, where every step reports: reads losses only every `steps` steps (at least 1, the
    /// default), if nobody else has read them. The losses of a report are then up to `steps - 1`
    /// steps old, which counts as its age. On a GPU a read waits for the step, so that the next one
    /// begins late.
    pub fn reading_losses_every(mut self, steps: usize) -> Self {
        self.loss_lag = steps.saturating_sub(1);
        self.window.set_lag(self.loss_lag);
        self
    }

    /// What it remembers between two steps, apart from the inner optimizer's state. Call it at a
    /// step boundary: of a step that waits for its exchange it knows nothing.
    pub fn state(&self) -> WorkerState {
        WorkerState {
            step: self.step,
            losses: self.window.losses().collect(),
            probed: self.probed,
            rule: self.rule_state(),
            factors: self.shared_factors(),
        }
    }

    /// Continues from `state`, with a module of `layout`.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the state is not one of this method.
    pub fn resuming(
        mut self,
        state: &WorkerState,
        layout: Arc<Layout>,
    ) -> Result<Self, StateError> {
        self.step = state.step;
        self.window.clear();
        for loss in &state.losses {
            self.window.push(*loss);
        }
        self.probed = state.probed;
        self.rule.resume(&state.rule)?;
        self.resume_factors(state.factors)?;
        self.layout = Some(layout);
        if self.rule.awaits_centre() {
            // The answer was lost with the process.
            self.exchange.send(Message::WantCentre);
        }
        Ok(self)
    }

    /// What the rule remembers, with the gradient norms that it does not know yet.
    fn rule_state(&self) -> RuleState {
        let (Some(layout), false) = (&self.layout, self.norms.is_empty()) else {
            return self.rule.state();
        };
        let mut rule = self.rule.fresh();
        rule.resume(&self.rule.state()).expect("its own state");
        for squares in SquaredNorms::read_all(&self.norms, layout) {
            rule.observe(&squares);
        }
        rule.state()
    }

    /// Tells the rule the gradient norms that it does not know yet: at most one blocking read.
    fn observe_norms(&mut self, layout: &Layout) {
        let norms = std::mem::take(&mut self.norms);
        for squares in SquaredNorms::read_all(&norms, layout) {
            self.rule.observe(&squares);
        }
    }

    /// Sets the mean training loss of the batch whose gradients the next [`step`](Self::step)
    /// takes: a tensor of shape `[1]`, or a number. A tensor stays on its device until the loss is
    /// needed, which on a GPU is much faster than to read it in every step. A worker whose last
    /// `loss_window` losses are not known never leads.
    pub fn observe(&mut self, loss: impl Into<Loss>) {
        self.window.push(loss);
    }

    /// Whether to call [`observe_probe`](Self::observe_probe) now: every tau steps, if workers are
    /// ranked by the [probe](crate::Objective::probe) loss.
    pub fn wants_probe(&self) -> bool {
        self.method.probes()
            && self.method.ranks()
            && self.method.exchange_steps.due(self.step).local
    }

    /// Sets the probe loss of the module as it is after the last gradient step.
    pub fn observe_probe(&mut self, loss: f64) {
        self.probed = Some(loss);
    }

    /// The inner optimizer's step, then the pulls that are due; waits for peers if the connection
    /// waits. The gradients are those of `module`.
    pub fn step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> M
    where
        I: InnerOptimizer<M>,
    {
        let module = self.gradient_step(lr, module, grads);
        self.exchange(module).0
    }

    /// Whether an [`exchange`](Self::exchange) after the last step reports to the peers: in `sync` if
    /// one is due, in `async` after every step.
    pub fn is_report_due(&self) -> bool {
        let meets = self.exchange.mode() == Mode::Sync;
        self.method.exchanges() && (!meets || self.method.exchange_steps.due(self.step).any())
    }

    /// The first half of [`step`](Self::step): the inner optimizer's step, unless that waits for
    /// the mean gradient, and the proximal pulls.
    pub fn gradient_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        mut module: M,
        grads: GradientsParams,
    ) -> M
    where
        I: InnerOptimizer<M>,
    {
        let layout = self.begin(&module);
        self.step += 1;
        if self.phase != StepPhase::Closed {
            self.phase = StepPhase::Stepped;
        }
        let rate = lr.into();
        if self.method.shares_gradients() {
            let source = self.source();
            let shared = read_gradients(&module, &layout, source, &grads).map(Arc::new);
            self.deferred = Some(DeferredStep {
                rate,
                gradients: grads,
                shared: Some(shared),
            });
            return module;
        }
        if self.rule.wants_gradients() {
            self.norms.push(SquaredNorms::of(&module, &layout, &grads));
            if self.norms.len() >= MAX_UNREAD_NORMS {
                self.observe_norms(&layout);
            }
        }
        module = self.inner_step(rate, module, grads);
        for pull in self.rule.proximal_pulls().into_iter().flatten() {
            module = self.pull(pull, false, module, &layout);
        }
        self.notify_moved(&module);
        module
    }

    /// The second half of [`step`](Self::step): reports to the peers and handles their commands.
    /// Call it until it no longer returns [`Next::Wait`].
    pub fn exchange<M: Module>(&mut self, mut module: M) -> (M, Next)
    where
        I: InnerOptimizer<M>,
    {
        let Some(layout) = self.layout.clone() else {
            return (module, Next::Continue);
        };
        if self.phase == StepPhase::Stepped {
            self.send_report(&module, &layout);
        }
        // In `sync` commands arrive only while the worker waits; in `async` at any time.
        let meets = self.exchange.mode() == Mode::Sync && self.method.exchanges();
        while self.phase != StepPhase::Closed {
            let waiting = self.phase == StepPhase::Waiting;
            if meets && !waiting {
                break;
            }
            let Some(command) = self.exchange.receive(waiting) else {
                break;
            };
            module = self.handle(command, module, &layout);
        }
        self.notify_moved(&module);
        let next = match self.phase {
            StepPhase::Waiting => Next::Wait,
            StepPhase::Closed => Next::Stop,
            StepPhase::Done | StepPhase::Stepped => Next::Continue,
        };
        (module, next)
    }

    /// Steps taken, including those before [`starting_at`](Self::starting_at).
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The mean training loss over the window; at most one blocking read.
    pub fn loss(&self) -> WindowLoss {
        self.window.loss()
    }

    /// The loss that ranks the worker: the mean training loss over the window, or the probe loss.
    fn score(&self) -> WindowLoss {
        match (self.method.probes(), self.probed) {
            (false, _) => self.window.loss(),
            (true, Some(loss)) => WindowLoss::Mean(loss),
            (true, None) => WindowLoss::Filling { have: 0, need: 1 },
        }
    }

    /// The worker's report, with its newest losses; at most one blocking read.
    pub fn report(&self) -> Report {
        self.report_of(self.score())
    }

    fn report_of(&self, loss: WindowLoss) -> Report {
        Report {
            id: self.exchange.id(),
            step: self.step,
            loss,
            joined: true,
        }
    }

    /// The inner optimizer.
    pub fn inner(&self) -> &I {
        &self.inner
    }

    /// The inner optimizer, for settings that change between steps.
    pub fn inner_mut(&mut self) -> &mut I {
        &mut self.inner
    }

    /// The inner optimizer's step along limited gradients.
    fn inner_step<M: Module>(
        &mut self,
        rate: ModuleLearningRate,
        module: M,
        gradients: GradientsParams,
    ) -> M
    where
        I: InnerOptimizer<M>,
    {
        let gradients = match self.clip {
            Some(clip) => clip.apply(&module, gradients),
            None => gradients,
        };
        self.inner.step(rate, module, gradients)
    }

    /// Pulls the module's parameters, and its buffers too if asked, and remembers that for the inner
    /// optimizer.
    fn pull<M: Module>(&mut self, pull: Pull, buffers: bool, module: M, layout: &Layout) -> M {
        let Pull { target, strength } = pull;
        if strength == 0.0 {
            return module;
        }
        let Some(target) = self.targets.get(&target, &module) else {
            return module;
        };
        let change = Change {
            parameters: Some((&target, strength)),
            buffers: buffers.then_some((&target, strength)),
        };
        self.moved = true;
        change.apply(module, layout)
    }

    /// Passes the module to the inner optimizer, if a pull has changed it.
    fn notify_moved<M: Module>(&mut self, module: &M)
    where
        I: InnerOptimizer<M>,
    {
        if std::mem::take(&mut self.moved) {
            self.inner.moved(module);
        }
    }

    /// Finds the layout of `module`, and tells the rule and the peers where the worker starts. Later calls
    /// only return the layout.
    ///
    /// The first step does this too, but after a forward pass, which has changed BatchNorm's running
    /// statistics: a loop of your own with a method that has a centre calls it before. [`Worker`](crate::Worker)
    /// does.
    pub fn begin<M: Module>(&mut self, module: &M) -> Arc<Layout> {
        if let Some(layout) = &self.layout {
            return layout.clone();
        }
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

impl LeaderSgd {
    /// The inner optimizer's state alone, as [`ModuleOptimizer::to_record`]. The rest is its
    /// [`state`](Self::state).
    pub fn inner_record(&self) -> OptimizerRecord {
        self.inner.to_record()
    }

    /// Loads the inner optimizer's state alone, as [`ModuleOptimizer::load_record`]. The rest is
    /// taken up by [`resuming`](Self::resuming).
    pub fn load_inner_record(mut self, record: OptimizerRecord) -> Self {
        self.inner = self.inner.load_record(record);
        self
    }
}
