//! The encoder in this program at the end of a pipeline, for machines where GStreamer has none.

use std::time::Instant;

use gstreamer as gst;
use gstreamer_video::{self as gst_video, VideoFrameExt};

use crate::media::{
    encoder::{Encoded, H264Encoder},
    picture::{Picture, Size},
    restart::Restart,
};

pub(super) struct Own {
    encoder: Option<H264Encoder>,
    restart: Restart,
    picture: Picture,
}

impl Own {
    pub(super) fn new() -> Self {
        Self {
            encoder: None,
            restart: Restart::default(),
            picture: Picture::new(Size { width: 2, height: 2 }),
        }
    }

    /// Encodes a raw picture (I420) of which there are `fps` a second. `None` where it was skipped to hold
    /// the rate.
    pub(super) fn encode(
        &mut self,
        sample: &gst::Sample,
        at_ms: u64,
        key: bool,
        (bitrate, fps): (u32, f32),
        now: Instant,
    ) -> Result<Option<Encoded>, String> {
        self.copy(sample)?;
        let size = self.picture.size();
        let is_due = self.restart.is_due(now, bitrate);
        let fits = |encoder: &H264Encoder| {
            !is_due && encoder.size() == size && (encoder.fps() - fps).abs() < 0.5
        };
        let kept = self.encoder.take().filter(fits);
        let mut encoder = if let Some(kept) = kept {
            kept
        } else {
            // Pictures come as they come here, so the encoder gets no more than what is wanted.
            let rate = self.restart.make(now, bitrate, bitrate);
            H264Encoder::new(size, fps, rate).map_err(|e| e.to_string())?
        };
        let encoded = encoder.encode(&self.picture, at_ms, key).map_err(|e| e.to_string())?;
        self.encoder = Some(encoder);
        Ok(encoded)
    }

    /// Takes the planes over.
    fn copy(&mut self, sample: &gst::Sample) -> Result<(), String> {
        let buffer = sample.buffer().ok_or("an empty sample")?;
        let caps = sample.caps().ok_or("a picture without a format")?;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|error| error.to_string())?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
            .map_err(|error| error.to_string())?;
        let size = Size { width: info.width() as usize & !1, height: info.height() as usize & !1 };
        if size.width == 0 || size.height == 0 || frame.n_planes() != 3 {
            return Err("a picture that is no I420".to_owned());
        }
        if self.picture.size() != size {
            self.picture = Picture::new(size);
        }
        let (y, u, v) = self.picture.planes();
        for (index, (to, width)) in
            [(y, size.width), (u, size.width / 2), (v, size.width / 2)].into_iter().enumerate()
        {
            let from = frame.plane_data(index as u32).map_err(|error| error.to_string())?;
            let stride = info.stride()[index].unsigned_abs() as usize;
            for (to, from) in to.chunks_exact_mut(width).zip(from.chunks(stride.max(1))) {
                to.copy_from_slice(from.get(..width).ok_or("a picture that is cut off")?);
            }
        }
        Ok(())
    }
}
