//! The commands that try values: `find-rate` and `find-batch`.

use std::path::PathBuf;

use clap::Args;

use super::find_error::FindError;
use super::path::path;
use super::say::say;
use crate::config::{Config, TaskTables};
use crate::error::RunError;
use crate::exit::EXIT_SUCCESS;
use crate::make::MakeTask;
use crate::train::{Paces, RateTest};

/// Which learning rates to try.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct FindRate {
    /// Train as this TOML file says
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    pub config: PathBuf,

    /// Override a key of the config; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// The first rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-5)]
    pub from: f64,

    /// The last rate
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub to: f64,

    /// How many are tried, a step each
    #[arg(long, value_name = "STEPS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(20..=100_000))]
    pub steps: u64,
}

impl FindRate {
    /// The test that it asks for.
    ///
    /// # Errors
    ///
    /// [`FindError::NoRates`] if the first rate is not over 0, or the last not over the first.
    fn test(&self) -> Result<RateTest, RunError> {
        let Self {
            from, to, steps, ..
        } = *self;
        match from > 0.0 && to > from && (to / from).is_finite() {
            true => Ok(RateTest { from, to, steps }),
            false => Err(FindError::NoRates { from, to }.into()),
        }
    }
}

/// Which batch sizes to try.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FindBatch {
    /// Train as this TOML file says
    #[arg(long, short, value_name = "FILE", value_parser = path())]
    pub config: PathBuf,

    /// Override a key of the config; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// The first size; each is twice the one before
    #[arg(long, value_name = "SIZE", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub from: u64,

    /// The largest size
    #[arg(long, value_name = "SIZE", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub to: u64,

    /// Steps of each that are measured
    #[arg(long, value_name = "STEPS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub steps: u64,
}

impl FindBatch {
    /// The sizes.
    ///
    /// # Errors
    ///
    /// [`FindError::NoSizes`] if the first is over the largest.
    fn sizes(&self) -> Result<impl Iterator<Item = u64> + use<>, RunError> {
        let (from, to) = (self.from, self.to);
        if from > to {
            return Err(FindError::NoSizes { from, to }.into());
        }
        let sizes = std::iter::successors(Some(from), |size| Some(2 * size));
        Ok(sizes.take_while(move |size| *size <= to))
    }
}

/// Tries learning rates.
pub(super) fn find_rate<C: MakeTask + TaskTables>(arguments: &FindRate) -> Result<u8, RunError> {
    let config = Config::<C>::load(&arguments.config, &arguments.set)?;
    let curve = crate::find_rate(config, arguments.test()?)?;
    say(format_args!("{curve}"))?;
    Ok(EXIT_SUCCESS)
}

/// Measures batch sizes, and says each as it comes.
pub(super) fn find_batch<C: MakeTask + TaskTables>(arguments: &FindBatch) -> Result<u8, RunError> {
    let key = C::BATCH_SIZE.ok_or(FindError::NoBatchKey)?;
    let mut paces = Paces::default();
    for size in arguments.sizes()? {
        let set = arguments.set.iter().cloned();
        let set: Vec<String> = set.chain([format!("{key}={size}")]).collect();
        let config = Config::<C>::load(&arguments.config, &set);
        match config
            .map_err(RunError::from)
            .and_then(|config| crate::pace(config, arguments.steps))
        {
            Ok(pace) => {
                if paces.suggestion().is_none() {
                    say(format_args!("{}", Paces::HEAD))?;
                }
                say(format_args!("{pace}"))?;
                paces.push(pace);
            }
            // The first size that the device, the data or the config does not allow ends the list.
            Err(why) if paces.suggestion().is_some() => {
                say(format_args!("{size:>10}  {why}"))?;
                break;
            }
            Err(why) => return Err(why),
        }
    }
    if let Some(enough) = paces.suggestion() {
        say(format_args!("enough: {key}={}", enough.batch_size))?;
    }
    Ok(EXIT_SUCCESS)
}
