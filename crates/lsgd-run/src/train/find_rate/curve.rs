//! The curve of a learning-rate range test, and what it suggests. Pure.

use std::fmt;

/// Weight of the past in the smoothed loss.
const SMOOTHING: f64 = 0.9;
/// The test is over once the smoothed loss has risen by so many times the first one, or its lowest value if
/// that is larger: for any sign of a loss.
const DIVERGED: f64 = 3.0;
/// By which share of its first value the loss must fall before a rate is suggested: less can be noise.
const FALL: f64 = 0.05;
/// Steps over which a slope is taken, on either side: as many as the smoothing looks back.
const HALF_SLOPE: usize = 5;
/// Rows of the printed table, at most.
const ROWS: usize = 12;

/// Which learning rates are tried: a geometric sequence, one a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateTest {
    /// The first, over 0.
    pub from: f64,
    /// The last, over the first.
    pub to: f64,
    /// How many, from 2.
    pub steps: u64,
}

impl RateTest {
    /// The learning rate of step `step`, from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let share = step as f64 / self.steps.saturating_sub(1).max(1) as f64;
        self.from * (self.to / self.from).powf(share)
    }
}

/// A step of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// Its learning rate.
    pub rate: f64,
    /// The batch's loss before the step.
    pub loss: f64,
    /// The mean of the losses so far, in which newer ones count more.
    pub smoothed: f64,
}

/// The losses at rising learning rates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateCurve {
    points: Vec<RatePoint>,
    /// The mean without its correction for a short past.
    mean: f64,
    /// The rate at which the loss had grown too much.
    diverged: Option<f64>,
}

impl RateCurve {
    /// Adds the loss of a step. Returns whether the test goes on.
    pub fn push(&mut self, rate: f64, loss: f64) -> bool {
        let steps = self.points.len() + 1;
        self.mean = SMOOTHING * self.mean + (1.0 - SMOOTHING) * loss;
        let weights = 1.0 - SMOOTHING.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        let smoothed = self.mean / weights;
        let lowest = self.lowest().map_or(smoothed, |at| at.smoothed);
        let first = self.points.first().map_or(smoothed, |at| at.smoothed);
        let most = lowest + DIVERGED * lowest.abs().max(first.abs());
        if !smoothed.is_finite() || smoothed > most {
            self.diverged = Some(rate);
            return false;
        }
        self.points.push(RatePoint {
            rate,
            loss,
            smoothed,
        });
        true
    }

    /// The steps before the loss grew too much.
    pub fn points(&self) -> &[RatePoint] {
        &self.points
    }

    /// Where the smoothed loss was lowest.
    pub fn lowest(&self) -> Option<RatePoint> {
        let points = self.points.iter().copied();
        points.min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))
    }

    /// Where the smoothed loss fell fastest per factor of the rate, before its lowest value; `None` if it did
    /// not fall by more than noise.
    pub fn steepest(&self) -> Option<RatePoint> {
        let (first, lowest) = (self.points.first()?.smoothed, self.lowest()?);
        if first - lowest.smoothed < FALL * first.abs() {
            return None;
        }
        let lowest = lowest.rate;
        let slopes = self
            .points
            .windows(2 * HALF_SLOPE + 1)
            .filter_map(|window| {
                let (first, last) = (window.first()?, window.last()?);
                let slope = (last.smoothed - first.smoothed) / (last.rate / first.rate).ln();
                Some((window[HALF_SLOPE], slope))
            });
        let falling = slopes.filter(|(point, slope)| *slope < 0.0 && point.rate <= lowest);
        let steepest = falling.min_by(|a, b| a.1.total_cmp(&b.1));
        steepest.map(|(point, _)| point)
    }

    /// A learning rate to begin with: a tenth of where the loss was lowest, or where it fell fastest if that
    /// is less, but none that was not tried. `None` if the loss did not fall.
    pub fn suggestion(&self) -> Option<f64> {
        let steepest = self.steepest()?.rate;
        let rate = steepest.min(self.lowest()?.rate / 10.0);
        Some(rate.max(self.points.first()?.rate))
    }

    /// Whether the loss was still falling when the rates ended.
    fn still_falls(&self) -> bool {
        let last = self.points.last().map(|at| at.rate);
        self.diverged.is_none() && self.lowest().map(|at| at.rate) == last
    }
}

