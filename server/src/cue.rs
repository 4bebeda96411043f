//! Something that happens once, and that every socket waits for.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use tokio_util::sync::CancellationToken;

/// A cancellation for tasks that are woken a million times before it fires.
///
/// Whoever polls a [`CancellationToken`] takes two locks at every wake-up, and they are the same ones
/// for every task. Here a task takes them once, to be woken, and looks at a flag from then on.
#[derive(Debug, Clone, Default)]
pub struct Cue(Arc<Inside>);

#[derive(Debug, Default)]
struct Inside {
    fired: AtomicBool,
    token: CancellationToken,
}

impl Cue {
    /// Wakes everybody who waits.
    pub fn fire(&self) {
        // Before anybody is woken, because the flag is what they will look at.
        self.0.fired.store(true, Ordering::SeqCst);
        self.0.token.cancel();
    }

    /// Whether it has fired.
    pub fn has_fired(&self) -> bool {
        self.0.fired.load(Ordering::SeqCst)
    }

    /// Ready once it has fired.
    pub async fn fired(&self) {
        let mut waiting = pin!(self.0.token.cancelled());
        let mut known: Option<Waker> = None;
        poll_fn(|cx| {
            if self.has_fired() {
                return Poll::Ready(());
            }
            if known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            known = Some(cx.waker().clone());
            waiting.as_mut().poll(cx)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Context, Wake},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_looked_last_is_woken_however_often_it_looked() {
        let cue = Cue::default();
        let tasks = [Arc::new(Woken::default()), Arc::new(Woken::default())];
        let [first, second] = tasks.clone().map(Waker::from);
        let mut fired = pin!(cue.fired());
        for waker in [&first, &first, &second, &second] {
            assert!(fired.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        cue.fire();
        let woken = tasks.each_ref().map(|task| task.0.load(Ordering::SeqCst));
        assert_eq!(woken, [0, 1], "the task that it moved to");
        assert!(fired.as_mut().poll(&mut Context::from_waker(&second)).is_ready());
        let mut late = pin!(cue.fired());
        assert!(late.as_mut().poll(&mut Context::from_waker(&first)).is_ready());
    }
}
