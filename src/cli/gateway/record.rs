//! Where the last applied states are kept, for `gateway drift`.
//!
//! What stands in a record lives in `plan`.

use super::super::settings::read_small;
use super::super::{Context, Failure, files};
use super::saved::LARGEST;
use super::session::Session;
use crate::diagnostics::codes;
use crate::model::State;
use crate::plan::{Plan, Record};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What the names of records end in.
const EXTENSION: &str = "applied";

/// A record to be kept once its plan is carried out.
pub struct Applied {
    path: PathBuf,
    text: String,
}

impl Applied {
    /// What the control plane holds once a plan is carried out. `None` where there is no folder to keep it in. What an
    /// earlier record says of the kinds for which `left_alone` holds stays.
    pub fn after(
        context: &Context,
        session: &Session,
        state: &State,
        plan: &Plan,
        left_alone: &dyn Fn(&str) -> bool,
    ) -> Option<Applied> {
        let path = path(context, session, state)?;
        // What cannot be read is replaced.
        let earlier = read_small(&path, LARGEST).ok();
        let salt = earlier.as_deref().and_then(Record::salt_of);
        let salt = salt.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        let text = Record::text_of(state, &plan.ids, &session.schemas, &salt, earlier.as_deref(), left_alone);
        Some(Applied { path, text })
    }

    /// Keeps the record. Where that fails, the one before goes: it is true no more.
    pub fn write(&self) -> Result<(), Failure> {
        if read_small(&self.path, LARGEST).is_ok_and(|text| text == self.text) {
            return Ok(());
        }
        let folder = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let folder = folder.map_err(|error| files::unwritable(&self.path, &error));
        let written = folder.and_then(|()| files::write_private(&self.path, self.text.as_bytes()));
        if written.is_err() {
            drop(std::fs::remove_file(&self.path));
        }
        written
    }
}

/// The record of the last applied state.
pub fn read(context: &Context, session: &Session, state: &State) -> Result<Record, Failure> {
    let path = path(context, session, state).filter(|path| path.exists()).ok_or_else(|| {
        let name = session.made_for().name();
        Failure::new(codes::USAGE, format!("no state that was applied to {name} is known"))
            .help("name a state file with --base, or sync the same files (with the same select tags) first")
    })?;
    Ok(Record::read(&read_small(&path, LARGEST)?).map_err(|mut problem| {
        problem.message = format!("{}: {}", path.display(), problem.message);
        problem
    })?)
}

/// One file for each control plane, workspace and set of select tags.
fn path(context: &Context, session: &Session, state: &State) -> Option<PathBuf> {
    let folder: &Path = context.settings.state_folder.as_deref()?;
    let mut scopes = state.info.scopes.clone();
    scopes.iter_mut().for_each(|tags| tags.sort_unstable());
    scopes.sort_unstable();
    let text = serde_json::to_string(&(session.made_for(), scopes)).unwrap_or_default();
    Some(folder.join(format!("{}.{EXTENSION}", Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()))))
}
