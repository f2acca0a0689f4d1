//! Where the gateway keeps its entities: one SQLite database, one thread that owns it, three generic tables.
//!
//! Everything is done by closures over a [`Tx`] that the store's thread runs one after the other; the writes of those
//! that wait are committed together before any of them is answered. What does not live here: what an entity means,
//! its checks and defaults (`entities`), and who may ask (`admin`, `konnect`).

mod file;
#[cfg(test)]
mod tests;
mod tx;
mod worker;

pub use file::OpenError;
pub use tx::{Conflict, Entry, Key, PlaneId, Pointer, Row, Tagged, Tx};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;
use tokio::sync::oneshot;
use worker::Worker;

/// Why the store could not answer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// SQLite refused: a full disk, a broken file.
    #[error("the store failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A row is not what this program writes.
    #[error("the store holds a row that cannot be read: {0}")]
    Row(String),
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

/// A handle to the store; clones share it. The thread ends when the last one goes.
#[derive(Clone, Debug)]
pub struct Store {
    worker: Arc<Worker>,
    version: Arc<AtomicU64>,
}

impl Store {
    /// Opens the store in a file, or in memory.
    pub fn open(path: Option<&Path>) -> Result<Store, OpenError> {
        let connection = file::open(path)?;
        let version = Arc::new(AtomicU64::new(1));
        let worker = Worker::start(connection, Arc::clone(&version))?;
        Ok(Store { worker: Arc::new(worker), version })
    }

    /// Runs a closure on the store's thread. What it writes is kept when it answers `Ok` and undone when it answers
    /// `Err`; it is committed before this answers.
    pub async fn run<T, E>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.worker.send(worker::job(job, move |result| {
            // Nobody may be waiting any more: the client has gone.
            let _ = answer.send(result);
        }))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// The same as [`Store::run`] for callers outside an async context; blocks the thread that calls.
    pub fn run_blocking<T, E>(
        &self,
        job: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.worker.send(worker::job(job, move |result| {
            let _ = answer.send(result);
        }))?;
        answered.recv().unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Grows with every commit that changed something.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
