//! In which qualities one picture is to be had.
//!
//! One encode has to follow all who watch it. Of two or three *renditions* of a picture each viewer is
//! sent the best one that its own path carries, and a slow path blurs nobody else's picture. What nobody
//! is sent is not encoded.

use std::{fmt, ops::RangeInclusive, str::FromStr, sync::Arc};

/// Most renditions of one picture: each is an encoder while somebody is sent it.
pub const MAX_RENDITIONS: usize = 3;

/// What is accepted: lines of a picture, pictures a second, bits a second.
const HEIGHTS: RangeInclusive<u32> = 90..=4_320;
const RATES: RangeInclusive<u32> = 1..=240;
const BITRATES: RangeInclusive<u32> = 100_000..=50_000_000;

/// The most that one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rendition {
    /// Lines; the width follows. `None` is as many as the source has. Pictures are never enlarged.
    pub height: Option<u32>,
    /// Pictures a second. `None` is as many as the source has.
    pub fps: Option<u32>,
    /// Bits a second.
    pub bitrate: u32,
}

impl Rendition {
    /// The size of its pictures, for a source of this width and height: even, as encoders want it.
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let even = |pixels: u64| (pixels.max(2) & !1) as u32;
        match self.height {
            Some(least) if least < height => {
                let scaled = u64::from(width) * u64::from(least) / u64::from(height);
                (even(scaled), even(u64::from(least)))
            }
            _ => (even(u64::from(width)), even(u64::from(height))),
        }
    }

    /// What it is called, as in `720p30`; nothing where a picture has only what the source gives.
    pub fn name(self) -> Option<String> {
        let height = self.height?;
        let fps = self.fps.map(|fps| fps.to_string()).unwrap_or_default();
        Some(format!("{height}p{fps}"))
    }
}

/// All renditions of a picture, best first; never none. Cloning gives another handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renditions(Arc<[Rendition]>);

impl Renditions {
    /// As the source gives it, at no more than so many bits a second.
    pub fn plain(bitrate: u32) -> Self {
        Self(Arc::new([Rendition { height: None, fps: None, bitrate }]))
    }

    /// Each of them, best first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Rendition> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One of them, by its number; the last for numbers beyond.
    pub fn get(&self, number: usize) -> Rendition {
        self.0[number.min(self.0.len() - 1)]
    }

    /// Whether its owner asked for them. Then everything is encoded here, also what comes encoded.
    pub fn are_asked_for(&self) -> bool {
        self.0[0].height.is_some()
    }

    /// Their names, best first; none where nobody asked for any.
    pub fn names(&self) -> Vec<String> {
        self.iter().filter_map(Rendition::name).collect()
    }
}

/// Why renditions are not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenditionsError {
    /// One of them means nothing.
    #[error(
        "{0:?} is no rendition; accepted is HEIGHTp[FPS]@BITRATE, as in 720p30@2500k: {h0} to {h1} lines, \
         {f0} to {f1} pictures a second, and bits a second from 100k to 50M",
        h0 = HEIGHTS.start(), h1 = HEIGHTS.end(), f0 = RATES.start(), f1 = RATES.end()
    )]
    Word(String),
    /// Too many, or none.
    #[error("{0} renditions; accepted are 1 to {MAX_RENDITIONS}")]
    Count(usize),
    /// Viewers could not tell two of them apart, or have no reason to prefer one.
    #[error("two renditions have {0}; each needs a size or rate, and a bit rate, of its own")]
    Alike(String),
}

impl FromStr for Rendition {
    type Err = RenditionsError;

    fn from_str(typed: &str) -> Result<Self, RenditionsError> {
        let parsed = || {
            let (shape, bitrate) = typed.split_once('@')?;
            let (height, fps) = shape.split_once('p')?;
            let fps = if fps.is_empty() { None } else { Some(whole(fps, RATES)?) };
            Some(Self { height: Some(whole(height, HEIGHTS)?), fps, bitrate: bits(bitrate)? })
        };
        parsed().ok_or_else(|| RenditionsError::Word(typed.chars().take(40).collect()))
    }
}

/// Digits only: a sign or a space is a slip.
fn whole(text: &str, accepted: RangeInclusive<u32>) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && accepted.contains(number))
}

/// Bits a second, as `800000`, `800k` or `2.5M`.
fn bits(text: &str) -> Option<u32> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let bits = number.parse::<f64>().ok().filter(|bits| plain && bits.is_finite())? * unit;
    // Out of range becomes the end of the range, which is not accepted either.
    Some(bits.round() as u32).filter(|bits| BITRATES.contains(bits))
}

impl fmt::Display for Rendition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().unwrap_or_default())?;
        match self.bitrate {
            bits if bits.is_multiple_of(1_000) => write!(f, "@{}k", bits / 1_000),
            bits => write!(f, "@{bits}"),
        }
    }
}

