//! From files and a control plane to a plan.

use super::super::{Context, Failure};
use super::flags::{Inputs, Kinds, Requests, Scope};
use super::record::{self, Applied};
use super::session::{Aim, Session};
use crate::apply::Command;
use crate::control_plane::{self, Arrival, ControlPlane, Error, Wanted};
use crate::diagnostics::{Diagnostic, SourceMap, codes};
use crate::document::{self, Documents};
use crate::model::{Entity, State};
use crate::plan::{self, Comparer, Drift, Guard, Limit, Lookup, MadeFor, Plan, Question, Record};
use crate::schema::{Kind, Schemas, conceal};
use crate::value::{Origin, Value};
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// What planning needs to know besides the files.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Plan")]
pub struct Planning {
    /// Take over entities that stand in the way and carry other tags
    #[arg(long)]
    pub adopt: bool,

    /// Refuse a plan that deletes more than this many entities, or more than this share of them
    #[arg(long, value_name = "N|N%")]
    pub max_deletes: Option<Limit>,

    /// Tag of entities that are never deleted, besides foredeck-protect; repeatable
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub protect_tag: Vec<String>,

    /// Agree to deleting everything, when the state files are empty
    #[arg(long)]
    pub yes: bool,

    /// The plugins of consumer groups are policy overrides, which Kong deprecates
    #[arg(long)]
    pub consumer_group_policy_overrides: bool,

    /// Show the values of variables in fields that are not secret themselves
    #[arg(long)]
    pub no_mask_deck_env_vars_value: bool,
}

impl Planning {
    /// The guard rails of the plan.
    pub fn guard(&self) -> Guard {
        let mut guard = Guard { max_deletes: self.max_deletes, yes: self.yes, ..Guard::default() };
        guard.protect_tags.extend(self.protect_tag.iter().cloned());
        guard
    }
}

/// The arguments that shape a plan, and nothing else: they are saved with it.
#[derive(clap::Args, Clone, Default)]
pub struct Shape {
    #[command(flatten)]
    pub inputs: Inputs,
    #[command(flatten)]
    pub scope: Scope,
    #[command(flatten)]
    pub planning: Planning,
    #[command(flatten)]
    pub passwords: Passwords,

    /// For a gateway without a database: load the whole state at once, in place of all that it holds
    #[arg(long)]
    pub dbless: bool,
}

/// How passwords are stored.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Plan")]
pub struct Passwords {
    /// Store the passwords of basic-auth credentials as they are: they are hashed already
    #[arg(long)]
    pub skip_hash_for_basic_auth: bool,
}

/// The ids of a run that continues no other.
pub fn fresh_ids(_: &MadeFor) -> Result<Ids, Failure> {
    Ok(Ids::default())
}

/// What is planned, from where.
pub struct Job<'a> {
    /// What shapes the plan.
    pub shape: &'a Shape,
    /// How requests are made.
    pub requests: &'a Requests,
    /// Whether what is not in the files is deleted.
    pub command: Command,
    /// What becomes of the plan.
    pub purpose: Purpose<'a>,
}

/// What a plan is made for.
#[derive(Clone, Copy)]
pub enum Purpose<'a> {
    /// To be shown.
    Show,
    /// To be carried out.
    Write,
    /// To be held against the last applied state: what these files say, or the record of it when there are none.
    Drift {
        /// Files and folders.
        base: &'a [String],
    },
}

/// A plan, with the control plane that it is for.
pub struct Planned {
    /// The control plane.
    pub session: Session,
    /// The plan. Without errors among its conflicts.
    pub plan: Plan,
    /// The ids that were made for it.
    pub new_ids: Vec<Uuid>,
    /// Everything that a gateway without a database is to hold, loaded at once; `None` for one that has one.
    pub whole: Option<Value>,
    /// What is to be remembered once the plan is carried out.
    pub applied: Option<Applied>,
    /// What is not as it was applied last, when that was asked for.
    pub drift: Vec<Drift>,
    /// What is worth saying, none of it an error.
    pub warnings: Vec<Diagnostic>,
    /// The names of the plugins that the files ask for.
    pub plugins: BTreeSet<String>,
    /// The texts of the files.
    pub sources: SourceMap,
}

/// Makes the ids of new entities: first those that an earlier plan made, as far as nothing has them yet.
#[derive(Default)]
pub struct Ids {
    earlier: VecDeque<Uuid>,
    taken: HashSet<Uuid>,
    made: Vec<Uuid>,
}

