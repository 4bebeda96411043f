//! Two peers in one process, each told by the test what the other one said.

mod bulk;
mod foreign;
mod lanes;
mod life;
mod pair;
mod paths;
mod video;
