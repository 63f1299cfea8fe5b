//! Drives the workers of a replay through their [`Script`], and compares.
//!
//! In turns: everything that can be done where the workers are, in order of worker; then those that are
//! least far take steps, all at once. What comes of it does not depend on which is the fastest, and no
//! worker gets so far ahead that others would have to keep what it published meanwhile.

use std::sync::Arc;

use lsgd_core::{
    Command, Delivery, ExchangeOutcome, Message, Scope, ShortDigest, Snapshot, Source, VectorKind,
};

use super::log::Place;
use super::player::{Player, Stopped};
use super::script::{Act, Action, ChangedBy, Script, StageId, Version};
use super::vectors::{Published, Vectors};
use super::workers::{Stop, Workers, wait};
use super::{Difference, Replayed};
use crate::error::RunError;

/// A replay under way.
pub struct Driver<'a> {
    pub script: &'a Script,
    /// How many actions of each stage are done.
    pub needed: Vec<usize>,
    pub vectors: Vectors,
    pub workers: Workers,
    pub initial: Arc<Snapshot>,
    /// How far a worker may be ahead of the one that is least far, in steps.
    pub ahead: u64,
    pub players: Vec<Player>,
    pub replayed: Replayed,
}

impl Driver<'_> {
    /// Replays everything that is needed.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where it differs first, or if it cannot go on.
    pub fn run(&mut self) -> Result<(), Stopped> {
        while self.players.iter().any(|player| !player.stages.is_empty()) {
            let mut progress = self.bring_centres_forward()?;
            for number in 0..self.players.len() {
                while self.act(number)? {
                    progress = true;
                }
            }
            progress |= self.step()?;
            if !progress {
                return Err(self.stuck().into());
            }
        }
        Ok(())
    }

    fn bring_centres_forward(&mut self) -> Result<bool, RunError> {
        let mut any = false;
        loop {
            let mut progress = false;
            for (number, plan) in self.script.centres.iter().enumerate() {
                while self.vectors.bring_forward(number, plan, &self.initial)? {
                    progress = true;
                }
            }
            match progress {
                true => any = true,
                false => return Ok(any),
            }
        }
    }

    /// Has the workers that are least far take steps, up to where there is something to do. Returns
    /// whether there were any.
    fn step(&mut self) -> Result<bool, Stopped> {
        let mut targets = Vec::new();
        for (number, player) in self.players.iter().enumerate() {
            let action = self.next_action(player).map(|(_, action)| action);
            targets.extend(
                action
                    .filter(|a| a.step > player.step)
                    .map(|a| (number, a.step)),
            );
        }
        let least = targets.iter().map(|(_, step)| *step).min().unwrap_or(0);
        let limit = least.saturating_add(self.ahead);
        targets.retain(|(_, step)| *step <= limit);
        let awaited: Vec<_> = targets
            .iter()
            .map(|(number, step)| (*number, *step, self.workers.advance(*number, *step)))
            .collect();
        let stops: Vec<_> = awaited
            .iter()
            .map(|(number, to, awaited)| (*number, *to, wait(*number, awaited)))
            .collect();
        for (number, to, stop) in stops {
            let Stop {
                step,
                messages,
                buffers,
            } = stop?;
            let player = &mut self.players[number];
            self.replayed.steps += step.saturating_sub(player.step);
            player.step = step;
            player.messages = messages;
            player.buffers = buffers;
            player.asks = false;
            if step < to {
                return Err(self.differs(number, format!("it asks for its centre at step {step}")));
            }
        }
        Ok(!targets.is_empty())
    }

    /// The next action of a worker, and its number in the stage.
    fn next_action(&self, player: &Player) -> Option<((StageId, usize), &Action)> {
        let stage = *player.stages.last().filter(|_| player.has_begun)?;
        let action = self.script.stages.get(stage)?.actions.get(player.next)?;
        Some(((stage, player.next), action))
    }

    /// Does what a worker has to do next, if it is where that is to be done and everything is there.
    /// Returns whether it did.
    fn act(&mut self, number: usize) -> Result<bool, Stopped> {
        let player = &mut self.players[number];
        let Some(&current) = player.stages.last() else {
            return Ok(false);
        };
        let script = self.script;
        let Some(stage) = script.stages.get(current) else {
            return Ok(false);
        };
        if !player.has_begun {
            if !self.vectors.has(&stage.start) {
                return Ok(false);
            }
            if let Some(from) = self.vectors.start(&stage.start, &self.initial)? {
                self.workers.begin(number, from, stage.step)?;
                (player.has_begun, player.next, player.step) = (true, 0, stage.step);
                player.messages.clear();
            }
            return Ok(true);
        }
        if self
            .needed
            .get(current)
            .is_none_or(|needed| player.next >= *needed)
        {
            player.stages.pop();
            player.has_begun = false;
            return Ok(true);
        }
        let Some(action) = stage
            .actions
            .get(player.next)
            .filter(|a| a.step == player.step)
        else {
            return Ok(false);
        };
        let asks = !player.messages.is_empty() || player.asks;
        if asks && !matches!(action.act, Act::Centre { .. }) {
            return Err(self.differs(number, "it asks for its centre"));
        }
        let id = (current, player.next);
        let done = match &action.act {
            Act::Report => self.report(number, id)?,
            Act::Publish { digest, averaged } => match self.vectors.average(averaged) {
                Some(buffers) => self.publish(number, id, *digest, buffers)?,
                None => false,
            },
            Act::Adopt { taken, strength } => match self.vectors.take(*taken)? {
                Some(leader) => {
                    let told = (taken.scope, leader.snapshot.source(), *strength);
                    self.adopt(number, taken.digest, leader, told)?
                }
                None => false,
            },
            Act::Lead(source) => self.lead(number, *source)?,
            Act::Centre {
                read,
                strength,
                made,
            } => self.centre(number, *read, *made, *strength)?,
            Act::Compare(digest) => self.compare(number, digest)?,
        };
        if done {
            let player = &mut self.players[number];
            player.agreed = Some(action.place.clone());
            player.next += 1;
            // A report has no line of its own.
            let is_line = !matches!(action.act, Act::Report);
            self.replayed.lines += usize::from(is_line);
        }
        Ok(done)
    }

    /// The worker's running statistics are averaged by those who publish later.
    fn report(&mut self, number: usize, id: (StageId, usize)) -> Result<bool, Stopped> {
        match self.players[number].buffers.clone() {
            Some(buffers) => self.vectors.report(id, buffers),
            None => return Err(self.differs(number, "it reports no statistics")),
        }
        Ok(true)
    }

    /// The worker publishes, and leads its node.
    fn publish(
        &mut self,
        number: usize,
        id: (StageId, usize),
        recorded: ShortDigest,
        buffers: Option<Arc<[f32]>>,
    ) -> Result<bool, Stopped> {
        let mut messages = self.workers.take(number, Command::Publish)?.into_iter();
        let Some(Message::Publish(VectorKind::Parameters, Ok(snapshot))) = messages.next() else {
            return Err(self.differs(number, "it publishes nothing"));
        };
        let found: ShortDigest = snapshot.digest().into();
        if found != recorded {
            let what = format!("it publishes parameters of digest {found}, not {recorded}");
            return Err(self.differs(number, what));
        }
        self.replayed.compared += 1;
        let own = Published { snapshot, buffers };
        self.vectors.publish(id, own.clone());
        // It receives its own parameters at once, and is not pulled.
        self.deliver(number, Scope::Local, own)?;
        Ok(true)
    }

    fn adopt(
        &mut self,
        number: usize,
        digest: ShortDigest,
        leader: Published,
        (scope, source, strength): (Scope, Source, f64),
    ) -> Result<bool, Stopped> {
        let found: ShortDigest = leader.snapshot.digest().into();
        if found != digest {
            let what = format!("{source} arrives with digest {found}, not {digest}");
            return Err(self.differs(number, what));
        }
        let messages = self.deliver(number, scope, leader)?;
        self.check_pull(number, &messages, (scope, source, strength))
    }

    /// The worker leads all nodes: only the name of what it receives counts.
    fn lead(&mut self, number: usize, source: Source) -> Result<bool, Stopped> {
        let own = Published {
            snapshot: Arc::new(Snapshot::clone(&self.initial).with_source(source)),
            buffers: None,
        };
        let messages = self.deliver(number, Scope::Global, own)?;
        match messages.as_slice() {
            [Message::Led { .. }] => Ok(true),
            _ => Err(self.differs(number, format!("{source} is not its own"))),
        }
    }

    /// The worker adds to its centre and is moved by it.
    fn centre(
        &mut self,
        number: usize,
        read: Version,
        made: u64,
        strength: f64,
    ) -> Result<bool, Stopped> {
        let made = Version {
            number: made,
            ..read
        };
        let player = &mut self.players[number];
        let messages = std::mem::take(&mut player.messages);
        let asks = |message: &Message| matches!(message, Message::WantCentre);
        player.asks |= messages.iter().any(asks);
        if !player.asks {
            return Err(self.differs(number, "it does not ask for its centre"));
        }
        self.add(number, made, messages)?;
        self.bring_centres_forward()?;
        let Some(centre) = self.vectors.read(read) else {
            return Ok(false);
        };
        self.players[number].asks = false;
        let source = centre.source();
        let messages = self.workers.take(number, Command::Centre(centre))?;
        let pulls = self.add(number, made, messages)?;
        self.check_pull(number, &pulls, (Scope::Local, source, strength))
    }

    /// Hands an addition to the centre on. Returns the other messages.
    fn add(
        &mut self,
        number: usize,
        made: Version,
        messages: Vec<Message>,
    ) -> Result<Vec<Message>, Stopped> {
        let mut others = Vec::new();
        for message in messages {
            match message {
                Message::Publish(VectorKind::Centre, Ok(addition)) => {
                    let found: ShortDigest = addition.digest().into();
                    let change = self.script.centres.get(made.centre).and_then(|centre| {
                        centre
                            .changes
                            .get(usize::try_from(made.number).ok()?.checked_sub(1)?)
                    });
                    if let Some(change) = change
                        && let ChangedBy::Addition { digest, .. } = change.by
                        && digest != found
                    {
                        let what = format!("it adds digest {found} to the centre, not {digest}");
                        return Err(self.differs_at(number, change.place.clone(), what));
                    }
                    self.replayed.compared += 1;
                    self.vectors.add(made, addition);
                }
                Message::WantCentre => {}
                message => others.push(message),
            }
        }
        Ok(others)
    }

    fn compare(&mut self, number: usize, recorded: &str) -> Result<bool, Stopped> {
        let found = self.workers.read(number)?.digest().to_string();
        if found != recorded {
            let what = format!("its parameters have digest {found}, not {recorded}");
            return Err(self.differs(number, what));
        }
        self.replayed.compared += 1;
        Ok(true)
    }

    fn deliver(
        &mut self,
        number: usize,
        scope: Scope,
        leader: Published,
    ) -> Result<Vec<Message>, RunError> {
        let outcome = ExchangeOutcome::leader(leader.snapshot);
        let (local, global) = match scope {
            Scope::Local => (outcome, ExchangeOutcome::default()),
            Scope::Global => (ExchangeOutcome::default(), outcome),
        };
        let delivery = Delivery {
            local,
            global,
            buffers: leader.buffers,
        };
        self.workers.take(number, Command::Adopt(delivery))
    }

    /// Whether the worker was pulled as recorded.
    fn check_pull(
        &self,
        number: usize,
        messages: &[Message],
        (scope, source, strength): (Scope, Source, f64),
    ) -> Result<bool, Stopped> {
        let found = messages.iter().find_map(|message| match message {
            Message::Adopted {
                scope,
                source,
                strength,
                ..
            } => Some((*scope, *source, *strength)),
            _ => None,
        });
        match found {
            Some(found) if found == (scope, source, strength) => Ok(true),
            Some((_, source, found)) => {
                let what =
                    format!("it is pulled to {source} with strength {found}, not {strength}");
                Err(self.differs(number, what))
            }
            None => Err(self.differs(number, format!("it is not pulled to {source}"))),
        }
    }

    /// A worker differs in its next action.
    fn differs(&self, number: usize, what: impl Into<String>) -> Stopped {
        let player = &self.players[number];
        let place = self
            .next_action(player)
            .map(|(_, action)| action.place.clone());
        match place {
            Some(place) => self.differs_at(number, place, what.into()),
            None => self.stuck().into(),
        }
    }

    fn differs_at(&self, number: usize, place: Place, what: String) -> Stopped {
        let player = &self.players[number];
        Stopped::Differs(Box::new(Difference {
            place,
            worker: player.id,
            step: player.step,
            what,
            agreed: player.agreed.clone(),
        }))
    }

    /// Nobody can go on: everyone who could waits for what is not recorded.
    fn stuck(&self) -> RunError {
        let waiting = self.players.iter().find_map(|player| {
            let stage = self.script.stages.get(*player.stages.last()?)?;
            let action = stage
                .actions
                .get(if player.has_begun { player.next } else { 0 })?;
            Some((player.id, action))
        });
        match waiting {
            Some((worker, action)) => action.place.refuse(format!(
                "worker {worker} waits at step {} for what nobody has published before; lines are \
                 missing or were changed",
                action.step
            )),
            None => RunError::NobodyLeft,
        }
    }
}
