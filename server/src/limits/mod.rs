//! What nobody may exceed, and how often somebody may try.
//!
//! Pure logic: the time is an argument, and nothing here knows of sockets.
//!
//! * [`bucket`]: how fast something may happen, with a burst.
//! * [`address`]: whom a caller's address stands for.
//! * [`forwarded`]: who is behind a proxy.
//! * [`table`]: a bucket for everybody who calls, in bounded memory.
//! * [`limiter`]: which limits there are, and who is refused.
//! * [`open`]: how many connections each address has.
//! * [`talk`]: how fast one socket may talk. It lives in the socket's task.

pub mod address;
pub mod bucket;
pub mod forwarded;
pub mod limiter;
pub mod open;
pub mod table;
pub mod talk;

pub use self::{
    address::Source,
    bucket::{Bucket, Rate},
    forwarded::Caller,
    limiter::{Limit, Limiter, TooOften},
    open::{Open, OpenConnections},
    talk::{Pace, Talk, Verdict},
};
