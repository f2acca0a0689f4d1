//! The thread that owns the database: runs jobs in order and commits those that wait together.

use super::tx::{PlaneId, Tx};
use super::{OpenError, StoreError};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Jobs that may wait before senders do.
const QUEUE: usize = 4096;
/// Jobs that are committed together at most, so that no answer waits long.
const BATCH: usize = 256;

/// The kinds that a job or a batch changed, by plane.
pub(super) type Changes = BTreeSet<(PlaneId, Box<str>)>;
/// The store's version at which each kind of each plane last changed; those that did not since the start are absent.
pub(super) type Stamps = HashMap<PlaneId, HashMap<Box<str>, u64>>;

/// The end of a job, called after the commit (with the error of the commit, if there was one).
type Finish = Box<dyn FnOnce(Option<rusqlite::Error>) + Send>;
/// A job: works within the batch's transaction and answers its end.
pub(super) type Job = Box<dyn FnOnce(&Connection, &Stamps, &mut Changes) -> Finish + Send>;

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    jobs: SyncSender<Job>,
}

/// Packs a closure and where its answer goes.
pub(super) fn job<T, E>(
    work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    answer: impl FnOnce(Result<T, E>) + Send + 'static,
) -> Job
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |connection, stamps, changes| {
        let mut tx = Tx::new(connection, stamps);
        // A panic must not take the store with it; its writes are undone like those of any failed job.
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut tx)))
            .unwrap_or_else(|_| Err(StoreError::Row("a job panicked".to_owned()).into()));
        let ended = tx.end(result.is_ok(), changes);
        let result = match ended {
            Ok(()) => result,
            Err(error) => Err(StoreError::from(error).into()),
        };
        Box::new(move |failure| {
            answer(match failure {
                Some(error) => Err(StoreError::from(error).into()),
                None => result,
            });
        })
    })
}

impl Worker {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(connection: Connection, version: Arc<AtomicU64>) -> Result<Worker, OpenError> {
        let (jobs, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(&connection, &queue, &version))?;
        Ok(Worker { jobs })
    }

    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_| StoreError::Closed)
    }
}

fn run(connection: &Connection, queue: &Receiver<Job>, version: &AtomicU64) {
    let mut stamps = Stamps::new();
    while let Ok(first) = queue.recv() {
        let (mut changed, mut ends) = (Changes::new(), Vec::new());
        // A failure to begin shows in the jobs themselves: their first write fails, and so they answer.
        let begun = connection.execute_batch("BEGIN").err();
        ends.push(first(connection, &stamps, &mut changed));
        while ends.len() < BATCH
            && let Ok(next) = queue.try_recv()
        {
            ends.push(next(connection, &stamps, &mut changed));
        }
        let failure = begun.or_else(|| connection.execute_batch("COMMIT").err());
        if failure.is_some() {
            // The batch is lost as a whole; an error here means that SQLite has undone it already.
            let _ = connection.execute_batch("ROLLBACK");
        }
        // Also after a failure: a later job of the batch may have read what is gone now.
        if !changed.is_empty() {
            let new = version.load(Ordering::Relaxed) + 1;
            for (plane, kind) in changed {
                stamps.entry(plane).or_default().insert(kind, new);
            }
            version.store(new, Ordering::Release);
        }
        for end in ends {
            end(failure.as_ref().map(copy));
        }
    }
}

/// SQLite's errors cannot be cloned; what they say can.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            rusqlite::Error::SqliteFailure(*code, message.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}
