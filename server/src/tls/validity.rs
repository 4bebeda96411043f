//! From when until when a certificate is good, and when somebody should be told that it ends.
//! Pure: the time is an argument.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: u64 = 24 * 60 * 60;
/// A certificate that is renewed by hand is told about this long before its end…
const WARN_AHEAD_SECONDS: u64 = 30 * DAY;
/// …and one that lives for weeks when this part of its life is left. Those are renewed by programs,
/// which begin when a third is left.
const WARN_AHEAD_PART: u64 = 4;
/// How often the same is told again.
const TELL_EVERY_SECONDS: u64 = DAY;

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub from: u64,
    /// Until then.
    pub until: u64,
}

/// What there is to say of a certificate at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Good,
    /// It ends then, so soon that it should have been renewed.
    EndsSoon {
        /// Seconds since 1970.
        until: u64,
        /// From now.
        left: Duration,
    },
    /// It has ended: nobody who looks at it connects.
    Over {
        /// Seconds since 1970.
        until: u64,
    },
    /// It is not good yet: nobody whose clock is right connects.
    NotYet {
        /// Seconds since 1970.
        from: u64,
    },
}

impl Validity {
    /// Of a whole chain: it is as good as its weakest part. `None` where that cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let mut whole = Self { from: 0, until: u64::MAX };
        for certificate in chain {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            let validity = certificate.validity();
            // A time before 1970 is as good as 1970.
            let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
            whole.from = whole.from.max(seconds(validity.not_before.timestamp()));
            whole.until = whole.until.min(seconds(validity.not_after.timestamp()));
        }
        (!chain.is_empty()).then_some(whole)
    }

    /// How it stands `now`, in seconds since 1970.
    pub fn at(self, now: u64) -> Standing {
        let Self { from, until } = self;
        let left = until.saturating_sub(now);
        let warn_ahead = WARN_AHEAD_SECONDS.min(until.saturating_sub(from) / WARN_AHEAD_PART);
        if left == 0 {
            Standing::Over { until }
        } else if now < from {
            Standing::NotYet { from }
        } else if left <= warn_ahead {
            Standing::EndsSoon { until, left: Duration::from_secs(left) }
        } else {
            Standing::Good
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = |seconds: u64| {
            // Beyond the year 9999 there is no such date, and a certificate may say so.
            let at = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
            humantime::format_rfc3339_seconds(at)
        };
        match self {
            Self::Good => f.write_str("is good"),
            Self::EndsSoon { until, left } => {
                write!(f, "ends on {}, in ", date(*until))?;
                match left.as_secs() / DAY {
                    0 => f.write_str("less than a day")?,
                    1 => f.write_str("1 day")?,
                    days => write!(f, "{days} days")?,
                }
                f.write_str(": renew it")
            }
            Self::Over { until } => write!(f, "ended on {}: renew it", date(*until)),
            Self::NotYet { from } => {
                write!(f, "is good from {} on: is this machine's clock right?", date(*from))
            }
        }
    }
}

/// What was told of a certificate, so that it is told once a day and at every change.
#[derive(Debug, Default)]
pub(super) struct Told(Option<(std::mem::Discriminant<Standing>, u64)>);

impl Told {
    /// What should be told now, if anything.
    pub(super) fn due(&mut self, validity: Option<Validity>, now: u64) -> Option<Standing> {
        let standing = validity.map_or(Standing::Good, |validity| validity.at(now));
        if standing == Standing::Good {
            self.0 = None;
            return None;
        }
        let kind = std::mem::discriminant(&standing);
        if self.0.is_some_and(|(told, at)| told == kind && now < at + TELL_EVERY_SECONDS) {
            return None;
        }
        self.0 = Some((kind, now));
        Some(standing)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(until: (i32, u8, u8)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["lab.example".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().clone()
    }

    /// 2026-01-01.
    const FROM: u64 = 1_767_225_600;

    #[test]
    fn a_chain_ends_with_whatever_in_it_ends_first() {
        let chain = [certificate((2027, 1, 1)), certificate((2026, 7, 1))];
        let validity = Validity::of(&chain).expect("readable");
        assert_eq!(validity, Validity { from: FROM, until: FROM + 181 * DAY });
        assert_eq!(Validity::of(&[]), None);
        assert_eq!(Validity::of(&[CertificateDer::from(vec![48, 3, 2, 1, 0])]), None);
    }

    #[test]
    fn a_certificate_is_told_about_thirty_days_before_its_end_and_a_short_one_later() {
        for (life, warned) in [(398, 30), (90, 22), (6, 1)] {
            let validity = Validity { from: FROM, until: FROM + life * DAY };
            let before = |days: u64| validity.at(validity.until - days * DAY);
            assert_eq!(before(warned + 1), Standing::Good, "{life}");
            assert!(matches!(before(warned), Standing::EndsSoon { .. }), "{life}");
            assert!(matches!(before(0), Standing::Over { .. }), "{life}");
            assert!(matches!(validity.at(FROM - 1), Standing::NotYet { .. }), "{life}");
        }
    }

    #[test]
    fn it_is_said_once_a_day_and_when_it_becomes_worse() {
        let validity = Some(Validity { from: FROM, until: FROM + 100 * DAY });
        let mut told = Told::default();
        let mut said = Vec::new();
        for hour in 0..=(101 * 24) {
            let now = FROM + hour * 3600;
            said.extend(told.due(validity, now).map(|standing| (hour / 24, standing.to_string())));
        }
        assert_eq!(said.len(), 25 + 2, "{said:?}");
        assert_eq!(said[0].1, "ends on 2026-04-11T00:00:00Z, in 25 days: renew it");
        assert_eq!(said[24].1, "ends on 2026-04-11T00:00:00Z, in 1 day: renew it");
        assert_eq!(said[25], (100, "ended on 2026-04-11T00:00:00Z: renew it".to_owned()));
        // Renewed, and the next one ends, too.
        assert_eq!(told.due(Some(Validity { from: FROM, until: FROM * 2 }), FROM + 1), None);
        assert!(told.due(Some(Validity { from: 0, until: FROM }), FROM).is_some());
    }

    #[test]
    fn a_date_that_no_calendar_has_is_no_panic() {
        let standing = Standing::Over { until: u64::MAX };
        assert!(standing.to_string().contains("9999-12-31"), "{standing}");
    }
}
