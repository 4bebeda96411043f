//! Sending one viewer's picture.

use super::{AccessUnit, NotSent, RtpPacket};

/// The picture on its way to one viewer. Clones are the same track. Nothing here ever waits.
#[derive(Clone)]
pub struct VideoTrack {}

impl VideoTrack {
    /// Sends one encoded picture.
    pub fn write(&self, unit: &AccessUnit) -> Result<(), NotSent> {
        todo!()
    }

    /// Passes a packet of a ready stream on, under this connection's own source, numbers and
    /// payload type. Use either this or [`write`](Self::write) on one track.
    pub fn forward(&self, packet: &RtpPacket) -> Result<(), NotSent> {
        todo!()
    }

    /// Whether the viewer agreed to a picture and the connection is up.
    pub fn is_ready(&self) -> bool {
        todo!()
    }
}
