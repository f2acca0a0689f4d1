//! Log entries on their way out: collected, sent in batches, tried again for a while.

use super::Instance;
use crate::diagnostics::{Diagnostic, codes};
use crate::gateway::proxy::Report;
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
    teller: Teller,
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
    /// A queue with the limits of the `queue` record of a configuration; without one, entries go out at once, and are
    /// not sent again.
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
            retry_for: match instance.get("queue") {
                Some(_) => time("queue.max_retry_time", 60.0),
                None => Duration::ZERO,
            },
            first_retry: time("queue.initial_retry_delay", 0.01),
            longest_retry: time("queue.max_retry_delay", 60.0),
        };
        let plugin = instance.row.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned();
        let teller = Teller { report: instance.environment.report.clone(), plugin };
        Queue { sink: Arc::new(sink), limits, teller, sender: OnceLock::new() }
    }

    /// Adds an entry. Must be called inside a runtime.
    pub fn push(&self, entry: T) {
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(self.limits.capacity);
            tokio::spawn(ship(receiver, Arc::clone(&self.sink), self.limits, self.teller.clone()));
            sender
        });
        let _ = sender.try_send(entry);
    }
}

/// Tells the operator of entries that were lost: once, until some arrive again.
#[derive(Clone)]
struct Teller {
    report: Report,
    plugin: String,
}

impl Teller {
    fn tell(&self, lost: usize, reason: &str) {
        let message = format!("{}: {lost} entries did not arrive: {reason}", self.plugin);
        self.report.tell(&Diagnostic::error(codes::REFUSED_REQUEST, message));
    }
}

async fn ship<T: Send + Sync + 'static>(
    mut entries: mpsc::Receiver<T>,
    sink: Arc<dyn Sink<T>>,
    limits: Limits,
    teller: Teller,
) {
    let mut losing = false;
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
        let lost = loop {
            match sink.send(&batch).await {
                Ok(()) => break None,
                Err(reason) if started.elapsed() + pause >= limits.retry_for => break Some(reason),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(limits.longest_retry);
        };
        if let Some(reason) = lost.as_deref().filter(|_| !losing) {
            teller.tell(batch.len(), reason);
        }
        losing = lost.is_some();
        batch.clear();
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
        };
        let (sender, receiver) = mpsc::channel(9);
        ["a", "b", "c"].iter().for_each(|entry| sender.try_send((*entry).to_owned()).unwrap());
        drop(sender);
        let teller = Teller { report, plugin: "http-log".to_owned() };
        ship(receiver, Arc::new(Arc::clone(&sink)), limits, teller).await;
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
