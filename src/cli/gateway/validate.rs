//! `gateway validate`: state files checked with the gateway's own schemas, and by the gateway itself.

use super::super::{Context, Exit, Failure, Outcome};
use super::flags::{Inputs, Kinds, Requests};
use super::planning::read;
use super::session::{Aim, Session};
use crate::control_plane::ControlPlane;
use crate::diagnostics::{Diagnostic, codes};
use crate::model::{Entity, State, Target};
use crate::schema::Kind;
use crate::value::Value;
use futures_util::stream::{self, StreamExt};

/// The arguments of `gateway validate`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    kinds: Kinds,
    #[command(flatten)]
    requests: Requests,

    /// Also report what Konnect does not take
    #[arg(long)]
    konnect_compatibility: bool,

    /// Kinds that the gateway itself is asked about, by their keys in state files (`services`, `plugins`) [default: all]
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    online_entities_list: Vec<String>,
}

/// Plugins that need what Konnect does not have: a database of the data plane's own, or the Admin API.
const NOT_IN_KONNECT: [&str; 4] = ["application-registration", "key-auth-enc", "oauth2", "vault-auth"];

/// Checks the files and says what is wrong with them.
pub async fn run(args: &Args, context: &Context) -> Outcome {
    let documents = read(&args.inputs, context, &[], false)?;
    let aim = Aim::new(context, Some(documents.settings()), None);
    let overrides = documents.settings().consumer_group_policy_overrides;
    let mut session = Session::open(context, &args.requests, aim).await?.with_overrides(overrides)?;
    session.require_workspace()?;
    let skip = args.kinds.skipped(&session.schemas);
    let kinds = session.schemas.kinds();
    if let Some(unknown) =
        args.online_entities_list.iter().find(|name| !kinds.iter().any(|kind| is_meant(kind, name)))
    {
        let known: Vec<&str> = kinds.iter().map(|kind| &*kind.file.key).collect();
        return Err(Failure::new(codes::USAGE, format!("--online-entities-list: '{unknown}' is not a kind"))
            .help(format!("the kinds are {}", known.join(", "))));
    }
    session.learn(&skip, &documents.plugins()).await?;
    let mut loaded = documents.build(&session.schemas);
    if args.konnect_compatibility {
        loaded.diagnostics.extend(konnect_faults(&loaded.state));
    }
    if !loaded.has_errors() {
        let faults = ask(args, &session, &loaded.state).await?;
        loaded.diagnostics.extend(faults);
    }
    args.inputs.weights.weigh(false, &mut loaded.diagnostics);
    if loaded.has_errors() {
        return Err(Failure::found(loaded.diagnostics, loaded.sources));
    }
    context.console.problems(&loaded.diagnostics, &loaded.sources);
    Ok(Exit::Success)
}

/// Whether a name is that of a kind: its key in state files, or decK's, such as `Services`, `KeyAuths`, `ACLGroups`.
fn is_meant(kind: &Kind, name: &str) -> bool {
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let name = plain(name);
    name == plain(&kind.file.key) || name == plain(&kind.report.word) + "s"
}

/// Asks the gateway about each entity.
async fn ask(args: &Args, session: &Session, state: &State) -> Result<Vec<Diagnostic>, Failure> {
    let asked = |entity: &&Entity| {
        let listed = args.online_entities_list.iter().any(|name| is_meant(&entity.kind, name));
        (listed || args.online_entities_list.is_empty())
            && entity.kind.admin_api
            && entity.kind.addressed_by.is_empty()
    };
    let requests = state.entities.iter().filter(asked).map(|entity| async move {
        let answer = session.plane.validate(&entity.kind, &body(state, entity)).await;
        (entity, answer)
    });
    let mut answers = stream::iter(requests).buffered(args.requests.parallelism.into());
    let mut faults = Vec::new();
    while let Some((entity, answer)) = answers.next().await {
        if let Some(refusal) = answer.map_err(|error| session.explain(&error))? {
            let label = entity.label().unwrap_or("(secret)");
            let message = format!("the gateway does not take {} {label}: {refusal}", entity.kind.report.word);
            faults.push(Diagnostic::error(codes::INVALID_VALUE, message).at(entity.place.clone()));
        }
    }
    Ok(faults)
}

/// An entity as the gateway would be sent it; entities without an id get one that stands for theirs.
fn body(state: &State, entity: &Entity) -> Value {
    let mut body = entity.body.clone();
    for (field, reference) in &entity.references {
        let id = match &reference.target {
            Target::Id(id) => Some(*id),
            Target::Entity(index) => state.entities.get(*index).and_then(|entity| entity.id),
            Target::Name(_) => None,
        };
        let id = id.unwrap_or_else(uuid::Uuid::new_v4);
        body.set(field, Value::Object([("id".into(), Value::from(id.to_string()))].into_iter().collect()));
    }
    body
}

/// What Konnect does not take.
pub fn konnect_faults(state: &State) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    if let Some(name) = &state.workspace {
        let message = format!("Konnect has no workspaces, and the files name the workspace {name}");
        faults.push(
            Diagnostic::error(codes::NOT_SUPPORTED, message).help("use one control plane for each workspace"),
        );
    }
    for entity in &state.entities {
        let word = &entity.kind.report.word;
        let unknown = entity.kind.konnect_path.is_empty();
        let plugin = entity.kind.subschema.is_some()
            && entity
                .body
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| NOT_IN_KONNECT.contains(&name));
        if unknown || plugin {
            let label = entity.label().unwrap_or_default();
            let message = format!("Konnect does not take {word} {label}");
            faults.push(Diagnostic::error(codes::NOT_SUPPORTED, message).at(entity.place.clone()));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::is_meant;
    use crate::schema::{Flavor, Schemas};

    #[test]
    fn kinds_are_known_by_their_keys_and_by_decks_names() {
        let schemas = Schemas::bundled(Flavor::Kong314);
        for (name, kind) in [
            ("services", "services"),
            ("Services", "services"),
            ("CACertificates", "ca_certificates"),
            ("ACLGroups", "acls"),
            ("BasicAuths", "basicauth_credentials"),
            ("keyauth_credentials", "keyauth_credentials"),
            ("KeyAuths", "keyauth_credentials"),
            ("ConsumerGroups", "consumer_groups"),
        ] {
            let meant: Vec<&str> =
                schemas.kinds().iter().filter(|kind| is_meant(kind, name)).map(|kind| &*kind.name).collect();
            assert_eq!(meant, [kind], "{name}");
        }
        assert!(!schemas.kinds().iter().any(|kind| is_meant(kind, "Documents")));
    }
}
