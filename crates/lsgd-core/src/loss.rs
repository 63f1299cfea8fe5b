//! The loss of a batch, which stays on its device until it is needed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::Tensor;

use crate::transfer::Reading;

/// The mean loss of a batch: a number, or a tensor that is read only when its value is needed. On a
/// GPU a read waits for everything enqueued before it, so a loss that is read in every step keeps the
/// GPU from working ahead.
///
/// Clones share the value: it is read once.
#[derive(Clone)]
pub struct Loss(Arc<Mutex<Held>>);

enum Held {
    Known(f32),
    OnDevice(Tensor<1>),
}

impl Loss {
    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The value, if it has been read or was a number from the start.
    pub fn known(&self) -> Option<f32> {
        self.with(|held| match held {
            Held::Known(value) => Some(*value),
            Held::OnDevice(_) => None,
        })
    }

    /// The value; a blocking read if it is not known.
    pub fn value(&self) -> f32 {
        Self::read_all([self])
            .into_iter()
            .next()
            .unwrap_or(f32::NAN)
    }

    /// The values, in the order given: one blocking read for all that are not known.
    pub fn read_all<'a>(losses: impl IntoIterator<Item = &'a Self>) -> Vec<f32> {
        let losses: Vec<&Self> = losses.into_iter().collect();
        let mut reading = Reading::of("losses");
        let mut add = |held: &mut Held| match held {
            Held::Known(_) => false,
            Held::OnDevice(tensor) => {
                reading.add(tensor.clone());
                true
            }
        };
        let unread: Vec<bool> = losses.iter().map(|loss| loss.with(&mut add)).collect();
        let mut read = reading.read().into_iter();
        let value_of = |(loss, unread): (&Self, bool)| {
            let data = unread.then(|| read.next()).flatten();
            let value = data.and_then(|data| data.iter::<f32>().next());
            loss.with(|held| {
                if let Some(value) = value {
                    *held = Held::Known(value);
                }
                match held {
                    Held::Known(value) => *value,
                    Held::OnDevice(_) => f32::NAN,
                }
            })
        };
        losses.into_iter().zip(unread).map(value_of).collect()
    }
}

impl From<f32> for Loss {
    fn from(value: f32) -> Self {
        Self(Arc::new(Mutex::new(Held::Known(value))))
    }
}

impl From<Tensor<1>> for Loss {
    /// The loss of a tensor of shape `[1]`, without its graph.
    ///
    /// # Panics
    ///
    /// For any other shape.
    fn from(loss: Tensor<1>) -> Self {
        assert_eq!(loss.dims(), [1], "a mean loss is one number");
        let held = Held::OnDevice(loss.without_autodiff());
        Self(Arc::new(Mutex::new(held)))
    }
}

impl fmt::Debug for Loss {
    /// Reads nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(value) => f.debug_tuple("Loss").field(&value).finish(),
            None => f.write_str("Loss(on its device)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_loss_is_read_once_for_all_its_clones() {
        let tensor = Tensor::<1>::from_data([0.5], &Device::flex().autodiff());
        let on_device = Loss::from(tensor.require_grad() * 3.0);
        let (clone, number) = (on_device.clone(), Loss::from(2.0));
        assert_eq!((on_device.known(), number.known()), (None, Some(2.0)));
        assert_eq!(
            format!("{on_device:?} {number:?}"),
            "Loss(on its device) Loss(2.0)"
        );
        let read = Loss::read_all([&number, &on_device, &clone, &number]);
        assert_eq!(read, [2.0, 1.5, 1.5, 2.0]);
        assert_eq!((on_device.known(), clone.known()), (Some(1.5), Some(1.5)));
        assert_eq!(clone.value(), 1.5);
    }
}
