//! Each exchange delivers what its method's formula gives from what was offered, to the bit.
//!
//! - a leader: the vector of the node with the lowest loss of those that count and could be had; with
//!   a margin, the last leader's node keeps it until another is better by that
//! - a mean: the sums of the nodes that count and could be had, added in node order and divided by
//!   their workers, or by their weights; of a method that filters, of the nodes within its margin of the
//!   lowest loss
//! - a centre: that of the node that was asked
//!
//! In `bf16` and `int8` every offer is rounded once, and so is a mean. In a format for changes it is the mean
//! of the changes of one vector that most have, added to that.

use std::collections::BTreeSet;
use std::sync::Arc;

use lsgd_core::{
    Event, ExchangeOutcome, Layout, MeanRef, Mode, NodePhase, Scope, Snapshot, Source, VectorKind,
    VectorRef, WireFormat, WorkerId,
};

use super::rounding::on_the_wire;
use super::views::{Counted, NodeView, Offered, Views};
use crate::network::{Seen, Setting, Sight};

pub struct Formula {
    mode: Mode,
    wire: WireFormat,
    layout: Arc<Layout>,
    elects: bool,
    averages: bool,
    centre: bool,
    gradients: bool,
    margin: f64,
    filter: Option<f64>,
    /// Steps after which a proposal of `async` is too old.
    longest: u64,
    /// What each node asked for last, of `async`.
    asked: Vec<Option<VectorRef>>,
    /// Whom each node's last election elected.
    elected: Vec<Option<WorkerId>>,
    /// All values that workers may begin from.
    starts: BTreeSet<Vec<u32>>,
}

impl Formula {
    pub fn new(setting: &Setting) -> Self {
        let method = &setting.method;
        Self {
            mode: setting.mode,
            wire: setting.wire,
            layout: setting.layout.clone(),
            elects: method.elects(),
            averages: method.averages().is_some(),
            centre: method.has_centre(),
            gradients: method.shares_gradients(),
            margin: method.margin(),
            filter: method.filter_margin(),
            longest: 2 * method.periods().global,
            asked: vec![None; setting.nodes as usize],
            elected: vec![None; setting.nodes as usize],
            starts: BTreeSet::new(),
        }
    }

    pub fn see(&mut self, sight: &Sight, views: &Views) -> Result<(), String> {
        let node = sight.node as usize;
        let view = views.node(sight.node);
        match &sight.what {
            Seen::Asked(vector) => {
                self.asked[node] = Some(*vector);
                match self.centre && trains(view) {
                    true => self.check_visit(vector, view),
                    false => Ok(()),
                }
            }
            Seen::Recorded(Event::Election {
                scope: Scope::Global,
                election,
                ..
            }) => {
                self.elected[node] = election.leader;
                let expected = self.leader(view, views).map(|offered| offered.source);
                let found = election.leader;
                let named = |source| match source {
                    Source::Worker { id, .. } => Some(id),
                    _ => None,
                };
                match expected.and_then(named) == found {
                    true => Ok(()),
                    false => Err(format!(
                        "elects {found:?} where the offers give {expected:?}: {:?}",
                        view.counted
                    )),
                }
            }
            Seen::Offered(update) if self.centre => {
                let centre = update.leader.iter();
                for (centre, _) in centre {
                    let (values, _) = on_the_wire(self.wire, centre, centre.digest());
                    self.starts.insert(bits(&values));
                }
                Ok(())
            }
            Seen::Delivered(_, delivered) => {
                let outcome = match self.mode {
                    Mode::Sync => self.check_round(delivered, view, views),
                    Mode::Async => self.check_followed(sight.node, delivered, views),
                };
                let vectors = delivered.vectors().filter(|_| !self.gradients);
                self.starts
                    .extend(vectors.map(|vector| bits(vector.parameters())));
                outcome
            }
            Seen::Began {
                parameters: Some(parameters),
                step,
                ..
            } => match self.starts.contains(&bits(parameters.parameters())) {
                true => Ok(()),
                false => Err(format!(
                    "begins at step {step} from {} that no exchange delivered: {:?}",
                    parameters.source(),
                    parameters.parameters()
                )),
            },
            _ => Ok(()),
        }
    }

