//! No value that is not finite enters a model.

use crate::network::{Seen, Sight};

pub struct Finite;

impl Finite {
    pub fn see(&mut self, sight: &Sight) -> Result<(), String> {
        let spoilt = |values: &[f32]| values.iter().any(|value| !value.is_finite());
        match &sight.what {
            Seen::Delivered(step, delivered) => {
                for vector in delivered.vectors() {
                    if spoilt(vector.parameters()) || spoilt(vector.buffers()) {
                        let (source, values) = (vector.source(), vector.parameters());
                        return Err(format!("step {step} delivers {values:?} of {source}"));
                    }
                }
            }
            Seen::Began {
                parameters: Some(parameters),
                ..
            } if spoilt(parameters.parameters()) => {
                return Err(format!("workers begin with {:?}", parameters.parameters()));
            }
            Seen::Holds(values) if spoilt(values) => {
                return Err(format!("workers hold {values:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}
