//! Files that commands write; most of them only their owner may read: dumps, saved plans, journals, records.

use super::exit::Failure;
use crate::diagnostics::codes;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A private file being written under another name, so that a reader sees all of it or what was there before.
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Begins a file; what `path` holds stays until [`Draft::finish`].
    pub fn new(path: &Path) -> io::Result<Draft> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut temporary = name.to_os_string();
        temporary.push(".part");
        let temporary = path.with_file_name(temporary);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Draft { file: options.open(&temporary)?, temporary, path: path.to_owned() })
    }

    /// Waits until the disk has the file, and puts it in its place.
    pub fn settle(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.finish().map(drop)
    }

    /// Puts the file in its place, and gives it back for more.
    pub fn finish(self) -> io::Result<File> {
        std::fs::rename(&self.temporary, &self.path)?;
        Ok(self.file)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole private file and waits until the disk has it.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let all = || {
        let mut draft = Draft::new(path)?;
        draft.write_all(bytes)?;
        draft.settle()
    };
    all().map_err(|error| unwritable(path, &error))
}

/// Adds text to the end of a file.
pub fn append(path: &Path, text: &str) -> Result<(), Failure> {
    let all = || OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes());
    all().map_err(|error| unwritable(path, &error))
}

/// Why a file could not be written, as users see it.
pub fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(codes::UNREADABLE, format!("cannot write {}: {error}", path.display()))
}
