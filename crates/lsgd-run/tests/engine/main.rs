//! The engine with a task of a few parameters: no images, no classes, no BatchNorm.

mod accumulating;
mod benching;
mod factors;
mod failing;
mod faults;
mod frozen;
mod landscape;
mod replaying;
mod sharing;
mod toy;
mod training;
mod two_nodes;
