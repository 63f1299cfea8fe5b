//! Runs of the program itself: what it prints, writes and returns, by its command line alone.

mod averages;
mod bad_input;
mod benching;
mod checkpoints;
mod commands;
mod events;
mod failures;
mod fetching;
mod fine_tuning;
mod folder;
mod holdout;
mod images;
mod inspection;
mod interruption;
mod learning;
mod live;
mod methods;
mod outputs;
mod pictures;
mod program;
mod recipes;
mod repeats;
mod replacing;
mod replaying;
mod resuming;
mod simulation;
