//! A bucket for everybody who calls, in bounded memory.
//!
//! Only full buckets are forgotten: they are as good as new, so nobody gains by being forgotten,
//! and nobody can make the table forget him by filling it. Where it is full of others, newcomers
//! share one bucket per shard until there is room. The hash is keyed at random, so nobody chooses
//! whom he shares with.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Bucket, Rate};

/// Locks, so that cores do not wait for each other.
const SHARDS: usize = 16;
/// A table that is full is looked through this often at most, or every newcomer would cost that.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Shard<K> {
    buckets: HashMap<K, Bucket>,
    /// Of everybody for whom there is no room.
    others: Bucket,
    sweep_at: Option<Instant>,
}

/// Buckets by key.
#[derive(Debug)]
pub struct Table<K> {
    shards: Vec<Mutex<Shard<K>>>,
    most_per_shard: usize,
    hasher: RandomState,
}

impl<K: Eq + Hash> Table<K> {
    /// At most this many keys, each some 40 bytes.
    pub fn new(most: usize) -> Self {
        let shard = || Shard { buckets: HashMap::new(), others: Bucket::default(), sweep_at: None };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            most_per_shard: most.div_ceil(SHARDS).max(1),
            hasher: RandomState::new(),
        }
    }

    /// Does something with the bucket of a key.
    pub fn with<T>(&self, key: K, now: Instant, work: impl FnOnce(&mut Bucket) -> T) -> T {
        let at = self.hasher.hash_one(&key) as usize % SHARDS;
        // Every bucket is one moment and whole at all times.
        let mut shard = self.shards[at].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = shard.buckets.get_mut(&key) {
            return work(bucket);
        }
        if shard.buckets.len() >= self.most_per_shard {
            shard.sweep(now);
        }
        if shard.buckets.len() >= self.most_per_shard {
            return work(&mut shard.others);
        }
        let mut bucket = Bucket::default();
        let result = work(&mut bucket);
        if !bucket.is_full(now) {
            shard.buckets.insert(key, bucket);
        }
        result
    }

    /// [`Bucket::take`] for a key.
    pub fn take(&self, key: K, count: u64, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.with(key, now, |bucket| bucket.take(count, rate, now))
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()).sum()
    }

    /// Nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> Shard<K> {
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.sweep_at = now.checked_add(SWEEP_EVERY);
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_is_forgotten_by_filling_the_table() {
        let (table, rate, now) = (Table::new(64), Rate::per_minute(5), Instant::now());
        for _ in 0..5 {
            assert!(table.take(0, 1, rate, now).is_ok());
        }
        assert!(table.take(0, 1, rate, now).is_err());
        // Thousands of others come, and some of them find no room.
        for other in 1..10_000 {
            let _ = table.take(other, 1, rate, now);
        }
        assert!(table.len() <= 64, "{}", table.len());
        assert!(table.take(0, 1, rate, now).is_err(), "still remembered");
    }

    #[test]
    fn who_finds_no_room_shares_and_is_let_in_when_there_is_some() {
        let (table, rate, now) = (Table::new(16), Rate::per_minute(2), Instant::now());
        let refused = (0..10_000).filter(|&key| table.take(key, 1, rate, now).is_err()).count();
        assert!(refused > 9_900, "newcomers share what one of them may: {refused}");
        let later = now + Duration::from_mins(2);
        assert!(table.take(99_999, 1, rate, later).is_ok(), "the others are as good as new");
        assert!(table.len() <= 16);
    }

    proptest! {
        /// Whatever order the calls come in and however small the table is, a key gets no more
        /// than its own bucket and the one of the newcomers give.
        #[test]
        fn one_key_never_gets_more_than_two_buckets_give(
            most in 1usize..40,
            calls in prop::collection::vec((0u8..60, 0u64..300), 1..400),
        ) {
            let (table, rate) = (Table::new(most), Rate::per_second(1, 3));
            let mut now = Instant::now();
            let mut passed: HashMap<u8, Vec<Instant>> = HashMap::new();
            for (key, millis) in calls {
                now += Duration::from_millis(millis);
                if table.take(key, 1, rate, now).is_ok() {
                    passed.entry(key).or_default().push(now);
                }
                prop_assert!(table.len() <= most.div_ceil(SHARDS) * SHARDS);
            }
            for times in passed.values() {
                for (at, first) in times.iter().enumerate() {
                    for (count, last) in times[at..].iter().enumerate() {
                        let seconds = last.duration_since(*first).as_secs_f64();
                        let most = 2.0 * (3.0 + seconds) + 1e-6;
                        prop_assert!((count + 1) as f64 <= most, "{} in {}", count + 1, seconds);
                    }
                }
            }
        }
    }
}
