//! Log entries on their way out: collected, sent in batches, tried again for a while.

use super::Instance;
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::proxy::Report;
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
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
    shipping: Arc<Shipping<T>>,
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
    /// Every entry is sent at once, by itself.
    unlimited: bool,
}

/// A field before there were queues, what it is unless somebody sets it, and what it stands for.
const OLD: [(&str, f64, &str); 4] = [
    ("queue_size", 1.0, "queue.max_batch_size"),
    ("batch_span_count", 200.0, "queue.max_batch_size"),
    ("flush_timeout", 2.0, "queue.max_coalescing_delay"),
    ("batch_flush_delay", 3.0, "queue.max_coalescing_delay"),
];

/// A number of the `queue` record, or of the older field that overrules it.
fn setting(instance: &Instance<'_>, field: &str) -> Option<f64> {
    let mut old = OLD.iter().filter(|(_, _, now)| *now == field);
    old.find_map(|(name, usual, _)| instance.number(name).filter(|number| number != usual))
        .or_else(|| instance.number(field))
}

/// How many entries are sent at once at most.
pub fn batch_size(instance: &Instance<'_>) -> usize {
    setting(instance, "queue.max_batch_size").map_or(1, |size| size.max(1.0) as usize)
}

impl<T: Send + Sync + 'static> Queue<T> {
    /// A queue with the limits of the `queue` record of a configuration; without one, entries go out at once, and are
    /// not sent again.
    pub fn new(instance: &Instance<'_>, sink: impl Sink<T>) -> Self {
        let time = |field: &str, usual: f64| {
            Duration::try_from_secs_f64(setting(instance, field).unwrap_or(usual)).unwrap_or_default()
        };
        let capacity = setting(instance, "queue.max_entries").unwrap_or(10_000.0);
        let limits = Limits {
            batch: batch_size(instance),
            delay: time("queue.max_coalescing_delay", 1.0),
            capacity: capacity.clamp(1.0, 1e6) as usize,
            retry_for: match instance.get("queue") {
                Some(_) => time("queue.max_retry_time", 60.0),
                None => Duration::ZERO,
            },
            first_retry: time("queue.initial_retry_delay", 0.01),
            longest_retry: time("queue.max_retry_delay", 60.0),
            unlimited: instance.integer("queue.concurrency_limit") == Some(-1),
        };
        let plugin = instance.row.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        let teller =
            Teller { report: instance.environment.report.clone(), plugin, losing: AtomicBool::new(false) };
        Queue {
            shipping: Arc::new(Shipping { sink: Box::new(sink), limits, teller }),
            sender: OnceLock::new(),
        }
    }

    /// Adds an entry. Must be called inside a runtime.
    pub fn push(&self, entry: T) {
        if self.shipping.limits.unlimited {
            let shipping = Arc::clone(&self.shipping);
            tokio::spawn(async move { shipping.deliver(&[entry]).await });
            return;
        }
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(self.shipping.limits.capacity);
            let shipping = Arc::clone(&self.shipping);
            tokio::spawn(async move { shipping.ship(receiver).await });
            sender
        });
        let _ = sender.try_send(entry);
    }
}

/// Tells the operator of entries that were lost: once, until some arrive again.
struct Teller {
    report: Report,
    plugin: String,
    losing: AtomicBool,
}

impl Teller {
    fn tell(&self, lost: Option<(usize, String)>) {
        let already = self.losing.swap(lost.is_some(), Ordering::Relaxed);
        if let Some((count, reason)) = lost.filter(|_| !already) {
            let message = format!("{}: {count} entries did not arrive: {reason}", self.plugin);
            self.report.tell(&Diagnostic::error(codes::REFUSED_REQUEST, message));
        }
    }
}

/// How entries are sent.
struct Shipping<T> {
    sink: Box<dyn Sink<T>>,
    limits: Limits,
    teller: Teller,
}

impl<T: Send + Sync + 'static> Shipping<T> {
    async fn ship(&self, mut entries: mpsc::Receiver<T>) {
        let mut batch = Vec::new();
        while let Some(first) = entries.recv().await {
            batch.push(first);
            let full = tokio::time::sleep(self.limits.delay);
            tokio::pin!(full);
            while batch.len() < self.limits.batch {
                tokio::select! {
                    next = entries.recv() => match next {
                        Some(next) => batch.push(next),
                        None => break,
                    },
                    () = &mut full => break,
                }
            }
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    async fn deliver(&self, batch: &[T]) {
        let Limits { first_retry, longest_retry, retry_for, .. } = self.limits;
        let (started, mut pause) = (Instant::now(), first_retry);
        let lost = loop {
            match self.sink.send(batch).await {
                Ok(()) => break None,
                Err(reason) if started.elapsed() + pause >= retry_for => break Some((batch.len(), reason)),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(longest_retry);
        };
        self.teller.tell(lost);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Refuses so many batches, then takes all.
    struct Refusing(Mutex<usize>, Mutex<Vec<String>>);

    #[async_trait]
    impl Sink for Arc<Refusing> {
        async fn send(&self, entries: &[String]) -> Result<(), String> {
            let mut left = self.0.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err("no".to_owned());
            }
            self.1.lock().unwrap().push(entries.join(","));
            Ok(())
        }
    }

    /// What arrives of three entries, and what the operator is told.
    async fn shipped(refusals: usize, retry_for: Duration) -> (Vec<String>, Vec<String>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let report = {
            let told = Arc::clone(&told);
            Report::new(move |problem| told.lock().unwrap().push(problem.message.clone()))
        };
        let sink = Arc::new(Refusing(Mutex::new(refusals), Mutex::default()));
        let first_retry = Duration::from_millis(1);
        let limits = Limits {
            batch: 1,
            delay: Duration::ZERO,
            capacity: 9,
            retry_for,
            first_retry,
            longest_retry: first_retry,
            unlimited: false,
        };
        let (sender, receiver) = mpsc::channel(9);
        ["a", "b", "c"].iter().for_each(|entry| sender.try_send((*entry).to_owned()).unwrap());
        drop(sender);
        let teller = Teller { report, plugin: "http-log".to_owned(), losing: AtomicBool::new(false) };
        Shipping { sink: Box::new(Arc::clone(&sink)), limits, teller }.ship(receiver).await;
        let arrived = sink.1.lock().unwrap().clone();
        let told = told.lock().unwrap().clone();
        (arrived, told)
    }

    #[tokio::test]
    async fn entries_are_sent_again_and_their_loss_is_told_once() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(shipped(2, Duration::from_secs(60)).await, (texts(&["a", "b", "c"]), Vec::new()));
        let lost = texts(&["http-log: 1 entries did not arrive: no"]);
        assert_eq!(shipped(2, Duration::ZERO).await, (texts(&["c"]), lost));
    }
}
