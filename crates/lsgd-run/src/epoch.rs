//! Converts epochs to steps: exactly, with one rounding rule.

/// An epoch of the whole data, for converting epochs to steps of a worker.
///
/// A number of epochs is taken as the decimal that was written (the shortest one that parses to the
/// same [`f64`]), and converted without intermediate rounding:
///
/// ```text
/// steps = epochs x examples / (workers x batch size)
/// ```
///
/// The rounding rule: a *length* (a budget, the interval between evaluations or checkpoints) is the
/// number of whole steps that fit into it, at least one; a *point* (a drop of the learning rate,
/// the end of warm-up) is the first step at or after it.
///
/// ```
/// use lsgd_run::epoch::Epoch;
///
/// // A hundred steps an epoch; in floating point, 0.29 x 100 is below 29 and 0.07 x 100 above 7.
/// let epoch = Epoch { examples: 3200, examples_per_step: 32 };
/// assert_eq!((epoch.length(0.29), epoch.point(0.07)), (29, 7));
/// assert_eq!((epoch.length(0.075), epoch.point(0.075)), (7, 8));
/// assert_eq!((epoch.length(0.005), epoch.point(0.005)), (1, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Training examples, without those held out.
    pub examples: u64,
    /// Examples that all workers together use in one step of each: workers x batch size.
    pub examples_per_step: u64,
}

impl Epoch {
    /// Steps of a worker in a length of `epochs`: whole ones, at least 1.
    pub fn length(self, epochs: f64) -> u64 {
        let (steps, _) = self.steps(epochs);
        steps.max(1)
    }

    /// Steps of a worker before the first step at or after the point `epochs`.
    pub fn point(self, epochs: f64) -> u64 {
        let (steps, rest) = self.steps(epochs);
        steps.saturating_add(u64::from(rest))
    }

    /// Whole steps in `epochs`, and whether a fraction is left. Zero if `epochs` is not positive;
    /// the greatest [`u64`] if it would overflow.
    fn steps(self, epochs: f64) -> (u64, bool) {
        let Some(Decimal { digits, exponent }) = Decimal::of(epochs) else {
            return (0, false);
        };
        let scale = 10u128.checked_pow(exponent.unsigned_abs());
        let steps = u128::from(digits) * u128::from(self.examples);
        let per_step = u128::from(self.examples_per_step.max(1));
        let (steps, per_step) = match exponent < 0 {
            true => (
                Some(steps),
                scale.and_then(|scale| per_step.checked_mul(scale)),
            ),
            false => (
                scale.and_then(|scale| steps.checked_mul(scale)),
                Some(per_step),
            ),
        };
        match (steps, per_step) {
            (Some(steps), Some(per_step)) => {
                let whole = u64::try_from(steps / per_step).unwrap_or(u64::MAX);
                (whole, steps % per_step > 0)
            }
            // The divisor exceeds 2^128 and `steps` does not.
            (Some(steps), None) => (0, steps > 0),
            (None, _) => (u64::MAX, false),
        }
    }
}

/// A positive number in decimal: `digits` x 10^`exponent`.
struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// The shortest decimal that parses to `number`; `None` if that is not finite or not positive.
    fn of(number: f64) -> Option<Self> {
        if !(number > 0.0 && number.is_finite()) {
            return None;
        }
        // Rust prints the shortest: at most 17 digits, `1.25e-3`.
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().ok()?;
        Some(Self {
            digits: format!("{whole}{fraction}").parse().ok()?,
            exponent: exponent - i32::try_from(fraction.len()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch(examples: u64, examples_per_step: u64) -> Epoch {
        Epoch {
            examples,
            examples_per_step,
        }
    }

    /// Where the floating-point product is one off, and where it is not.
    #[test]
    fn decimals_are_exact() {
        assert_eq!((0.29_f64 * 100.0) as u64, 28);
        assert_eq!(epoch(100, 1).length(0.29), 29);
        assert_eq!(epoch(12_800, 128).length(1.13), 113);
        assert_eq!((0.07_f64 * 100.0).ceil() as u64, 8);
        assert_eq!(epoch(100, 1).point(0.07), 7);
        assert_eq!(epoch(50_000, 4 * 32).length(3.2768), 1280);
        assert_eq!(epoch(1797, 4 * 32).length(1.0), 14);
        assert_eq!(epoch(1797, 4 * 32).point(1.0), 15);
    }

    #[test]
    fn ends_of_the_range() {
        let largest = epoch(u64::MAX, 1);
        assert_eq!(largest.length(f64::MAX), u64::MAX);
        assert_eq!(largest.point(1e9), u64::MAX);
        assert_eq!(
            epoch(3_953_947_353, 1).length(683_112_462_781_603.0),
            u64::MAX
        );
        assert_eq!(largest.point(f64::MIN_POSITIVE), 1);
        assert_eq!(epoch(1, u64::MAX).length(5e-324), 1);
        assert_eq!(epoch(1, u64::MAX).point(5e-324), 1);
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(epoch(10, 1).point(nothing), 0, "{nothing}");
        }
    }

    proptest! {
        /// k / 10^d epochs, as parsed from text, compared with integer arithmetic.
        #[test]
        fn epochs_are_what_was_written(
            k in 1..1_000_000_000_000_000u64,
            d in 0..=15u32,
            examples in 1..=u64::from(u32::MAX),
            batch in 1..=65_536u64,
            workers in 1..=4096u64,
        ) {
            let epochs: f64 = format!("{k}e-{d}").parse().unwrap();
            let (steps, of) = (
                u128::from(k) * u128::from(examples),
                10u128.pow(d) * u128::from(batch * workers),
            );
            let epoch = epoch(examples, batch * workers);
            // The greatest number of steps that there is.
            let most = u128::from(u64::MAX);
            prop_assert_eq!(u128::from(epoch.length(epochs)), (steps / of).clamp(1, most));
            prop_assert_eq!(u128::from(epoch.point(epochs)), steps.div_ceil(of).min(most));
        }

        /// Few decimals and whole steps per epoch, as in practice: often a whole number of steps,
        /// where a floating-point product is off.
        #[test]
        fn whole_steps_stay_whole(k in 1..100_000u64, d in 0..=4u32, steps in 1..=5000u64) {
            let epochs: f64 = format!("{k}e-{d}").parse().unwrap();
            let (all, of) = (k * steps, 10u64.pow(d));
            let epoch = epoch(32 * steps, 32);
            prop_assert_eq!(epoch.length(epochs), (all / of).max(1));
            prop_assert_eq!(epoch.point(epochs), all.div_ceil(of));
        }
    }
}
