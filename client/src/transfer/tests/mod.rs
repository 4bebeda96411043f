//! Stories of files between two ends in memory: each end has its own folder on a real disk.

mod failing;
mod folders;
mod legacy;
mod pair;
mod questions;
mod refused;
mod resume;
mod sending;
mod throughput;
