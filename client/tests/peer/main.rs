//! Two peers in one process, each told by the test what the other one said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails right there")]

mod audio;
mod bulk;
mod foreign;
mod lanes;
mod life;
mod pair;
mod paths;
mod video;
