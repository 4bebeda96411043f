//! A queue of one that leaks: a newer value replaces the one that waits.
//!
//! It stands before the encoder. When the encoder is late, the newest picture is the one worth
//! encoding, and the painter never waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Room for one value between two threads.
#[derive(Debug)]
pub struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    closed: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { value: None, closed: false }), changed: Condvar::new() }
    }
}

impl<T> Slot<T> {
    /// Puts a value in and gives back the one that it replaced, if that was still waiting. Into a
    /// closed slot nothing goes: the value itself comes back.
    pub fn put(&self, value: T) -> Option<T> {
        let mut state = self.lock();
        if state.closed {
            return Some(value);
        }
        let replaced = state.value.replace(value);
        self.changed.notify_one();
        replaced
    }

    /// Waits for a value. `None` once the slot is closed.
    pub fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(value) = state.value.take() {
                return Some(value);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes whoever waits; nothing goes in or out any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_value_replaces_the_one_that_waits() {
        let slot = Slot::default();
        assert_eq!(slot.put(1), None);
        assert_eq!(slot.put(2), Some(1));
        assert_eq!(slot.take(), Some(2));
        assert_eq!(slot.put(3), None);
    }

    #[test]
    fn closing_wakes_who_waits_and_gives_values_back() {
        let slot = Slot::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| slot.take());
            slot.close();
            assert_eq!(waiting.join().unwrap(), None::<i32>);
        });
        assert_eq!(slot.put(4), Some(4));
    }
}
