//! Local SGD (arXiv 1805.09767).
//!
//! ```text
//! x <- 1/W sum of the workers' x      every tau steps
//! ```

use super::{Meeting, MeetingConfig, Method, MethodError, Move, Rule};
use crate::{Delivered, Vector};

#[derive(Debug)]
struct ToMean;

impl Rule for ToMean {
    fn anew(&self) -> Box<dyn Rule> {
        Box::new(ToMean)
    }

    fn meet(&mut self, _at: Meeting, delivered: &Delivered) -> Option<Move> {
        let target = delivered.mean.clone()?;
        let strength = 1.0;
        Some(Move { target, strength })
    }
}

impl Method {
    /// Local SGD (arXiv 1805.09767): the workers of a node move to their mean every `tau` steps, and
    /// those of all nodes to the mean of all every `tau_G` (with `tau < tau_G` hierarchical, as in
    /// arXiv 1808.07217).
    ///
    /// # Errors
    ///
    /// [`MethodError`] for a period or window of nought, a global period that is not a multiple of
    /// the local one, or for following a leader's statistics.
    pub fn local_sgd(meetings: MeetingConfig) -> Result<Self, MethodError> {
        meetings.check_leaderless("local_sgd")?;
        let carries = &[Vector::Mean];
        Ok(Self::of_meetings("local_sgd", carries, meetings, ToMean))
    }
}
