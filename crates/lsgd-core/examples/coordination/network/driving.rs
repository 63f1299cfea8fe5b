//! Does what a node's exchange asks for.

use std::time::Duration;

use lsgd_core::{Action, ExchangeOutcome, Mode, Source};

use super::{EVALUATION, Host, Network, Scheduled, Seen, keep};

impl Network {
    /// Lets something happen to a node, which is told its own clock's time, and does what follows.
    pub(super) fn drive(&mut self, node: u32, act: impl FnOnce(&mut Host, Duration)) {
        let now = self.now;
        if let Some(host) = self.hosts.get_mut(node as usize).and_then(Option::as_mut) {
            let shown = host.clock.at(now);
            act(host, shown);
            self.act(node);
        }
    }

    /// Does what a node's exchange says.
    pub(super) fn act(&mut self, node: u32) {
        while let Some(host) = &mut self.hosts[node as usize]
            && let Some(action) = host.leader.next_action()
        {
            self.do_one(node, action);
        }
        let now = self.now;
        if let Some(host) = &mut self.hosts[node as usize] {
            // Always later than now, or the clock would stand still.
            let at = host.clock.when(host.leader.deadline());
            let at = at.max(now + Duration::from_millis(1));
            if host.wakes_at.is_none_or(|wakes| wakes > at || wakes <= now) {
                host.wakes_at = Some(at);
                self.after(at - now, Scheduled::Wake(node));
            }
        }
    }

    fn do_one(&mut self, node: u32, action: Action) {
        let now = self.now;
        let Some(host) = &mut self.hosts[node as usize] else {
            return;
        };
        match action {
            Action::Broadcast(status) => {
                self.see(node, || Seen::Said(status.clone()));
                self.tell(node, &status);
            }
            Action::Publish(snapshot) => {
                let digest = snapshot.digest();
                keep(&mut host.published, digest, &snapshot);
            }
            Action::Fetch { vector, holders } => self.want(node, vector, holders),
            Action::Average(mean) => self.average(node, mean),
            Action::Deliver(delivered) => self.deliver(node, delivered),
            Action::Begin {
                step,
                parameters,
                trained,
                resumes,
            } => {
                let begun = parameters.clone();
                match resumes {
                    true => host.resume(step, now),
                    false => host.trainer.begin(step, parameters.as_deref()),
                }
                host.trainer.began_at = trained;
                self.see(node, || Seen::Began {
                    step,
                    parameters: begun,
                    resumes,
                });
                self.train(node);
            }
            Action::Conclude(mean) => {
                let workers = match mean.as_ref().map(|mean| mean.source()) {
                    Some(Source::Mean { workers }) => workers,
                    _ => 0,
                };
                host.trainer.concluded = Some(workers);
                let incarnation = host.incarnation;
                let wait = mean.map_or(Duration::ZERO, |_| EVALUATION);
                self.after(wait, Scheduled::Closed(node, incarnation));
            }
            Action::Record(event) => {
                self.see(node, || Seen::Recorded(event.clone()));
                self.history.push((now, node, event));
            }
            Action::Await(_) => {}
            // The process ends with an error.
            Action::GiveUp(_) | Action::CannotJoin => self.kill(node),
        }
    }

    fn deliver(&mut self, node: u32, delivered: ExchangeOutcome) {
        let delivered = self.tampered(node, delivered);
        let now = self.now;
        let Some(host) = &mut self.hosts[node as usize] else {
            return;
        };
        let waited = host.trainer.deliver(&delivered, host.clock.at(now));
        let (step, values) = (host.trainer.step(), host.trainer.values().to_vec());
        if !self.setting.harshness.observed {
            let layout = &self.setting.layout;
            for vector in delivered.vectors() {
                assert!(vector.check(layout).is_ok(), "{vector:?} is followed");
            }
        }
        self.see(node, || Seen::Delivered(step, delivered));
        self.see(node, || Seen::Holds(values));
        if self.setting.mode == Mode::Sync {
            self.waits.extend(waited.map(|waited| (now, node, waited)));
            self.write_checkpoint(node);
            self.train(node);
        }
    }
}