impl fmt::Display for RateCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "learning rate  loss")?;
        let apart = self.points.len().div_ceil(ROWS).max(1);
        for point in self.points.iter().step_by(apart) {
            writeln!(f, "{:<13.2e}  {:.4}", point.rate, point.smoothed)?;
        }
        if let Some(rate) = self.diverged {
            writeln!(f, "{rate:<13.2e}  too high")?;
        }
        match (self.suggestion(), self.steepest(), self.lowest()) {
            (Some(_), ..) if self.still_falls() => write!(
                f,
                "\nit was still falling at the last of these: give a higher --to"
            ),
            (Some(rate), Some(steepest), Some(lowest)) => write!(
                f,
                "\nit fell fastest at {:.2e} and was lowest at {:.2e}; begin with --set \
                 schedule.learning_rate={rate:.1e}",
                steepest.rate, lowest.rate
            ),
            _ => write!(
                f,
                "\nit did not fall by 5 %: try other rates, or more --steps"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: RateTest = RateTest {
        from: 1e-5,
        to: 10.0,
        steps: 121,
    };

    /// Falls from 2.3 around a rate of 1e-2, is lowest at 0.1, and diverges after that.
    fn usual() -> RateCurve {
        let mut curve = RateCurve::default();
        for step in 0..TEST.steps {
            let rate = TEST.rate(step);
            let fallen = 1.8 / (1.0 + (-(rate / 1e-2).ln() * 2.0).exp());
            let risen = (rate / 0.3).powi(3);
            if !curve.push(rate, 2.3 - fallen + risen) {
                break;
            }
        }
        curve
    }

    #[test]
    fn rates_are_a_geometric_sequence() {
        assert_eq!(TEST.rate(0), 1e-5);
        assert!((TEST.rate(60) - 1e-2).abs() < 1e-12);
        assert!((TEST.rate(120) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_suggestion_is_where_the_loss_falls() {
        let curve = usual();
        let (steepest, lowest) = (curve.steepest().unwrap().rate, curve.lowest().unwrap().rate);
        // Smoothing looks back, so everything is seen some steps later.
        assert!((1e-2..4e-2).contains(&steepest), "{steepest}");
        assert!((0.1..0.4).contains(&lowest), "{lowest}");
        assert_eq!(curve.suggestion(), Some(steepest.min(lowest / 10.0)));
        let diverged = curve.diverged.unwrap();
        assert!((0.4..2.0).contains(&diverged), "{diverged}");
        assert!(curve.points().iter().all(|point| point.rate < diverged));
    }

    #[test]
    fn a_loss_that_only_rises_or_is_none_suggests_nothing() {
        let mut rising = RateCurve::default();
        for step in 0..40 {
            assert!(rising.push(TEST.rate(step), 1.0 + step as f64 / 40.0));
        }
        assert_eq!(rising.suggestion(), None);
        assert!(rising.to_string().contains("it did not fall"));
        let mut broken = RateCurve::default();
        assert!(!broken.push(0.1, f64::NAN));
        assert_eq!((broken.suggestion(), broken.points().len()), (None, 0));
    }

    /// Negative losses, as of a log density, fall below any multiple of themselves.
    #[test]
    fn the_sign_of_a_loss_does_not_matter() {
        let (mut plain, mut lower) = (RateCurve::default(), RateCurve::default());
        for point in usual().points() {
            assert!(plain.push(point.rate, point.loss));
            assert!(lower.push(point.rate, point.loss - 10.0));
        }
        assert_eq!(lower.suggestion(), plain.suggestion());
        assert!(!lower.push(1.0, 1e4));
    }

    #[test]
    fn noise_suggests_nothing_and_a_loss_that_still_falls_says_so() {
        let mut flat = RateCurve::default();
        for step in 0..60 {
            let noise = f64::from(u8::from(step % 7 == 0)) * 0.02;
            assert!(flat.push(TEST.rate(step), 1.45 - noise));
        }
        assert_eq!(flat.suggestion(), None);
        let mut falling = RateCurve::default();
        for step in 0..60 {
            assert!(falling.push(TEST.rate(step), 2.0 - step as f64 / 60.0));
        }
        assert!(falling.to_string().ends_with("give a higher --to"));
        assert_eq!(
            falling.suggestion().map(|rate| rate >= TEST.rate(0)),
            Some(true)
        );
    }

    /// The first smoothed loss is the first loss: the mean is corrected for its short past.
    #[test]
    fn a_constant_loss_is_its_own_mean() {
        let mut curve = RateCurve::default();
        for step in 0..20 {
            assert!(curve.push(TEST.rate(step), 0.7));
        }
        for point in curve.points() {
            assert!((point.smoothed - 0.7).abs() < 1e-12, "{point:?}");
        }
    }
}
