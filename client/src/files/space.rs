//! Whether a file will fit, asked before its first byte is taken.

#[cfg(unix)]
use std::os::fd::AsFd;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use halyard_protocol::{channel::FileErrorCode, transfer::Failure};

/// The free space of one folder's disk: what is promised to files on their way, and what nobody may
/// have. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Space {
    promised: Arc<AtomicU64>,
    keep_free: u64,
}

/// More than any disk has; sums of it do not overflow.
const MOST: u64 = 1 << 50;

/// Room for a file, until dropped.
#[derive(Debug)]
pub(super) struct Promise {
    promised: Arc<AtomicU64>,
    /// Bytes that were not written yet.
    left: AtomicU64,
}

impl Space {
    /// The same disk, of which so many bytes stay free.
    pub(super) fn keeping_free(self, keep_free: u64) -> Self {
        Self { keep_free, ..self }
    }

    /// Room for `wanted` bytes on the file system of `file`.
    #[cfg(unix)]
    pub(super) fn promise(
        &self,
        file: impl AsFd,
        wanted: u64,
        name: &str,
    ) -> Result<Promise, Failure> {
        let promise = self.reserve(wanted);
        // Some network and virtual file systems tell nothing, or zero of zero; then writing tells.
        let Ok(disk) = rustix::fs::fstatvfs(file) else { return Ok(promise) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if disk.f_blocks == 0 {
            return Ok(promise);
        }
        self.fits(free, promise, wanted, name)
    }

    /// Elsewhere, writing will tell.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "other systems do refuse")]
    pub(super) fn promise<T>(&self, _: T, wanted: u64, _: &str) -> Result<Promise, Failure> {
        Ok(self.reserve(wanted))
    }

    /// Counted first and looked at then: of two that come at once at most one is refused too many.
    fn reserve(&self, wanted: u64) -> Promise {
        let wanted = wanted.min(MOST);
        self.promised.fetch_add(wanted, Ordering::Relaxed);
        Promise { promised: self.promised.clone(), left: AtomicU64::new(wanted) }
    }

    #[cfg(unix)]
    fn fits(
        &self,
        free: u64,
        promise: Promise,
        wanted: u64,
        name: &str,
    ) -> Result<Promise, Failure> {
        let promised = self.promised.load(Ordering::Relaxed);
        if wanted <= free && promised.saturating_add(self.keep_free) <= free {
            return Ok(promise);
        }
        let others = promised.saturating_sub(wanted);
        let promised = match others {
            0 => String::new(),
            others => format!(", of which {others} are promised to files on their way"),
        };
        let kept = match self.keep_free {
            0 => String::new(),
            bytes => format!(", and {bytes} are kept free"),
        };
        Err(Failure::new(
            FileErrorCode::NoSpace,
            format!(
                "cannot write {name:?}: {wanted} more bytes are needed, the disk there has {free} \
                 free{promised}{kept}; make room and send it again"
            ),
        ))
    }
}

impl Promise {
    /// So many of the bytes are on the disk now: the disk itself counts them from here on.
    pub(super) fn written(&self, bytes: u64) {
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(bytes))
        });
        let before = before.unwrap_or(0);
        self.promised.fetch_sub(before.min(bytes), Ordering::Relaxed);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.promised.fetch_sub(*self.left.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_larger_than_the_disk_is_refused_with_both_numbers() {
        let file = tempfile::tempfile().expect("a temporary file");
        let space = Space::default();
        let _small = space.promise(&file, 1, "small.bin").expect("one byte fits");
        let failure =
            space.promise(&file, u64::MAX, "huge.bin").expect_err("no disk is that large");
        assert_eq!(failure.code, FileErrorCode::NoSpace);
        assert!(failure.message.contains("18446744073709551615 more bytes"), "{failure}");
        assert!(failure.message.contains("\"huge.bin\""), "{failure}");
        assert_eq!(space.promised.load(Ordering::Relaxed), 1, "and nothing of it stays promised");
    }

    #[test]
    fn what_is_promised_to_one_is_not_free_for_another() {
        let space = Space::default().keeping_free(100);
        let promise = |wanted| {
            let promise = space.reserve(wanted);
            space.fits(1000, promise, wanted, "f")
        };
        let first = promise(600).expect("fits");
        let failure = promise(301).expect_err("900 are all there is");
        assert!(failure.message.contains("600 are promised"), "{failure}");
        assert!(failure.message.contains("100 are kept free"), "{failure}");
        let second = promise(300).expect("fits exactly");
        // Written bytes are counted by the disk, and no more here.
        first.written(250);
        assert_eq!(space.promised.load(Ordering::Relaxed), 650);
        first.written(1000);
        drop(first);
        assert_eq!(space.promised.load(Ordering::Relaxed), 300);
        drop(second);
        assert_eq!(space.promised.load(Ordering::Relaxed), 0);
    }
}