    fn check_round(
        &self,
        delivered: &ExchangeOutcome,
        view: &NodeView,
        views: &Views,
    ) -> Result<(), String> {
        let counted = view.counted.as_deref().unwrap_or_default();
        let leader = match self.elects {
            true => self.leader(view, views),
            false => None,
        };
        let leader = leader.map(|offered| (offered.source, offered.values.clone()));
        compare("leader", delivered.leader.as_deref(), leader, counted)?;
        let mean = match self.averages {
            true => self.mean(view, views)?,
            false => None,
        };
        compare("mean", delivered.mean.as_deref(), mean, counted)
    }

    /// The lowest loss of those that count, or the last leader's within the margin.
    fn leader<'a>(&self, view: &NodeView, views: &'a Views) -> Option<&'a Offered> {
        let counted = view.counted.as_deref().unwrap_or_default();
        let eligible = counted.iter().filter_map(|counted| {
            let vector = counted.proposal.leader?;
            let fresh = self.mode == Mode::Sync || counted.age <= self.longest;
            let had = self.mode == Mode::Async || !view.failed.contains(&vector.digest);
            let offered = views.offer(counted)?.leader.as_ref()?;
            (fresh && had).then_some((counted.node, offered))
        });
        let eligible: Vec<(u32, &Offered)> = eligible.collect();
        let lowest = eligible
            .iter()
            .min_by(|(node, a), (other, b)| a.loss.total_cmp(&b.loss).then(node.cmp(other)))?;
        let last = self.last_leader(view, counted);
        let kept = eligible.iter().find(|(node, _)| Some(*node) == last);
        let better = |kept: &Offered| lowest.1.loss <= kept.loss - self.margin * kept.loss.abs();
        match kept.filter(|(_, kept)| !better(kept)) {
            Some((_, kept)) => Some(kept),
            None => Some(lowest.1),
        }
    }

    /// The node that led last: all believe the lowest node that knows.
    fn last_leader(&self, view: &NodeView, counted: &[Counted]) -> Option<u32> {
        if self.margin == 0.0 {
            return None;
        }
        let followed = match self.mode {
            Mode::Sync => counted.iter().find_map(|counted| counted.proposal.followed),
            Mode::Async => view.followed,
        };
        followed.map(|id| id.node)
    }

    /// Those that count in a mean: a filter leaves out whoever has no sum, or a loss beyond its margin.
    fn in_mean<'a>(&self, view: &NodeView, counted: &'a [Counted]) -> Vec<&'a Counted> {
        let Some(margin) = self.filter else {
            return of_one_vector(counted);
        };
        let losses = counted.iter().filter_map(|counted| {
            let sum = counted.proposal.sum?;
            let had = !view.failed.contains(&sum.digest) && !view.missing.contains(&counted.node);
            had.then_some((sum.loss, counted))
        });
        let losses: Vec<(f64, &Counted)> = losses.collect();
        let lowest = losses
            .iter()
            .map(|(loss, _)| *loss)
            .fold(f64::INFINITY, f64::min);
        let within = losses
            .into_iter()
            .filter(|(loss, _)| loss - lowest <= margin * lowest);
        within.map(|(_, counted)| counted).collect()
    }

    /// The mean of all sums that count; none if a node that counts has none.
    fn mean(&self, view: &NodeView, views: &Views) -> Result<Option<(Source, Vec<f32>)>, String> {
        let counted = self.in_mean(view, view.counted.as_deref().unwrap_or_default());
        let filtered_out = self.filter.is_some() && counted.is_empty();
        if filtered_out || counted.iter().any(|counted| counted.proposal.sum.is_none()) {
            return Ok(None);
        }
        let mut total: Vec<f32> = Vec::new();
        let (mut workers, mut weight) = (0, None);
        let (kind, mut sums) = (VectorKind::Mean, Vec::new());
        let mut is_change = false;
        for counted in counted {
            let digest = counted.proposal.sum.map(|sum| sum.digest);
            let failed = digest.is_some_and(|digest| view.failed.contains(&digest));
            if failed || view.missing.contains(&counted.node) {
                continue;
            }
            let offer = views.offer(counted).and_then(|offer| offer.sum.as_ref());
            let sum = offer.ok_or_else(|| format!("{counted:?} is nothing that was offered"))?;
            let of_node = match sum.source {
                Source::Sum { workers } | Source::Change { workers, .. } => workers,
                other => return Err(format!("{other} counts in a mean")),
            };
            is_change |= matches!(sum.source, Source::Change { .. });
            workers += of_node;
            sums.extend(counted.proposal.sum.map(|sum| (counted.node, sum)));
            match total.is_empty() {
                true => total = sum.values.clone(),
                false => total.iter_mut().zip(&sum.values).for_each(|(a, b)| *a += b),
            }
            if let Some(&of_node) = sum.weights.first() {
                weight = Some(weight.map_or(of_node, |sum: f32| sum + of_node));
            }
        }
        let by = weight.unwrap_or(workers as f32);
        let mut mean: Vec<f32> = total.into_iter().map(|value| value / by).collect();
        if let Some(base) = view.base.as_ref().filter(|_| is_change) {
            let pairs = mean.iter_mut().zip(base.parameters());
            pairs.for_each(|(mean, base)| *mean += base);
        }
        let source = Source::Mean { workers };
        let mean = Snapshot::new(self.layout.clone(), source, mean, Vec::new());
        let mean = mean.map_err(|why| why.to_string())?;
        let (mean, _) = on_the_wire(self.wire, &mean, MeanRef { kind, sums }.name());
        let finite = mean.iter().all(|value| value.is_finite());
        Ok(finite.then_some((source, mean)))
    }

    /// What a node of `async` follows: whom it elected, or the centre that it asked for.
    fn check_followed(
        &self,
        node: u32,
        delivered: &ExchangeOutcome,
        views: &Views,
    ) -> Result<(), String> {
        let Some(vector) = &delivered.leader else {
            return Err(String::from("an exchange of `async` delivers nothing"));
        };
        let source = vector.source();
        if let Source::Worker { id, .. } = source
            && self.elected[node as usize] != Some(id)
        {
            return Err(format!("follows {source}, which it has not elected"));
        }
        if self.centre && self.asked[node as usize].map(|asked| asked.source) != Some(source) {
            return Err(format!("merges {source}, which it has not asked for"));
        }
        let counted = views.node(node).counted.iter().flatten();
        let offers = counted.filter_map(|counted| views.offer(counted)?.leader.as_ref());
        let mut of_it = offers.filter(|offered| offered.source == source);
        match of_it.any(|offered| bits(&offered.values) == bits(vector.parameters())) {
            true => Ok(()),
            false => Err(format!(
                "follows {source} with {:?}, which nobody offered",
                vector.parameters()
            )),
        }
    }

    /// A centre that a node asks for is the newest that it knows of a node that trains.
    fn check_visit(&self, vector: &VectorRef, view: &NodeView) -> Result<(), String> {
        let counted = view.counted.as_deref().unwrap_or_default();
        let of_it = |counted: &&Counted| counted.proposal.leader == Some(*vector);
        match counted.iter().find(of_it) {
            Some(counted) if counted.age <= self.longest => Ok(()),
            Some(counted) => Err(format!("asks for a centre {} steps old", counted.age)),
            None => Err(format!(
                "asks for {}, which it does not know",
                vector.source
            )),
        }
    }
}

