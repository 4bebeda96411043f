//! A circuit that opens: a backend that fails again and again is left alone for a while.
//!
//! [`Breaker`] is the rule, with the time as an argument. [`Fuse`] puts it around calls: it bounds
//! how long one may take, and answers at once while the circuit is open. After a while one call is
//! let through to see whether the backend is back; everybody else goes on being refused with the
//! time until then, which callers are told as `Retry-After`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Failures in a row that open the circuit: one or two may be a lost packet.
const FAILURES: u32 = 5;
/// How long it stays open at first.
const OPEN_FOR: Duration = Duration::from_secs(1);
/// It is doubled with each try that fails, up to this: a backend that comes back after an hour
/// should not be waited for much longer.
const OPEN_AT_MOST: Duration = Duration::from_secs(30);

/// Whether calls are let through.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    failures: u32,
    /// How often it opened since a call last succeeded.
    opened: u32,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One call is on its way.
    Trying,
}

impl Breaker {
    /// May a call be made? If not: how long to wait.
    pub fn ask(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now >= until => {
                self.state = State::Trying;
                Ok(())
            }
            State::Open { until } => Err(until - now),
            // If it succeeds, then sooner; nobody knows.
            State::Trying => Err(OPEN_FOR),
        }
    }

    /// A call was answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A call was not answered in time, or with a failure of the backend. Says how long the
    /// circuit is open now, if it is.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => {
                self.failures += 1;
                (self.failures >= FAILURES).then(|| self.open(now))
            }
            State::Trying => Some(self.open(now)),
            // A call from before it opened.
            State::Open { until } => Some(until.saturating_duration_since(now)),
        }
    }

    /// A call was given up by its caller before anybody knew. If it was the one that tried, the
    /// next may.
    pub fn gave_up(&mut self, now: Instant) {
        if matches!(self.state, State::Trying) {
            self.state = State::Open { until: now };
        }
    }

    /// Whether calls are refused or only one is let through.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed)
    }

    fn open(&mut self, now: Instant) -> Duration {
        let wait = OPEN_FOR.saturating_mul(1 << self.opened.min(16)).min(OPEN_AT_MOST);
        self.opened = self.opened.saturating_add(1);
        self.state = State::Open { until: now + wait };
        wait
    }
}

/// A breaker around the calls to one backend.
#[derive(Debug)]
pub struct Fuse {
    backend: &'static str,
    within: Duration,
    breaker: Mutex<Breaker>,
}

/// Why a call gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed<E> {
    /// The backend answered, and this is what it said.
    Answered(E),
    /// It did not answer, or was not asked.
    Unavailable {
        /// When it may.
        retry_after: Duration,
        /// What happened.
        why: String,
    },
}

impl Fuse {
    /// For calls to this backend, which may take so long each.
    pub fn new(backend: &'static str, within: Duration) -> Self {
        Self { backend, within, breaker: Mutex::default() }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the backend is being left alone.
    pub fn is_open(&self) -> bool {
        self.breaker().is_open()
    }

    /// Makes a call, unless the circuit is open. `outage` says what an error is about: a failure of
    /// the backend, in words, or an answer.
    pub async fn call<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        outage: impl FnOnce(&E) -> Option<String>,
    ) -> Result<T, Failed<E>> {
        self.breaker().ask(Instant::now()).map_err(|retry_after| Failed::Unavailable {
            retry_after,
            why: format!("{} failed several times and is left alone for now", self.backend),
        })?;
        let mut verdict = Verdict { fuse: self, known: false };
        let done = tokio::time::timeout(self.within, work).await;
        verdict.known = true;
        let why = match done {
            Ok(Ok(value)) => {
                self.breaker().succeeded();
                return Ok(value);
            }
            Ok(Err(error)) => {
                let Some(why) = outage(&error) else {
                    self.breaker().succeeded();
                    return Err(Failed::Answered(error));
                };
                why
            }
            Err(_) => format!("no answer within {:?}", self.within),
        };
        let open = self.breaker().failed(Instant::now());
        if let Some(wait) = open {
            tracing::warn!(backend = self.backend, ?wait, %why, "a backend is left alone");
        }
        Err(Failed::Unavailable { retry_after: open.unwrap_or(OPEN_FOR), why })
    }
}

