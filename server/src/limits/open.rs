//! How many connections each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Source;

/// Counts connections by address. Bounded by the connections that there are.
#[derive(Debug)]
pub struct OpenConnections {
    most: usize,
    counts: Mutex<HashMap<Source, usize>>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Open {
    counted: Arc<OpenConnections>,
    source: Source,
}

impl OpenConnections {
    /// At most so many for each.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Source, usize>> {
        // Every count is whole at all times.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if this address may have one.
    pub fn open(self: &Arc<Self>, from: IpAddr) -> Option<Open> {
        let source = Source::from(from);
        let mut counts = self.counts();
        let count = counts.entry(source).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Open { counted: Arc::clone(self), source })
    }

    /// How many addresses have a connection.
    pub fn addresses(&self) -> usize {
        self.counts().len()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.counted.counts();
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_gets_another_when_one_is_closed() {
        let open = OpenConnections::new(2);
        let from = |text: &str| text.parse().expect("an address");
        let first = open.open(from("2001:db8::1")).expect("one");
        let _second = open.open(from("2001:db8::2")).expect("two");
        assert!(open.open(from("2001:db8::3")).is_none(), "the same network");
        let other = open.open(from("192.0.2.1")).expect("another address");
        drop(first);
        assert!(open.open(from("2001:db8::3")).is_some());
        assert_eq!(open.addresses(), 2);
        drop(other);
        assert_eq!(open.addresses(), 1);
    }
}
