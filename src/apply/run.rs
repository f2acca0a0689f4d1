//! The scheduler: changes start as soon as what they depend on is done, a bounded number at a time.

use super::recheck::{self, Need, Recheck};
use super::{Event, Outcome, Reason, Status};
use crate::control_plane::{ControlPlane, Error, Page, Write, WriteAction};
use crate::plan::{Change, Plan};
use crate::schema::{Kind, Schemas};
use crate::value::Value;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How to run a plan.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many changes may be under way at once.
    pub parallelism: usize,
    /// After a failure undo what was done.
    pub rollback_on_error: bool,
    /// Read an entity again before it is updated or deleted, and stop when somebody else changed it since the plan.
    pub verify: bool,
    /// How long to wait after each change that others depend on, for clusters whose nodes read replicas.
    pub propagation_delay: std::time::Duration,
    /// Cancelled once: nothing new is started, what is under way is finished.
    pub stop: CancellationToken,
    /// Cancelled: what is under way is given up too.
    pub abort: CancellationToken,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            parallelism: 10,
            rollback_on_error: false,
            verify: true,
            propagation_delay: std::time::Duration::ZERO,
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }
}

/// The state of a run: what waits for what, and what became of each change.
struct Schedule<'a> {
    plan: &'a Plan,
    statuses: Vec<Option<Status>>,
    /// How many changes each one still waits for.
    waits_for: Vec<usize>,
    /// Who waits for each one.
    dependents: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    /// Of the ready ones, those that were just found to be as the plan saw them: their turn is first.
    fresh: BTreeSet<usize>,
    /// Done changes in the order in which they ended.
    done: Vec<usize>,
}

impl<'a> Schedule<'a> {
    fn new(plan: &'a Plan) -> Self {
        let count = plan.changes.len();
        let mut schedule = Schedule {
            plan,
            statuses: vec![None; count],
            waits_for: vec![0; count],
            dependents: vec![Vec::new(); count],
            ready: BTreeSet::new(),
            fresh: BTreeSet::new(),
            done: Vec::new(),
        };
        for (index, change) in plan.changes.iter().enumerate() {
            let before: BTreeSet<usize> = change
                .depends_on
                .iter()
                .copied()
                .chain(change.cascades_from)
                .filter(|on| *on < count)
                .collect();
            if let Some(waits) = schedule.waits_for.get_mut(index) {
                *waits = before.len();
            }
            if before.is_empty() {
                schedule.ready.insert(index);
            }
            for on in before {
                if let Some(dependents) = schedule.dependents.get_mut(on) {
                    dependents.push(index);
                }
            }
        }
        schedule
    }

    fn change(&self, index: usize) -> Option<&'a Change> {
        self.plan.changes.get(index)
    }

    /// The change whose turn it is.
    fn next(&self) -> Option<usize> {
        self.fresh.first().or_else(|| self.ready.first()).copied()
    }

    /// Its turn is over.
    fn started(&mut self, index: usize) {
        self.fresh.remove(&index);
        self.ready.remove(&index);
    }

    /// Keeps a final status, frees or stops what waited for it, and tells the listener.
    fn settle(&mut self, index: usize, status: Status, events: &mut (dyn FnMut(Event<'_>) + Send)) {
        let mut ended = vec![(index, status)];
        while let Some((index, status)) = ended.pop() {
            let Some(slot) = self.statuses.get_mut(index) else { continue };
            if slot.is_some() {
                continue;
            }
            events(Event::Finished { change: index, status: &status });
            let done = status == Status::Done;
            *slot = Some(status);
            self.started(index);
            if done {
                self.done.push(index);
            }
            for &next in self.dependents.get(index).into_iter().flatten() {
                if !done {
                    ended.push((next, Status::NotTried(Reason::DependsOn(index))));
                } else if let Some(waits) = self.waits_for.get_mut(next) {
                    *waits = waits.saturating_sub(1);
                    if *waits == 0 {
                        self.ready.insert(next);
                    }
                }
            }
        }
    }
}

/// Runs a plan. Every change gets a status; `events` hears of each as it happens.
pub async fn run(
    plan: &Plan,
    schemas: &Schemas,
    plane: &dyn ControlPlane,
    options: &Options,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) -> Outcome {
    let mut schedule = Schedule::new(plan);
    let mut recheck = Recheck::new(plan);
    let mut running: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
    let (mut stopped, mut reading) = (false, false);
    loop {
        stopped |= options.stop.is_cancelled() || options.abort.is_cancelled();
        while !stopped
            && !reading
            && running.len() < options.parallelism.max(1)
            && let Some(index) = schedule.next()
        {
            let Some(change) = schedule.change(index) else { break };
            let need = match options.verify && change.cascades_from.is_none() {
                true => recheck.need(index, &schedule.ready, plane),
                false => Need::Nothing,
            };
            if let Need::Page(kind, next) = need {
                reading = true;
                running.push(Box::pin(async move {
                    let page = recheck::read_page(&kind, next.as_deref(), plane).await;
                    Ended::Page(kind, page)
                }));
                break;
            }
            schedule.started(index);
            events(Event::Started { change: index });
            if change.cascades_from.is_some() {
                // The gateway did it with the parent.
                schedule.settle(index, Status::Done, events);
            } else {
                running.push(carry_out(index, change, schemas, plane, options, need));
            }
        }
        let ended = tokio::select! {
            biased;
            ended = running.next() => ended,
            () = options.abort.cancelled() => None,
            () = stop_signal(&options.stop, stopped) => continue,
        };
        let (index, result) = match ended {
            None => break,
            Some(Ended::Page(kind, page)) => {
                reading = false;
                schedule.fresh = recheck.page_came(&kind, page, &schedule.ready);
                continue;
            }
            Some(Ended::Change(index, result)) => (index, result),
        };
        let (status, stop) = match result {
            Ok(()) => (Status::Done, false),
            // Somebody else is at work: the rest of the plan is no longer a promise.
            Err(error) => {
                let stop = options.rollback_on_error || matches!(error, Error::Changed { .. });
                (Status::Failed(error), stop)
            }
        };
        schedule.settle(index, status, events);
        stopped |= stop;
    }
    drop(running);
    let interrupted = options.stop.is_cancelled() || options.abort.is_cancelled();
    let failed = schedule.statuses.iter().any(|status| matches!(status, Some(Status::Failed(_))));
    for index in 0..plan.changes.len() {
        if schedule.statuses.get(index).is_some_and(Option::is_none) {
            let reason = if interrupted { Reason::Interrupted } else { Reason::Stopped };
            schedule.settle(index, Status::NotTried(reason), events);
        }
    }
    let done = std::mem::take(&mut schedule.done);
    let statuses =
        schedule.statuses.into_iter().map(|status| status.unwrap_or(Status::NotTried(Reason::Stopped)));
    let mut outcome = Outcome { statuses: statuses.collect(), interrupted, left_behind: Vec::new() };
    if failed && options.rollback_on_error && !options.abort.is_cancelled() {
        roll_back(plan, schemas, plane, &done, &mut outcome, events).await;
    }
    outcome
}

/// Ends when the run is to stop; never when it is known already.
async fn stop_signal(stop: &CancellationToken, known: bool) {
    if known {
        pending::<()>().await;
    }
    stop.cancelled().await;
}

/// What came to its end.
enum Ended {
    Change(usize, Result<(), Error>),
    Page(Arc<Kind>, Result<Page, Error>),
}

fn carry_out<'a>(
    index: usize,
    change: &'a Change,
    schemas: &'a Schemas,
    plane: &'a dyn ControlPlane,
    options: &'a Options,
    need: Need,
) -> BoxFuture<'a, Ended> {
    Box::pin(async move {
        let result = async {
            match need {
                Need::Changed(error) => return Err(error),
                Need::Entity => recheck::read_entity(change, plane).await?,
                Need::Nothing | Need::Page(..) => {}
            }
            write(change, schemas, plane).await?;
            if !options.propagation_delay.is_zero() {
                tokio::time::sleep(options.propagation_delay).await;
            }
            Ok(())
        };
        Ended::Change(index, result.await)
    })
}