/// Dropped with a call that its caller gave up.
struct Verdict<'a> {
    fuse: &'a Fuse,
    known: bool,
}

impl Drop for Verdict<'_> {
    fn drop(&mut self) {
        if !self.known {
            self.fuse.breaker().gave_up(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(breaker: &mut Breaker, now: Instant) {
        for _ in 0..FAILURES {
            assert_eq!(breaker.ask(now), Ok(()));
            breaker.failed(now);
        }
    }

    #[test]
    fn a_few_failures_do_not_open_it_and_a_success_forgets_them() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..100 {
            for _ in 0..FAILURES - 1 {
                assert_eq!(breaker.ask(now), Ok(()));
                assert_eq!(breaker.failed(now), None);
            }
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn it_opens_lets_one_try_and_closes_again() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        broken(&mut breaker, now);
        assert_eq!(breaker.ask(now), Err(OPEN_FOR));
        assert_eq!(breaker.ask(now + OPEN_FOR / 4), Err(OPEN_FOR * 3 / 4));
        let later = now + OPEN_FOR;
        assert_eq!(breaker.ask(later), Ok(()));
        assert!(breaker.ask(later).is_err(), "one try, not two");
        breaker.succeeded();
        assert_eq!(breaker.ask(later), Ok(()));
        assert_eq!(breaker.ask(later), Ok(()));
    }

    #[test]
    fn each_try_that_fails_doubles_the_wait_up_to_a_bound() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        broken(&mut breaker, now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = breaker.ask(now).expect_err("open");
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(breaker.ask(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        breaker.succeeded();
        broken(&mut breaker, now);
        assert_eq!(breaker.ask(now), Err(OPEN_FOR), "what was is forgotten");
    }

    #[tokio::test]
    async fn a_backend_that_hangs_is_not_waited_for_for_ever() {
        let fuse = Fuse::new("test", Duration::from_millis(20));
        for _ in 0..FAILURES {
            let hung = fuse.call(std::future::pending::<Result<(), ()>>(), |()| None).await;
            assert!(matches!(hung, Err(Failed::Unavailable { .. })), "{hung:?}");
        }
        let asked = std::cell::Cell::new(false);
        let work = async {
            asked.set(true);
            Ok::<_, ()>(())
        };
        let refused = fuse.call(work, |()| None).await;
        assert!(matches!(refused, Err(Failed::Unavailable { .. })), "{refused:?}");
        assert!(!asked.get(), "it was to be left alone");
    }

    #[tokio::test]
    async fn an_answer_that_says_no_is_an_answer() {
        let fuse = Fuse::new("test", Duration::from_secs(8));
        for _ in 0..FAILURES * 2 {
            let no = fuse.call(async { Err::<(), _>("no") }, |_| None).await;
            assert_eq!(no, Err(Failed::Answered("no")));
        }
        assert!(!fuse.is_open());
    }

    #[tokio::test]
    async fn a_try_that_its_caller_gave_up_is_not_the_last() {
        let fuse = Fuse::new("test", Duration::from_secs(8));
        let past = Instant::now().checked_sub(OPEN_FOR).expect("a machine that runs for a second");
        broken(&mut fuse.breaker(), past);
        let mut trying = Box::pin(fuse.call(std::future::pending::<Result<(), ()>>(), |()| None));
        assert!(futures_util::poll!(trying.as_mut()).is_pending());
        assert!(fuse.breaker().ask(Instant::now()).is_err());
        drop(trying);
        assert_eq!(fuse.call(async { Ok::<_, ()>(7) }, |()| None).await, Ok(7));
        assert!(!fuse.is_open());
    }
}
