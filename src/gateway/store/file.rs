//! Opening the database: its settings, its tables, and files that cannot be used.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// `PRAGMA application_id` of the store's files: "Fdek".
const APPLICATION_ID: i64 = 0x4664_656b;
/// The file format. A step up needs a migration in [`prepare`].
const FORMAT: i64 = 1;

/// The three tables. A key may be unique over several planes, so that it says in which one its row lives (`home`). `refs` also holds tags (field `#`, the tag as target), so that whatever points at something is
/// found by one index.
const TABLES: &str = "
CREATE TABLE entities (
    seq INTEGER PRIMARY KEY,
    plane INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id BLOB NOT NULL,
    body TEXT NOT NULL,
    expires REAL,
    UNIQUE (plane, kind, id)
);
CREATE INDEX expiring ON entities (expires) WHERE expires IS NOT NULL;
CREATE TABLE unique_keys (
    plane INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    home INTEGER NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (plane, kind, name, value)
) WITHOUT ROWID;
CREATE TABLE refs (
    plane INTEGER NOT NULL,
    target BLOB NOT NULL,
    kind TEXT NOT NULL,
    field TEXT NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (plane, target, kind, field, id)
) WITHOUT ROWID;
";

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A database of another program.
    #[error("{0} is not a store of this gateway")]
    Foreign(PathBuf),
    /// A file that is no database, or a damaged one.
    #[error("{0} is damaged or not a database: {1}")]
    Corrupt(PathBuf, String),
    /// A file written by a later release.
    #[error("{path} has file format {found}; this release reads formats up to {FORMAT}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// Another process has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// It could not be opened or written.
    #[error("cannot open {0}: {1}")]
    Unusable(PathBuf, rusqlite::Error),
    /// The store's thread could not be started.
    #[error("cannot start the store's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Opens a file, or a database in memory.
pub(super) fn open(path: Option<&Path>) -> Result<Connection, OpenError> {
    let shown = path.unwrap_or(Path::new(":memory:"));
    let connection = match path {
        Some(path) => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        ),
        None => Connection::open_in_memory(),
    };
    connection.and_then(|connection| prepare(connection, path)).map_err(|error| match error {
        error if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            OpenError::InUse(shown.to_owned())
        }
        error
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
            ) =>
        {
            OpenError::Corrupt(shown.to_owned(), error.to_string())
        }
        error => OpenError::Unusable(shown.to_owned(), error),
    })?
}

fn prepare(connection: Connection, path: Option<&Path>) -> rusqlite::Result<Result<Connection, OpenError>> {
    connection.set_prepared_statement_cache_capacity(64);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    if let Some(path) = path {
        // One process at a time: the lock is taken by the first read and kept.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 && number("application_id")? != APPLICATION_ID {
            return Ok(Err(OpenError::Foreign(path.to_owned())));
        }
        let found = number("user_version")?;
        if found > FORMAT {
            return Ok(Err(OpenError::Newer { path: path.to_owned(), found }));
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is committed is in the system's hands: it survives the end of the process, however it comes. A power
        // failure may take the last moments, never the file.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let check: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        if check != "ok" {
            return Ok(Err(OpenError::Corrupt(path.to_owned(), check)));
        }
    } else {
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
    }
    if number("user_version")? == 0 {
        connection.execute_batch(&format!(
            "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}; COMMIT;"
        ))?;
    }
    Ok(Ok(connection))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.db");
        let reason = |path: &Path| open(Some(path)).unwrap_err();

        std::fs::write(
            &path,
            "this is a text file, and long enough to be read as a header, is it not? ".repeat(20),
        )
        .unwrap();
        assert!(matches!(reason(&path), OpenError::Corrupt(..)));

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
        assert!(matches!(reason(&path), OpenError::Foreign(_)));

        std::fs::remove_file(&path).unwrap();
        open(Some(&path)).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
        assert!(matches!(reason(&path), OpenError::Newer { found, .. } if found == FORMAT + 1));

        std::fs::remove_file(&path).unwrap();
        let _first = open(Some(&path)).unwrap();
        assert!(matches!(reason(&path), OpenError::InUse(_)));
    }

    #[test]
    fn a_torn_page_is_found_when_the_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.db");
        open(Some(&path)).unwrap().close().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(Some(&path)).unwrap_err(), OpenError::Corrupt(..)));
    }
}
