//! The broker against what it works with in production, or the nearest to it that runs here: each
//! test starts its own, on free ports, and takes it down again.

#[cfg(feature = "aws")]
mod cognito;
#[cfg(feature = "aws")]
mod dynamodb;
mod full_disk;
mod support;
mod turn;