/// Separated by commas, in any order.
impl FromStr for Renditions {
    type Err = RenditionsError;

    fn from_str(typed: &str) -> Result<Self, RenditionsError> {
        let words = typed.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<Vec<Rendition>, _>>()?.try_into()
    }
}

/// In any order.
impl TryFrom<Vec<Rendition>> for Renditions {
    type Error = RenditionsError;

    fn try_from(mut all: Vec<Rendition>) -> Result<Self, RenditionsError> {
        if all.is_empty() || all.len() > MAX_RENDITIONS {
            return Err(RenditionsError::Count(all.len()));
        }
        all.sort_by_key(|rendition| std::cmp::Reverse(rendition.bitrate));
        for pair in all.windows(2) {
            if pair[0].bitrate == pair[1].bitrate {
                return Err(RenditionsError::Alike(format!("{} bits a second", pair[0].bitrate)));
            }
        }
        for (index, one) in all.iter().enumerate() {
            let name = one.name();
            if all[..index].iter().any(|other| other.name() == name) {
                let name = name.unwrap_or_default();
                return Err(RenditionsError::Alike(format!("the name {name}")));
            }
        }
        Ok(Self(all.into()))
    }
}

impl fmt::Display for Renditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rendition) in self.iter().enumerate() {
            write!(f, "{}{rendition}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_comes_first_however_they_are_typed() {
        let all: Renditions = "360p15@400k, 720p30@2.5M,720p@1200000".parse().expect("understood");
        assert_eq!(all.to_string(), "720p30@2500k,720p@1200k,360p15@400k");
        assert_eq!(all.names(), ["720p30", "720p", "360p15"]);
        assert!(all.are_asked_for() && !Renditions::plain(1).are_asked_for());
        assert_eq!(Renditions::plain(1).names(), [""; 0]);
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_is_accepted() {
        for (typed, said) in [
            ("", "0 renditions; accepted are 1 to 3"),
            ("720p@1M,360p@400k,240p@200k,180p@150k", "4 renditions"),
            ("720", "\"720\" is no rendition; accepted is HEIGHTp[FPS]@BITRATE"),
            ("720p30", "as in 720p30@2500k"),
            ("720p0@1M", "1 to 240 pictures a second"),
            ("+720p@1M", "is no rendition"),
            ("72p@1M", "90 to 4320 lines"),
            ("720p@99k", "from 100k to 50M"),
            ("720p@1e6", "is no rendition"),
            ("720p@infM", "is no rendition"),
            ("720p@1M,360p@1000k", "two renditions have 1000000 bits a second"),
            ("720p@1M,720p@400k", "two renditions have the name 720p"),
        ] {
            let error = typed.parse::<Renditions>().expect_err(typed).to_string();
            assert!(error.contains(said), "{typed}: {error}");
        }
    }

    #[test]
    fn pictures_keep_their_form_and_are_never_enlarged() {
        let small: Rendition = "360p@400k".parse().expect("understood");
        assert_eq!(small.size((1280, 720)), (640, 360));
        assert_eq!(small.size((1920, 1200)), (576, 360));
        assert_eq!(small.size((720, 1280)), (202, 360));
        assert_eq!(small.size((320, 180)), (320, 180));
        assert_eq!(Renditions::plain(1).get(0).size((641, 361)), (640, 360));
    }

    proptest! {
        #[test]
        fn nothing_typed_panics_and_what_is_shown_can_be_typed_again(
            typed in ".{0,40}",
            heights in prop::collection::btree_set(90u32..=4_320, 1..=3),
            fps in prop::option::of(1u32..=240),
            bitrate in 100_000u32..40_000_000,
        ) {
            let _ = typed.parse::<Renditions>();
            let typed: Vec<_> = heights
                .iter()
                .enumerate()
                .map(|(index, height)| {
                    let bitrate = bitrate + index as u32 * 7;
                    Rendition { height: Some(*height), fps, bitrate }.to_string()
                })
                .collect();
            let all: Renditions = typed.join(",").parse().expect("understood");
            prop_assert_eq!(all.len(), heights.len());
            prop_assert_eq!(all.to_string().parse(), Ok(all.clone()));
            prop_assert!(all.iter().is_sorted_by_key(|one| std::cmp::Reverse(one.bitrate)));
        }

        #[test]
        fn every_size_is_even_and_no_larger_than_the_source(
            height in prop::option::of(90u32..=4_320), full in (2u32..8_000, 2u32..8_000),
        ) {
            let (width, lines) = Rendition { height, fps: None, bitrate: 1 }.size(full);
            prop_assert!(width % 2 == 0 && lines % 2 == 0 && width >= 2 && lines >= 2);
            prop_assert!(width <= full.0.max(2) && lines <= full.1.max(2));
        }
    }
}
