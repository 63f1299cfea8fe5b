//! Trainings by burn-train that follow leaders.

mod bits;
mod failures;
mod kept;
mod nodes;
mod setting;
