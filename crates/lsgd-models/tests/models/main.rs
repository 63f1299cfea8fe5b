//! Tests of all models, in one program.

mod against_torch;
mod behaviour;
mod reference;