impl Ids {
    /// Ids that begin with those of an earlier plan, in its order.
    pub fn after(earlier: &[Uuid]) -> Self {
        Ids { earlier: earlier.iter().copied().collect(), ..Ids::default() }
    }

    /// Hears what the control plane holds.
    fn see(&mut self, entities: &[Entity]) {
        if !self.earlier.is_empty() {
            self.taken.extend(entities.iter().filter_map(|entity| entity.id));
        }
    }

    fn next(&mut self) -> Uuid {
        let earlier = std::iter::from_fn(|| self.earlier.pop_front()).find(|id| !self.taken.contains(id));
        let id = earlier.unwrap_or_else(Uuid::new_v4);
        self.made.push(id);
        id
    }
}

/// Reads the files of a run.
pub fn read(
    inputs: &Inputs,
    context: &Context,
    tags: &[String],
    partial: bool,
) -> Result<Documents, Failure> {
    let options = inputs.options(context, tags, partial)?;
    Ok(document::read(&inputs.files, &mut std::io::stdin().lock(), options))
}

impl Job<'_> {
    /// Reads the files, connects, and compares: one plan for each workspace, all of them before anything is written.
    /// `ids` gives the ids for new entities of a control plane.
    pub async fn plan(
        &self,
        context: &Context,
        ids: &dyn Fn(&MadeFor) -> Result<Ids, Failure>,
    ) -> Result<Vec<Planned>, Failure> {
        let Shape { inputs, scope, .. } = self.shape;
        let documents = read(inputs, context, &scope.select_tag, self.command == Command::Apply)?;
        if documents.say_nothing() {
            let failure =
                Failure::new(codes::USAGE, format!("nothing is written in {}", inputs.files.join(", ")));
            return Err(
                failure.help("a file without entities has at least a line `_format_version: \"3.0\"`")
            );
        }
        let mut parts = Vec::new();
        for documents in documents.by_workspace() {
            parts.push(self.part(context, documents, ids).await?);
        }
        Ok(parts)
    }

    async fn part(
        &self,
        context: &Context,
        documents: Documents,
        ids: &dyn Fn(&MadeFor) -> Result<Ids, Failure>,
    ) -> Result<Planned, Failure> {
        let Shape { inputs, scope, planning, passwords, dbless } = self.shape;
        let mut scope = scope.clone();
        scope.kinds.include_plugin_definitions |= documents.settings().include_plugin_definitions;
        scope
            .hold(&documents)
            .map_err(|problem| Failure::found(vec![problem], documents.sources().clone()))?;
        let settings = documents.settings();
        let overrides = planning.consumer_group_policy_overrides || settings.consumer_group_policy_overrides;
        let aim = Aim::new(context, Some(settings), None);
        let skip_hash = passwords.skip_hash_for_basic_auth || settings.skip_hash_for_basic_auth;
        let requests = Requests { skip_hash, ..self.requests.clone() };
        let mut session = Session::open(context, &requests, aim).await?.with_overrides(overrides)?;
        if skip_hash && !session.info.konnect {
            let failure =
                "--skip-hash-for-basic-auth is for Konnect only: Kong Gateway hashes every password";
            return Err(Failure::new(codes::USAGE, failure));
        }
        // Looking for drift writes nothing, and reads a gateway without a database like any other.
        if !matches!(self.purpose, Purpose::Drift { .. }) {
            check_database(&session, *dbless)?;
        }
        let mut ids = ids(&session.made_for())?;
        // Roles in a file of their own are meant. None is deleted that the flag was not given for.
        let asked = scope.kinds.rbac_resources_only;
        scope.kinds.rbac_resources_only |= Kinds::only_roles(&documents);
        let options = plan::Options {
            delete: self.command == Command::Sync && asked == scope.kinds.rbac_resources_only,
            adopt: planning.adopt,
            skip: scope.skipped(&session.schemas),
        };
        let plugins = documents.plugins();
        session.learn(&options.skip, &plugins).await?;
        let mut loaded = documents.build(&session.schemas);
        // The trees are as large as the state that was made from them.
        drop(documents);
        inputs.weights.weigh(false, &mut loaded.diagnostics);
        if loaded.has_errors() {
            return Err(Failure::found(loaded.diagnostics, loaded.sources));
        }
        if planning.no_mask_deck_env_vars_value {
            reveal(&session.schemas, &mut loaded.state);
        }
        let plan = compare(&session, &loaded.state, &options, &mut ids).await?;
        let mut problems: Vec<Diagnostic> = plan.conflicts.clone();
        if !matches!(self.purpose, Purpose::Drift { .. }) {
            problems.extend(plan.refusals(&planning.guard()));
        }
        if problems.iter().any(Diagnostic::is_error) {
            loaded.diagnostics.extend(problems);
            return Err(Failure::found(loaded.diagnostics, loaded.sources));
        }
        let whole = match dbless {
            true => Some(whole(&session, &loaded.state, &plan, &options, &scope)?),
            false => None,
        };
        let (mut applied, mut drift) = (None, Vec::new());
        match self.purpose {
            Purpose::Show => {}
            Purpose::Write => {
                let left_alone = |kind: &str| self.command == Command::Apply || options.skip.contains(kind);
                applied = Applied::after(context, &session, &loaded.state, &plan, &left_alone);
            }
            Purpose::Drift { base } => {
                let record = match base {
                    [] => record::read(context, &session, &loaded.state)?,
                    files => self.base(context, files, &session)?,
                };
                drift = record.drift(&loaded.state, &plan, &session.schemas, &options.skip);
            }
        }
        Ok(Planned {
            session,
            plan,
            whole,
            applied,
            drift,
            new_ids: ids.made,
            warnings: loaded.diagnostics,
            plugins,
            sources: loaded.sources,
        })
    }

    /// The state in files as the one that was applied last.
    fn base(&self, context: &Context, files: &[String], session: &Session) -> Result<Record, Failure> {
        let Shape { inputs, scope, .. } = self.shape;
        let inputs = Inputs { files: files.to_vec(), ..inputs.clone() };
        let documents = read(&inputs, context, &scope.select_tag, false)?;
        let loaded = documents.build(&session.schemas);
        if loaded.has_errors() {
            return Err(Failure::found(loaded.diagnostics, loaded.sources));
        }
        let state = loaded.state;
        let ids: Vec<Option<Uuid>> =
            state.entities.iter().map(|entity| Some(entity.id.unwrap_or_else(Uuid::new_v4))).collect();
        Ok(Record::new(&state, &ids, &session.schemas, &Uuid::new_v4().simple().to_string()))
    }
}

