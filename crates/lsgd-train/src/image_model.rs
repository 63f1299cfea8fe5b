//! The network of a run, and what a checkpoint records about its images.

use std::collections::BTreeSet;

use lsgd_models::ModelConfig;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::image_config::ImageConfig;

/// What a checkpoint records about its model's images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageNotes {
    /// Number of classes.
    pub classes: usize,
    /// Their names, in the order of their numbers; none in a run of an older version.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Channels, height and width of an image, as the model takes it.
    pub image: [usize; 3],
}

impl ImageNotes {
    /// Why `dataset` cannot test a run with these notes, if it cannot.
    pub fn differ(&self, dataset: &Dataset) -> Option<String> {
        let (classes, image) = (dataset.classes(), dataset.shape());
        classes_differ(&self.class_names, dataset.class_names()).or_else(|| {
            ((self.classes, self.image) != (classes, image)).then(|| {
                format!(
                    "the run was trained on {} classes of {:?} images, the data has {classes} of {image:?}",
                    self.classes, self.image
                )
            })
        })
    }
}

/// The network for this number of classes and shape of images.
pub fn model_config(config: &ImageConfig, classes: usize, shape: [usize; 3]) -> ModelConfig {
    ModelConfig {
        base_width: config.model.width,
        dropout: config.model.dropout,
        cpu_kernels: config.compute.cpu_kernels,
        ..ModelConfig::new(config.model.name, classes, shape)
    }
}

/// Why data with these classes cannot test a run that was trained on those. A run of an older
/// version has no names, and is not checked.
fn classes_differ(run: &[String], data: &[String]) -> Option<String> {
    if run.is_empty() || run == data {
        return None;
    }
    let only = |these: &[String], those: &[String]| {
        let those: BTreeSet<&String> = those.iter().collect();
        let mut only = these.iter().filter(|name| !those.contains(name));
        let first = only.next()?;
        Some(match only.count() {
            0 => format!("{first:?}"),
            more => format!("{first:?} and {more} more"),
        })
    };
    let what = match (only(run, data), only(data, run)) {
        (Some(gone), Some(new)) => format!("the data have {new}, but not {gone}"),
        (Some(gone), None) => format!("the data do not have {gone}"),
        (None, Some(new)) => format!("the data also have {new}"),
        (None, None) => {
            let place = run.iter().zip(data).position(|(a, b)| a != b)?;
            let (then, now) = (run.get(place)?, data.get(place)?);
            format!("in another order, class {place} was {then:?} and is {now:?}")
        }
    };
    Some(format!(
        "the data do not have the classes it was trained on: {what}; give data of the same names in \
         the same order (class_names in the checkpoint's state.json)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_compared_by_name_and_order() {
        let names = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let what = |run: &str, data: &str| {
            let why = classes_differ(&names(run), &names(data))?;
            let what = why
                .strip_prefix("the data do not have the classes it was trained on: ")
                .and_then(|rest| rest.split_once(';'));
            Some(what.unwrap_or_else(|| panic!("{why}")).0.to_owned())
        };
        assert_eq!(what("cat dog", "cat dog"), None);
        assert_eq!(what("", "cat dog"), None);
        for (run, data, expected) in [
            (
                "cat dog",
                "cat wolf",
                "the data have \"wolf\", but not \"dog\"",
            ),
            (
                "a b c",
                "x y",
                "the data have \"x\" and 1 more, but not \"a\" and 2 more",
            ),
            ("cat dog eel", "cat dog", "the data do not have \"eel\""),
            ("cat dog", "ant cat dog", "the data also have \"ant\""),
            (
                "cat dog",
                "dog cat",
                "in another order, class 0 was \"cat\" and is \"dog\"",
            ),
        ] {
            assert_eq!(what(run, data).as_deref(), Some(expected), "{run} / {data}");
        }
    }
}
