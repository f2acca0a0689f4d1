//! Running a plan against a control plane: order, concurrency, the journal, going back, events.
//!
//! What does not live here: what to change (`plan`), requests (`control_plane`), and showing progress (`cli`,
//! `report`), which listen to [`Event`]s and read the [`Outcome`].

mod journal;
mod recheck;
mod run;
mod undo;

#[cfg(test)]
mod tests;

pub use journal::{Command, Journal, Part, Writer};
pub use run::{Options, run};

use crate::control_plane::Error;
use crate::plan::Plan;

/// What became of one change of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The control plane has it.
    Done,
    /// The control plane refused it, or could not be asked.
    Failed(Error),
    /// It was not sent.
    NotTried(Reason),
    /// It was done and then undone again.
    RolledBack,
}

/// Why a change was not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It depends on this change of the plan (an index), which failed or was not tried either.
    DependsOn(usize),
    /// The run was interrupted before its turn.
    Interrupted,
    /// The run was stopped by another failure before its turn.
    Stopped,
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One status for each change of the plan, in the plan's order.
    pub statuses: Vec<Status>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// What could not be undone by a roll-back, as (index of the change, why).
    pub left_behind: Vec<(usize, Error)>,
}

impl Outcome {
    /// What becomes of a plan that is not run at all.
    pub fn untouched(plan: &Plan) -> Self {
        let statuses = plan.changes.iter().map(|_| Status::NotTried(Reason::Stopped)).collect();
        Outcome { statuses, ..Outcome::default() }
    }

    /// What becomes of a plan whose result is loaded as a whole: all of it, or nothing.
    pub fn at_once(plan: &Plan, loaded: Result<(), Error>) -> Self {
        let Err(error) = loaded else {
            return Outcome { statuses: vec![Status::Done; plan.changes.len()], ..Outcome::default() };
        };
        let mut outcome = Outcome::untouched(plan);
        if let Some(first) = outcome.statuses.first_mut() {
            *first = Status::Failed(error);
        }
        outcome
    }

    /// How many changes the control plane has now.
    pub fn done(&self) -> usize {
        self.statuses.iter().filter(|status| matches!(status, Status::Done)).count()
    }

    /// Whether everything was done.
    pub fn complete(&self) -> bool {
        self.statuses.iter().all(|status| matches!(status, Status::Done)) && self.left_behind.is_empty()
    }

    /// Whether the control plane is not as it was before the run.
    pub fn changed(&self) -> bool {
        self.done() > 0 || !self.left_behind.is_empty()
    }
}

/// What happens while a plan is applied. `change` is the index of the change in the plan.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The request is about to be sent.
    Started {
        /// Which change.
        change: usize,
    },
    /// The change has its final status (short of a roll-back).
    Finished {
        /// Which change.
        change: usize,
        /// What became of it.
        status: &'a Status,
    },
    /// The change was undone.
    Undone {
        /// Which change.
        change: usize,
    },
}