/// Fails when the gateway is not of the sort that the flags say.
fn check_database(session: &Session, dbless: bool) -> Result<(), Failure> {
    let address = session.plane.address();
    match (session.info.dbless, dbless) {
        (true, false) => {
            let failure = format!("{address} runs without a database and takes whole states only");
            Err(Failure::new(codes::NOT_SUPPORTED, failure).help("add --dbless to load the whole state"))
        }
        (false, true) => {
            let failure = format!("{address} has a database, so that no whole state can be loaded");
            Err(Failure::new(codes::NOT_SUPPORTED, failure).help("leave --dbless out"))
        }
        _ => Ok(()),
    }
}

/// What a gateway without a database is to hold. Nothing may be left alone: a load replaces everything.
pub fn whole(
    session: &Session,
    state: &State,
    plan: &Plan,
    options: &plan::Options,
    scope: &Scope,
) -> Result<Value, Failure> {
    let partial = !state.info.scopes.is_empty() || scope.leaves_out();
    if partial || session.aim.workspace.is_some() {
        let failure = Failure::new(
            codes::NOT_SUPPORTED,
            "a whole state cannot be loaded for some entities only: those that it leaves out would be lost",
        );
        return Err(failure.help("leave out the select tags, the workspace and the flags that skip kinds"));
    }
    Ok(plan::declarative(state, &plan.ids, &session.schemas, options))
}

/// Compares what a control plane holds with what it should hold.
pub async fn compare(
    session: &Session,
    desired: &State,
    options: &plan::Options,
    ids: &mut Ids,
) -> Result<Plan, Failure> {
    let mut comparer = Comparer::new(desired, &session.schemas, options);
    if session.exists {
        let wanted = wanted(session, plan::reads(desired, &session.schemas, options));
        let mut sink = |arrival: Arrival| match arrival {
            Arrival::Page(entities) => {
                ids.see(&entities);
                comparer.page(entities);
            }
            Arrival::Finished(kind) => comparer.finish_kind(&kind),
        };
        control_plane::read(&session.plane, &session.schemas, &wanted, session.parallelism(), &mut sink)
            .await
            .map_err(|error| session.explain(&error))?;
        let questions = comparer.questions();
        for entity in answers(session, questions).await.map_err(|error| session.explain(&error))? {
            comparer.answer(entity);
        }
    }
    Ok(comparer.finish(&mut || ids.next()))
}

