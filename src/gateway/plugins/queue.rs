//! Log entries on their way out: collected, sent in batches, tried again for a while.

use super::Instance;
use async_trait::async_trait;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Where batches go.
#[async_trait]
pub trait Sink<T = String>: Send + Sync + 'static {
    /// Sends a batch.
    ///
    /// # Errors
    /// Why it did not arrive; it is sent again.
    async fn send(&self, entries: &[T]) -> Result<(), String>;
}

/// Entries that wait. Those beyond its capacity are dropped: logging never holds up requests.
pub struct Queue<T = String> {
    sink: Arc<dyn Sink<T>>,
    limits: Limits,
    /// Made at the first entry, when there is a runtime to send from.
    sender: OnceLock<mpsc::Sender<T>>,
}

#[derive(Clone, Copy)]
struct Limits {
    batch: usize,
    delay: Duration,
    capacity: usize,
    retry_for: Duration,
    first_retry: Duration,
    longest_retry: Duration,
}

impl<T: Send + Sync + 'static> Queue<T> {
    /// A queue with the limits of the `queue` record of a configuration; without one, entries go out at once.
    pub fn new(instance: &Instance<'_>, sink: impl Sink<T>) -> Self {
        let count = |field: &str, usual: usize| {
            instance.integer(field).and_then(|count| usize::try_from(count).ok()).unwrap_or(usual).max(1)
        };
        let time = |field: &str, usual: f64| {
            Duration::try_from_secs_f64(instance.number(field).unwrap_or(usual)).unwrap_or_default()
        };
        let limits = Limits {
            batch: count("queue.max_batch_size", 1),
            delay: time("queue.max_coalescing_delay", 1.0),
            capacity: count("queue.max_entries", 10_000).min(1_000_000),
            retry_for: time("queue.max_retry_time", 60.0),
            first_retry: time("queue.initial_retry_delay", 0.01),
            longest_retry: time("queue.max_retry_delay", 60.0),
        };
        Queue { sink: Arc::new(sink), limits, sender: OnceLock::new() }
    }

    /// Adds an entry. Must be called inside a runtime.
    pub fn push(&self, entry: T) {
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(self.limits.capacity);
            tokio::spawn(ship(receiver, Arc::clone(&self.sink), self.limits));
            sender
        });
        let _ = sender.try_send(entry);
    }
}

async fn ship<T: Send + Sync + 'static>(
    mut entries: mpsc::Receiver<T>,
    sink: Arc<dyn Sink<T>>,
    limits: Limits,
) {
    let mut batch = Vec::new();
    while let Some(first) = entries.recv().await {
        batch.push(first);
        let full = tokio::time::sleep(limits.delay);
        tokio::pin!(full);
        while batch.len() < limits.batch {
            tokio::select! {
                next = entries.recv() => match next {
                    Some(next) => batch.push(next),
                    None => break,
                },
                () = &mut full => break,
            }
        }
        let (started, mut pause) = (Instant::now(), limits.first_retry);
        while sink.send(&batch).await.is_err() && started.elapsed() + pause < limits.retry_for {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits.longest_retry);
        }
        batch.clear();
    }
}