/// Sends one change.
async fn write(change: &Change, schemas: &Schemas, plane: &dyn ControlPlane) -> Result<(), Error> {
    let after = change.request(schemas);
    put(change, after.as_ref(), change.before.as_ref(), false, plane).await
}

/// Sends the change that undoes one.
async fn undo(change: &Change, schemas: &Schemas, plane: &dyn ControlPlane) -> Result<(), Error> {
    let hashed = holds_hash(change);
    if hashed && !schemas.flavor().is_enterprise() {
        let reason = "the gateway gave only the hash of its password and would hash that again";
        return Err(Error::Settings(reason.to_owned()));
    }
    let before = change.undo_request(schemas);
    put(change, before.as_ref(), change.after.as_ref(), hashed, plane).await
}

/// Whether a change takes away a password of which the gateway gave the hash only. One that stays was compared with the
/// hash and stands in both bodies as it is written.
fn holds_hash(change: &Change) -> bool {
    let value = |body: &Option<Value>, name: &str| body.as_ref()?.get(name).filter(|v| !v.is_null()).cloned();
    let mut salted = change.kind.record.fields.iter().filter(|field| field.salted_by.is_some());
    salted.any(|field| {
        let before = value(&change.before, &field.name);
        before.is_some() && before != value(&change.after, &field.name)
    })
}

/// Puts an entity, or deletes it when it is not to be there.
async fn put(
    change: &Change,
    wanted: Option<&Value>,
    held: Option<&Value>,
    hashed: bool,
    plane: &dyn ControlPlane,
) -> Result<(), Error> {
    let action = match (wanted, held) {
        (None, _) => WriteAction::Delete,
        (_, None) => WriteAction::Create,
        _ => WriteAction::Replace,
    };
    let body = wanted.or(held).unwrap_or(&Value::Null);
    plane.write(&Write { kind: &change.kind, id: change.id, body, action, hashed }).await
}

/// Undoes what was done, the last first; what the gateway deleted with a parent comes back after the parent.
async fn roll_back(
    plan: &Plan,
    schemas: &Schemas,
    plane: &dyn ControlPlane,
    done: &[usize],
    outcome: &mut Outcome,
    events: &mut (dyn FnMut(Event<'_>) + Send),
) {
    let mut order: Vec<usize> = done.iter().rev().copied().collect();
    // A cascaded deletion ended right after its parent's; in reverse it would come before it.
    order.sort_by_key(|index| depth(plan, *index));
    let (roots, cascaded): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|index| depth(plan, *index) == 0);
    for index in roots.into_iter().chain(cascaded) {
        let Some(change) = plan.changes.get(index) else { continue };
        match undo(change, schemas, plane).await {
            Ok(()) => {
                if let Some(status) = outcome.statuses.get_mut(index) {
                    *status = Status::RolledBack;
                }
                events(Event::Undone { change: index });
            }
            Err(error) => outcome.left_behind.push((index, error)),
        }
    }
}

/// How many deletions a cascaded deletion follows from.
fn depth(plan: &Plan, index: usize) -> usize {
    let mut depth = 0;
    let mut at = plan.changes.get(index).and_then(|change| change.cascades_from);
    while let Some(parent) = at
        && depth <= plan.changes.len()
    {
        depth += 1;
        at = plan.changes.get(parent).and_then(|change| change.cascades_from);
    }
    depth
}