/// Looks up what a comparison asks for outside its scope.
async fn answers(session: &Session, questions: Vec<Question>) -> Result<Vec<Entity>, Error> {
    let (schemas, plane) = (&session.schemas, &session.plane);
    let mut found = Vec::new();
    let mut whole: Vec<Wanted> = Vec::new();
    let mut single = Vec::new();
    for Question { kind, lookup } in questions {
        // Konnect finds entities by id only, and a list below parents has no other way in.
        let by_key = matches!(lookup, Lookup::Key(_)) && !session.info.konnect;
        let by_id = matches!(lookup, Lookup::Id(_));
        if kind.only_under.is_none() && (by_key || by_id) {
            single.push((kind, lookup));
        } else {
            want_with_parents(schemas, &kind, &mut whole);
        }
    }
    let requests = single.iter().map(|(kind, lookup)| async move {
        let row = match lookup {
            Lookup::Id(id) => plane.get(kind, *id, &Value::Null).await,
            Lookup::Key(key) => plane.find(kind, key).await,
            Lookup::All => Ok(None),
        };
        row.map(|row| row.and_then(|row| control_plane::entity(schemas, kind, row)))
    });
    let mut rows = stream::iter(requests).buffer_unordered(session.parallelism());
    while let Some(entity) = rows.next().await {
        found.extend(entity?);
    }
    if !whole.is_empty() {
        let mut sink = |arrival: Arrival| {
            if let Arrival::Page(entities) = arrival {
                found.extend(entities);
            }
        };
        control_plane::read(plane, schemas, &whole, session.parallelism(), &mut sink).await?;
    }
    Ok(found)
}

/// Adds the whole list of a kind, and those of the parents below which it is listed.
fn want_with_parents(schemas: &Schemas, kind: &Arc<Kind>, whole: &mut Vec<Wanted>) {
    if whole.iter().any(|list| list.kind.name == kind.name) {
        return;
    }
    if let Some(parent) = kind.only_under.as_ref().and_then(|name| schemas.kind(name)) {
        want_with_parents(schemas, parent, whole);
    }
    whole.push(Wanted { kind: kind.clone(), tags: Vec::new() });
}

/// The lists to ask this control plane for.
pub fn wanted(session: &Session, reads: Vec<plan::Read>) -> Vec<Wanted> {
    let konnect = session.info.konnect;
    let served = reads
        .into_iter()
        .filter(|read| if konnect { !read.kind.konnect_path.is_empty() } else { is_served(&read.kind) });
    served.map(|read| Wanted { kind: read.kind, tags: read.tags }).collect()
}

fn is_served(kind: &Kind) -> bool {
    kind.admin_api || kind.listed_in.is_some()
}

/// Lets values of variables be shown where the field itself is no secret.
fn reveal(schemas: &Schemas, state: &mut State) {
    for entity in &mut state.entities {
        let hidden = entity.body.clone();
        unwrap_variables(&mut entity.body);
        let origin = |path: &crate::value::Path| match hidden.at(path) {
            Some(Value::Secret(secret)) => secret.origin().clone(),
            _ => Origin::ControlPlane,
        };
        conceal(schemas, &entity.kind, &mut entity.body, &origin);
    }
}

fn unwrap_variables(value: &mut Value) {
    match value {
        Value::Secret(secret) if matches!(secret.origin(), Origin::Variables(_)) => {
            *value = secret.expose().clone()
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_variables),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| unwrap_variables(member)),
        _ => {}
    }
}

/// Every kind, without a file: the state against which `reset` plans, and of which `dump` reads all.
pub fn nothing(tags: &[String]) -> State {
    let mut state = State::default();
    if !tags.is_empty() {
        state.info.scopes = vec![tags.to_vec()];
    }
    state
}

/// The plugins of a run without files.
pub fn no_plugins() -> BTreeSet<String> {
    BTreeSet::new()
}
