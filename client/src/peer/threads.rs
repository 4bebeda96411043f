//! The threads that peers live on.
//!
//! A connection's driver, its lanes and its tracks do best together on one single-threaded
//! runtime: nothing migrates, and a wake-up is a queue push instead of a system call. So peers are
//! spread over a handful of such threads and stay where they were put.

use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

/// A handful of single-threaded runtimes. Cheap to clone; the threads end after the last clone and
/// the last peer on them are gone, or by [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct PeerThreads {
    inner: Arc<Inner>,
}

struct Inner {
    threads: Vec<Thread>,
    next: AtomicUsize,
}

struct Thread {
    handle: Handle,
    /// Dropped or used to end the thread.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    join: Mutex<Option<thread::JoinHandle<()>>>,
}

impl PeerThreads {
    /// Starts this many threads. More than half of the cores is of no use: the other half feeds
    /// them.
    ///
    /// # Errors
    /// The system refused a thread or what a runtime needs.
    pub fn new(count: NonZeroUsize) -> io::Result<Self> {
        let threads = (0..count.get()).map(Thread::start).collect::<io::Result<_>>()?;
        Ok(Self { inner: Arc::new(Inner { threads, next: AtomicUsize::new(0) }) })
    }

    /// Half of the cores, at least one and at most four.
    pub fn for_this_machine() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        Self::new(NonZeroUsize::new((cores / 2).clamp(1, 4)).unwrap_or(NonZeroUsize::MIN))
    }

    /// The thread that the next peer lives on.
    pub(super) fn next(&self) -> Handle {
        let turn = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.threads[turn % self.inner.threads.len()].handle.clone()
    }

    /// How many tasks the peers on these threads run right now.
    pub fn running_tasks(&self) -> usize {
        self.inner.threads.iter().map(|thread| thread.handle.metrics().num_alive_tasks()).sum()
    }

    /// Ends the threads, and with them what still runs on them, and waits for that. Close the
    /// peers first: one that is cut off here says no goodbye.
    pub async fn shutdown(self) {
        let inner = Arc::clone(&self.inner);
        drop(self);
        for thread in &inner.threads {
            thread.stop();
        }
        let joined = tokio::task::spawn_blocking(move || {
            for thread in &inner.threads {
                let join = lock(&thread.join).take();
                if let Some(Err(panic)) = join.map(thread::JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        if let Err(error) = joined.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let join =
            thread::Builder::new().name(format!("halyard-peer-{number}")).spawn(move || {
                // Used or dropped, both mean the same.
                let _ = runtime.block_on(stopped);
                // A blocking name look-up may still run; nobody waits for its answer.
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Self { handle, stop: Mutex::new(Some(stop)), join: Mutex::new(Some(join)) })
    }

    fn stop(&self) {
        if let Some(stop) = lock(&self.stop).take() {
            let _ = stop.send(());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for PeerThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerThreads({})", self.inner.threads.len())
    }
}
