//! Noticing that somebody else changed an entity since the plan saw it: its `updated_at` is read again right before it
//! is written.
//!
//! One entity is asked for by its id. Where many changes of one kind are due, a short page of the kind's list answers
//! for all that stand on it; those are written before the next page is read, so that what was read is never old.

use crate::control_plane::{ControlPlane, Error, List, Page};
use crate::plan::{Action, Change, Plan};
use crate::schema::Kind;
use crate::value::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// The field that a gateway sets at every write.
const STAMP: &str = "updated_at";
/// How many changes of one kind must be next for a page to be read in place of single entities.
const MANY: usize = 50;
/// How many entities a page holds: few enough that the last is written soon after it was read.
const PAGE: usize = 100;
/// A kind's list is left alone after a page that answers for fewer than these.
const WORTH: usize = 20;

/// How far a kind's list was read.
enum Walk {
    At(Option<String>),
    Over,
}

/// What has to happen before a change is written.
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// The entity is read.
    Entity,
    /// The next page of the list of its kind is read.
    Page(Arc<Kind>, Option<String>),
    /// The entity is no longer what the plan saw.
    Changed(Error),
}

/// What is known of the entities of a plan since it was made.
pub(super) struct Recheck<'a> {
    plan: &'a Plan,
    /// The first change of each entity that has to be looked at.
    due: HashMap<Uuid, usize>,
    walks: HashMap<Box<str>, Walk>,
    /// What pages said of changes that are next.
    answers: HashMap<usize, Result<(), Error>>,
    /// Entities that the run has written, so that they are no longer as the plan saw them.
    written: HashSet<Uuid>,
}

impl<'a> Recheck<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        let mut due = HashMap::new();
        for (index, change) in plan.changes.iter().enumerate() {
            if stamp(change).is_some() && change.cascades_from.is_none() {
                due.entry(change.id).or_insert(index);
            }
        }
        Recheck { plan, due, walks: HashMap::new(), answers: HashMap::new(), written: HashSet::new() }
    }

    /// What the change is in need of that is next among those that are ready. Asked again after a page was read;
    /// any other answer is for good.
    pub fn need(&mut self, index: usize, ready: &BTreeSet<usize>, plane: &dyn ControlPlane) -> Need {
        let Some(change) = self.plan.changes.get(index) else { return Need::Nothing };
        if !self.is_due(change) {
            self.written.insert(change.id);
            return Need::Nothing;
        }
        let answer = self.answers.remove(&index);
        if answer.is_none()
            && let Some(page) = self.page(change, ready, plane)
        {
            return page;
        }
        self.written.insert(change.id);
        match answer {
            Some(Ok(())) => Need::Nothing,
            Some(Err(error)) => Need::Changed(error),
            None => Need::Entity,
        }
    }

    fn is_due(&self, change: &Change) -> bool {
        stamp(change).is_some() && !self.written.contains(&change.id)
    }

    fn page(&self, change: &Change, ready: &BTreeSet<usize>, plane: &dyn ControlPlane) -> Option<Need> {
        let at = match self.walks.get(&change.kind.name) {
            Some(Walk::Over) => return None,
            Some(Walk::At(next)) => next.clone(),
            None => None,
        };
        let alike = |index: &&usize| {
            let other = self.plan.changes.get(**index);
            other.is_some_and(|other| other.kind.name == change.kind.name && self.is_due(other))
        };
        let many = ready.iter().take(MANY).filter(alike).count() == MANY;
        (many && plane.lists_flat(&change.kind)).then(|| Need::Page(change.kind.clone(), at))
    }

    /// Takes in a page. A list that cannot be read is left alone: single reads say why.
    pub fn page_came(
        &mut self,
        kind: &Kind,
        page: Result<Page, Error>,
        ready: &BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        let page = page.unwrap_or_default();
        let mut answered = BTreeSet::new();
        for row in &page.rows {
            let id = row.get("id").and_then(Value::exposed_str).and_then(|id| Uuid::parse_str(id).ok());
            let Some(index) =
                id.and_then(|id| self.due.get(&id)).copied().filter(|index| ready.contains(index))
            else {
                continue;
            };
            if let Some(change) = self.plan.changes.get(index).filter(|change| self.is_due(change)) {
                self.answers.insert(index, compare(change, Some(row)));
                answered.insert(index);
            }
        }
        let walk = match page.next {
            Some(next) if answered.len() >= WORTH => Walk::At(Some(next)),
            _ => Walk::Over,
        };
        self.walks.insert(kind.name.clone(), walk);
        answered
    }
}

/// Reads a page of a kind's list.
pub(super) async fn read_page(
    kind: &Kind,
    next: Option<&str>,
    plane: &dyn ControlPlane,
) -> Result<Page, Error> {
    plane.page(&List { kind, tags: &[], parent: None, size: PAGE }, next).await
}

/// Fails when the entity is no longer what the plan saw.
pub(super) async fn read_entity(change: &Change, plane: &dyn ControlPlane) -> Result<(), Error> {
    let like = change.before.as_ref().unwrap_or(&Value::Null);
    compare(change, plane.get(&change.kind, change.id, like).await?.as_ref())
}

/// When the entity was last written before the plan was made; `None` where that is not told.
fn stamp(change: &Change) -> Option<&Value> {
    change.before.as_ref()?.get(STAMP).filter(|at| !at.is_null())
}

fn compare(change: &Change, now: Option<&Value>) -> Result<(), Error> {
    let same = match now {
        Some(now) => now.get(STAMP) == stamp(change),
        None => change.action == Action::Delete,
    };
    if same {
        return Ok(());
    }
    Err(Error::Changed { what: format!("{} {}", change.kind.report.word, change.label) })
}
