//! Images of a folder that cannot be decoded: how many of a split are skipped before the run ends.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::DataError;
use crate::image_config::{BadImages, DataConfig};

/// The bad images met so far in a split, by index, so that none is decoded or reported again.
///
/// Whether an image is bad depends on its file alone: what was met before changes no batch.
pub(super) struct Skipped {
    /// `data.bad_images_limit`; `None` if no image is skipped.
    limit: Option<f64>,
    /// What the images are for, in words.
    split: &'static str,
    /// Number of images in the split.
    images: usize,
    known: Mutex<BTreeSet<usize>>,
}

impl Skipped {
    pub fn new(config: &DataConfig, split: &'static str, images: usize) -> Self {
        let limit = match config.bad_images {
            BadImages::Stop => None,
            BadImages::Skip => Some(config.bad_images_limit),
        };
        Self {
            limit,
            split,
            images,
            known: Mutex::default(),
        }
    }

    /// Whether image `index` is to be skipped without another attempt.
    pub fn contains(&self, index: usize) -> bool {
        self.limit.is_some() && self.known().contains(&index)
    }

    /// Image `index` failed with `error`. Warns of it if it is to be skipped and has not been met
    /// before.
    ///
    /// # Errors
    ///
    /// `error` itself, if no image is to be skipped or it says nothing about the image. With `error` in
    /// it, [`DataError::TooManyBad`] if this is one too many, and [`DataError::AllBad`] if it is the
    /// last of the split.
    pub fn add(&self, index: usize, error: DataError) -> Result<(), DataError> {
        let Some(limit) = self.limit.filter(|_| is_of_the_image(&error)) else {
            return Err(error);
        };
        let mut known = self.known();
        if known.contains(&index) {
            // Another thread met it at the same time.
            return Ok(());
        }
        let bad = known.len() + 1;
        if bad == self.images {
            return Err(DataError::AllBad {
                error: Box::new(error),
                split: self.split,
            });
        }
        if !allows(limit, bad, self.images) {
            return Err(DataError::TooManyBad {
                error: Box::new(error),
                bad,
                images: self.images,
                split: self.split,
                limit,
            });
        }
        known.insert(index);
        drop(known);
        tracing::warn!(
            "{error}; skipped, {bad} of {} {} images so far",
            self.images,
            self.split,
        );
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        // An insertion is all that happens behind the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `bad` of `images` may be skipped: one always, more up to the share `limit`.
fn allows(limit: f64, bad: usize, images: usize) -> bool {
    bad <= 1 || bad as f64 / images as f64 <= limit
}

/// Whether the file is at fault, rather than the system that reads it: the next attempt would fail
/// in the same way.
fn is_of_the_image(error: &DataError) -> bool {
    matches!(
        error,
        DataError::Undecodable { .. } | DataError::TooLarge { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_image_is_allowed_and_then_a_share() {
        for (limit, images, most) in [
            (0.01, 8, 1),
            (0.01, 100, 1),
            (0.01, 299, 2),
            (0.01, 300, 3),
            // 0.29 times 100 is less than 29 in binary.
            (0.29, 100, 29),
            (1.0, 5, 5),
        ] {
            let allowed = (1..=images).take_while(|bad| allows(limit, *bad, images));
            assert_eq!(allowed.count(), most, "{limit} of {images}");
        }
    }

    fn bad(images: usize, bad_images: BadImages) -> Skipped {
        let config = DataConfig {
            bad_images,
            bad_images_limit: 0.5,
            ..DataConfig::default()
        };
        Skipped::new(&config, "training", images)
    }

    fn undecodable(name: &str) -> DataError {
        DataError::Undecodable {
            file: name.into(),
            reason: String::from("it is a poem"),
        }
    }

    #[test]
    fn an_image_is_counted_once() {
        let skipped = bad(4, BadImages::Skip);
        for index in [3, 1, 3, 1, 3] {
            skipped.add(index, undecodable("a.png")).unwrap();
        }
        assert!(skipped.contains(1) && skipped.contains(3) && !skipped.contains(0));
        // The one too many is refused however often it is met.
        for _ in 0..2 {
            let error = skipped.add(0, undecodable("b.png")).unwrap_err();
            assert_eq!(
                error.to_string(),
                "b.png cannot be decoded as an image: it is a poem; 3 of 4 training images are bad, more than data.bad_images_limit 0.5 allows; mend or \
                 remove them, or raise the limit"
            );
            assert!(!skipped.contains(0));
        }
    }

    #[test]
    fn one_image_must_be_left() {
        let skipped = bad(1, BadImages::Skip);
        let error = skipped.add(0, undecodable("a.png")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.png cannot be decoded as an image: it is a poem; no training image can be decoded; check data.folder"
        );
    }

    #[test]
    fn nothing_is_skipped_unless_asked_and_no_error_of_the_system() {
        let stop = bad(4, BadImages::Stop);
        let error = stop.add(0, undecodable("a.png")).unwrap_err();
        assert!(matches!(error, DataError::Undecodable { .. }));
        assert!(!stop.contains(0));
        let skip = bad(4, BadImages::Skip);
        let gone = DataError::Io {
            path: "a.png".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert!(matches!(skip.add(0, gone), Err(DataError::Io { .. })));
        assert!(!skip.contains(0));
    }
}
