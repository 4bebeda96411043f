//! A tone of 440 Hz, to try whether sound arrives. It needs no encoder: a second of it was encoded
//! once, and 440 whole waves later it begins again where it began.
//!
//! Made with `ffmpeg -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -af volume=2 -c:a libopus
//! -b:a 24k -application audio -frame_duration 20 -vbr off -ac 1`: the second of its four seconds, each
//! packet behind its length (two bytes, big-endian).

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::source::{SoundError, SoundSink, SoundSource};

static PACKETS: &[u8] = include_bytes!("tone.opus-packets");

/// How long each packet sounds.
const LENGTH: Duration = Duration::from_millis(20);

/// The tone.
#[derive(Default)]
pub(super) struct Tone {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl SoundSource for Tone {
    fn start(&mut self, sink: SoundSink) -> Result<(), SoundError> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("tone".to_owned()).spawn(move || {
            let mut due = Instant::now();
            for packet in packets().collect::<Vec<_>>().into_iter().cycle() {
                sink.packet(packet, LENGTH);
                due += LENGTH;
                let left = due.saturating_duration_since(Instant::now());
                if stopped.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        self.running = Some((stop, thread.map_err(SoundError::Thread)?));
        Ok(())
    }

    fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // Nothing in it can panic.
            let _ = thread.join();
        }
    }
}

/// A second of it.
fn packets() -> impl Iterator<Item = Bytes> {
    let mut rest = PACKETS;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        let (packet, next) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = next;
        Some(Bytes::from_static(packet))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_second_of_packets_of_20_ms() {
        let all: Vec<_> = packets().collect();
        assert_eq!(all.len(), 50);
        assert_eq!(all.iter().map(|packet| packet.len() + 2).sum::<usize>(), PACKETS.len());
        // One frame of 20 ms of CELT, in one channel (RFC 6716, section 3.1).
        assert!(all.iter().all(|packet| packet[0] >> 3 >= 16 && packet[0].trailing_zeros() >= 3));
    }
}
