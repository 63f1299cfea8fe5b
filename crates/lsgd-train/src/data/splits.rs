//! The folders of an image folder's two splits.

pub(super) const TRAIN: &str = "train";
pub(super) const TEST: &str = "val";
