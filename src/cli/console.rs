//! The terminal: the only place that writes to standard output and standard error.

use super::exit::Failure;
use crate::diagnostics::{Diagnostic, Format, SourceMap, codes, render};
use anstream::{AutoStream, ColorChoice};
use std::io::{self, IsTerminal, Write};

/// Standard output and standard error of one run.
///
/// A reader that goes away (`foredeck ... | head`) is not an error: what it did not read is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    color: ColorChoice,
    verbose: u8,
}

impl Console {
    /// A console. Without `no_color` colours are used where the stream is a terminal and `NO_COLOR` is not set.
    pub fn new(no_color: bool, verbose: u8) -> Self {
        Console { color: if no_color { ColorChoice::Never } else { ColorChoice::Auto }, verbose }
    }

    /// How much of what happens is told on standard error: 0 nothing, 1 requests, 2 also their bodies.
    pub fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Writes text as it is to standard output. Styles are removed where colours are off.
    pub fn out(&self, text: &str) {
        let mut stream = AutoStream::new(io::stdout(), self.color).lock();
        let _gone = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    }

    /// Writes text as it is to standard error. Styles are removed where colours are off.
    pub fn err(&self, text: &str) {
        let mut stream = AutoStream::new(io::stderr(), self.color).lock();
        let _gone = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    }

    /// Writes bytes to standard output untouched, for what other programs read. Fails when they cannot be written,
    /// on a full disk for instance.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream(|out| out.write_all(bytes)).map(drop)
    }

    /// Lets `write` write to standard output what other programs read. `None` when the reader went away.
    pub fn stream<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Result<Option<T>, Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        match write(&mut out).and_then(|made| out.flush().map(|()| made)) {
            Ok(made) => Ok(Some(made)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(error) => {
                Err(Failure::new(codes::UNREADABLE, format!("cannot write standard output: {error}")))
            }
        }
    }

    /// Whether standard output shows colours.
    pub fn out_has_color(&self) -> bool {
        AutoStream::new(io::stdout(), self.color).current_choice() != ColorChoice::Never
    }

    /// Whether standard error shows colours.
    pub fn err_has_color(&self) -> bool {
        AutoStream::new(io::stderr(), self.color).current_choice() != ColorChoice::Never
    }

    /// Whether standard error is a terminal, so that a progress bar makes sense.
    pub fn err_is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Whether standard input is a terminal, so that questions can be asked.
    pub fn in_is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Shows problems on standard error, with the lines that they point to.
    pub fn problems(&self, problems: &[Diagnostic], sources: &SourceMap) {
        self.err(&render(problems, sources, Format::Text, self.err_has_color()));
    }
}
