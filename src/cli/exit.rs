//! How commands end: the exit codes, and the failures that lead to them.

use crate::apply;
use crate::diagnostics::{Code, Diagnostic, SourceMap};
use std::process::ExitCode;

/// How a run ended. The one place in which outcomes become exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for is done.
    Success,
    /// An error; nothing was changed.
    Failure,
    /// There are differences, and `--non-zero-exit-code` asks to hear of them.
    Differences,
    /// An error after some changes were made.
    Partial,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Differences => 2,
            Exit::Partial => 3,
        }
    }
}

impl Exit {
    /// How a run ended that may have stopped halfway: whether everything is done, and whether anything was changed.
    pub fn of(complete: bool, changed: bool) -> Self {
        match (complete, changed) {
            (true, _) => Exit::Success,
            (false, false) => Exit::Failure,
            (false, true) => Exit::Partial,
        }
    }
}

impl From<&apply::Outcome> for Exit {
    fn from(outcome: &apply::Outcome) -> Exit {
        Exit::of(outcome.complete(), outcome.changed())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// What a command returns.
pub type Outcome = Result<Exit, Failure>;

/// Why a command stopped: problems to show on standard error, and the exit code.
pub struct Failure {
    /// The problems, in the order in which they are shown.
    pub problems: Vec<Diagnostic>,
    /// The texts that the problems point into.
    pub sources: SourceMap,
    /// [`Exit::Failure`] unless something was changed already.
    pub exit: Exit,
}

impl Failure {
    /// A failure without a place in a source.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::error(code, message).into()
    }

    /// Problems found in sources.
    pub fn found(problems: Vec<Diagnostic>, sources: SourceMap) -> Self {
        Failure { problems, sources, exit: Exit::Failure }
    }

    /// With one more line of help on the last problem.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.help.push(help.into());
        }
        self
    }
}

impl From<Diagnostic> for Failure {
    fn from(problem: Diagnostic) -> Self {
        Failure::found(vec![problem], SourceMap::default())
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(problems: Vec<Diagnostic>) -> Self {
        Failure::found(problems, SourceMap::default())
    }
}
