//! What one address gets of what there is little of: streams of pictures, and offers.

use std::{sync::Arc, time::Instant};

use halyard_server::limits::{Open, OpenConnections, Rate, Source, table::Table};

use super::{asker::Asker, refusal::Refusal};

/// Offers of one address: one a second, after a burst in which a page may reconnect a few times.
/// Each costs a certificate, sockets and a handshake.
const OFFERS_PER_SECOND: u64 = 1;
const OFFERS_AT_ONCE: u64 = 6;

/// Addresses that are remembered, some 40 bytes each.
const REMEMBERED: usize = 4096;

/// A stream that counts until it is dropped.
pub(super) type Seat = Open;

/// Who has how much. Whoever asks from this machine has no share of streams, only the whole of it: its
/// programs could do anything, and a proxy on it stands for many.
#[derive(Debug)]
pub(super) struct Shares {
    /// Of each picture.
    seats: Vec<Arc<OpenConnections>>,
    each: usize,
    offers: Table<Source>,
}

impl Shares {
    /// Of so many pictures, each of which so many may watch: an address gets a quarter of that, and
    /// two where that is less, because a page that is loaded again is there twice for a moment.
    pub(super) fn new(pictures: usize, viewers: usize) -> Self {
        let each = (viewers / 4).max(2);
        Self {
            seats: (0..pictures).map(|_| OpenConnections::new(each)).collect(),
            each,
            offers: Table::new(REMEMBERED),
        }
    }

    /// One more stream of this picture.
    pub(super) fn seat(&self, asker: &Asker, picture: usize) -> Result<Option<Seat>, Refusal> {
        let Some(seats) = self.seats.get(picture).filter(|_| !asker.is_here()) else {
            return Ok(None);
        };
        seats.open(asker.address()).map(Some).ok_or_else(|| {
            Refusal::share(format!(
                "your address watches this picture {} times already, which is its share; close one of \
                 those, or watch by WebRTC",
                self.each
            ))
        })
    }

    /// One more offer.
    pub(super) fn offer(&self, asker: &Asker) -> Result<(), Refusal> {
        let rate = Rate::per_second(OFFERS_PER_SECOND, OFFERS_AT_ONCE);
        let taken = self.offers.take(asker.address().into(), 1, rate, Instant::now());
        taken.map_err(|_| {
            Refusal::share(
                "too many offers from your address; wait a few seconds, then one a second",
            )
        })
    }
}
