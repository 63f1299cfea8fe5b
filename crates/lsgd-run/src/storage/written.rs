//! Lines of records in the very form in which this program writes them, read at several times the speed of
//! a general parser.
//!
//! A reader passes over the text that it expects and takes the values between, which `serde_json` parses:
//! they are the same to the bit. A line of any other form is none, and the general parser has the last
//! word on it.

use lsgd_core::{ShortDigest, WorkerId};
use serde::de::DeserializeOwned;

use super::records::Interval;

/// What is left of a line.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a>(&'a [u8]);

impl<'a> Written<'a> {
    /// A line, from its beginning.
    pub fn new(line: &'a [u8]) -> Self {
        Self(line)
    }

    /// Passes over `text`.
    pub fn text(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    /// Passes over `key` and takes the whole number after it, as JSON has it: most values are such.
    pub fn whole<T: TryFrom<u64>>(&mut self, key: &str) -> Option<T> {
        self.text(key)?;
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let mut number = 0_u64;
        let mut count = 0;
        for digit in digits {
            number = number
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            count += 1;
        }
        let has_form = count == 1 || (count > 1 && self.0[0] != b'0');
        let (_, rest) = self.0.split_at(count);
        if !has_form || !matches!(rest.first(), Some(b',' | b'}')) {
            return None;
        }
        self.0 = rest;
        number.try_into().ok()
    }

    /// Takes a number, a word or null, which ends before a comma or a brace.
    pub fn value<T: DeserializeOwned>(&mut self) -> Option<T> {
        let is_end = |byte: &u8| matches!(byte, b',' | b'}');
        let (value, rest) = self.0.split_at(self.0.iter().position(is_end)?);
        self.0 = rest;
        serde_json::from_slice(value).ok()
    }

    /// Passes over `key` and takes the value after it.
    pub fn field<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        self.text(key)?;
        self.value()
    }

    /// Takes the id of a worker.
    pub fn worker(&mut self) -> Option<WorkerId> {
        let node = self.whole("{\"node\":")?;
        let worker = self.whole(",\"worker\":")?;
        self.text("}")?;
        Some(WorkerId::new(node, worker))
    }

    /// Passes over the parameters of a worker at some step, where a vector comes from.
    pub fn source(&mut self) -> Option<()> {
        self.text("{\"worker\":{\"id\":")?;
        self.worker()?;
        self.whole::<u64>(",\"step\":")?;
        self.text("}}")
    }

    /// Passes over a digest, if there is one.
    pub fn digest(&mut self) -> Option<()> {
        match self.0.starts_with(b",\"digest\":") {
            true => self.field::<ShortDigest>(",\"digest\":").map(|_| ()),
            false => Some(()),
        }
    }

    /// That the line ends here.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl Interval {
    /// The interval of a line of `metrics.jsonl`, if it is one in the form in which this version writes it.
    pub fn written(line: &[u8]) -> Option<Self> {
        let mut line = Written::new(line);
        let step = line.whole("{\"kind\":\"interval\",\"step\":")?;
        let steps = line.whole(",\"steps\":")?;
        let seconds = line.field(",\"seconds\":")?;
        line.text(",\"worker\":")?;
        let worker = line.worker()?;
        // JSON has no NaN or infinity.
        let loss: Option<f64> = line.field(",\"loss\":")?;
        let learning_rate = line.field(",\"learning_rate\":")?;
        line.text("}")?;
        line.end()?;
        Some(Self {
            step,
            steps,
            seconds,
            worker,
            loss: loss.unwrap_or(f64::NAN),
            learning_rate,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::super::records::MetricRecord;
    use super::*;

    fn general(line: &str) -> Option<Interval> {
        match serde_json::from_str(line).ok()? {
            MetricRecord::Interval(interval) => Some(interval),
            MetricRecord::Evaluation(_) => None,
        }
    }

    /// NaN is another.
    fn bits(interval: &Interval) -> (u64, u64, [u64; 3], WorkerId) {
        let values = [interval.seconds, interval.loss, interval.learning_rate];
        (
            interval.step,
            interval.steps,
            values.map(f64::to_bits),
            interval.worker,
        )
    }

    /// A line is read as a general parser reads it, to the bit, or not at all.
    #[test]
    fn an_interval_is_what_a_general_parser_makes_of_it() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..1_000 {
            let interval = Interval {
                step: random.random(),
                steps: random.random(),
                seconds: f64::from_bits(random.random()),
                worker: WorkerId::new(random.random(), random.random()),
                loss: f64::from_bits(random.random()),
                learning_rate: random.random(),
            };
            let line = serde_json::to_string(&MetricRecord::Interval(interval)).unwrap();
            let written = Interval::written(line.as_bytes());
            assert_eq!(
                written.as_ref().map(bits),
                general(&line).as_ref().map(bits),
                "{line}"
            );
            assert!(
                written.is_some() || line.contains("\"seconds\":null"),
                "{line}"
            );
            // Cut short, or with one byte that is another.
            let at = random.random_range(0..line.len());
            assert_eq!(Interval::written(&line.as_bytes()[..at]), None);
            let mut changed = line.into_bytes();
            changed[at] = random.random_range(b' '..=b'~');
            let changed = String::from_utf8(changed).unwrap();
            if let Some(interval) = Interval::written(changed.as_bytes()) {
                let general = general(&changed);
                assert_eq!(
                    Some(bits(&interval)),
                    general.as_ref().map(bits),
                    "{changed}"
                );
            }
        }
    }
}
