//! How the path to a viewer is.

use serde::{Deserialize, Serialize};

/// `STATS::`, from the worker to each viewer, about once a second on `state`: how its path looks from
/// there, and what is made of it. A viewer's own numbers say what arrived; these say why not more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Bits a second that the path is believed to carry.
    pub estimate: u32,
    /// Bits a second that arrive, where the viewer reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<u32>,
    /// Bits a second that the encoder of the first picture shown aims at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    /// The rendition of it that is shown, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendition: Option<String>,
    /// The share of its full width and height that this picture has, above 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Packets lost on the way of those sent in the last second or more, 0 to 1. Most are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f32>,
    /// From a packet to the report about it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f32>,
    /// How long packets stand in queues on the way, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<f32>,
    /// Packets that were sent again, since the connection began.
    pub repaired: u64,
}
