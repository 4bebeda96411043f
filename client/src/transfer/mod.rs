//! Transfers carried out: the pure [`Sender`](halyard_protocol::transfer::Sender) and
//! [`Receiver`](halyard_protocol::transfer::Receiver) on real files and a real connection.
//!
//! * [`Transfers`] is everything about files on one connection: it sends and takes several at a
//!   time in fair shares, answers questions about the folder it serves, and asks its own.
//! * [`Wire`] is what it needs of the connection; [`Peer`](crate::peer::Peer) is one.
//! * [`Pace`] turns steps into a rate and a remaining time.
//! * [`Serving`] says what the other end may do here; [`Transfer`] is one file on its way.
//! * [`LegacyFiles`] and [`send_legacy`] are the same for existing clients on their one channel.
//!
//! # Who waits for whom
//!
//! ```text
//!  disk ─▶ 1 MiB read and hashed ahead ─▶ turn (one chunk each, first come first served) ─▶ Wire::chunk
//!  bulk ─▶ Transfers::chunk, waits above 24 MiB not written ─▶ up to 2 MiB a write ─▶ disk
//! ```
//! Reading, hashing and writing run on blocking threads, a piece at a time, so that neither a slow
//! disk nor a slow network holds a thread. Each sender keeps at most 16 MiB sent and not yet safe on the
//! receiver's disk. When the connection is cut, unfinished files stay;
//! offering the file again on the next connection goes on where they end.

mod blocking;
mod handle;
mod incoming;
mod legacy;
mod outgoing;
mod pace;
mod questions;
mod serving;
#[cfg(test)]
mod tests;
mod transfers;
mod wire;

pub use handle::{Direction, Finished, Progress, Transfer, TransferError};
pub use legacy::{LegacyEvent, LegacyFiles, send_legacy};
pub use pace::{Pace, REPORT_EVERY, Report};
pub use serving::Serving;
pub use transfers::Transfers;
pub use wire::{LegacyWire, Wire, WireClosed};