/// Of the largest group whose sums are of one kind, or changes of one vector, that with the lowest node. All,
/// if one has no sum.
fn of_one_vector(counted: &[Counted]) -> Vec<&Counted> {
    let of = |counted: &Counted| match counted.proposal.sum?.source {
        Source::Change { since, .. } => Some(since),
        _ => None,
    };
    if counted.iter().any(|counted| counted.proposal.sum.is_none()) {
        return counted.iter().collect();
    }
    let size = |vector| counted.iter().filter(|other| of(other) == vector).count();
    let most = counted.iter().map(|counted| size(of(counted))).max();
    let first = counted
        .iter()
        .find(|counted| Some(size(of(counted))) == most);
    let vector = first.map(of);
    let group = counted.iter().filter(|counted| Some(of(counted)) == vector);
    group.collect()
}

fn trains(view: &NodeView) -> bool {
    let said = view.said.as_ref();
    said.is_some_and(|status| status.phase == NodePhase::Training)
}

fn compare(
    what: &str,
    found: Option<&Snapshot>,
    expected: Option<(Source, Vec<f32>)>,
    counted: &[Counted],
) -> Result<(), String> {
    let found = found.map(|vector| (vector.source(), vector.parameters().to_vec()));
    let exact = |vector: &Option<(Source, Vec<f32>)>| {
        let vector = vector.as_ref();
        vector.map(|(source, values)| (*source, bits(values)))
    };
    if exact(&found) == exact(&expected) {
        return Ok(());
    }
    let nodes: Vec<u32> = counted.iter().map(|counted| counted.node).collect();
    Err(format!(
        "{what}: delivered {found:?}, but the offers of nodes {nodes:?} give {expected:?}"
    ))
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
