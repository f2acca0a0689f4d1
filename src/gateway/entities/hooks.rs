//! What fits no word of the notation: one line a kind in [`HOOKS`], at most eight of them.

use super::row::{body as body_of, id_in, target_of};
use super::write::{Draft, reference_to};
use super::{Entities, Fault, Mark};
use crate::gateway::store::Tx;
use crate::schema::{HostKind, Kind, Violation, ViolationKind, parse_host, pbkdf2_text};
use crate::value::{Path, Value};
use data_encoding::HEXLOWER;
use http::StatusCode;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use uuid::Uuid;
use x509_parser::pem::parse_x509_pem;

/// The port of targets that name none.
const TARGET_PORT: u16 = 8000;
/// SNIs of one certificate are read in one go.
const MANY: usize = 10_000;

/// Functions of one kind that run beside the generic way of its entities.
#[derive(Clone, Copy)]
struct Hooks {
    kind: &'static str,
    /// Before references are resolved and anything is checked.
    before: Option<Before>,
    /// After the checks: fields that are computed from others.
    transform: Option<Transform>,
    /// After the row is written.
    after: Option<After>,
    /// Fields that are answered and not stored.
    show: Option<Show>,
    /// Names that mean an entity through another kind: the entity, or what is to be said of a missing one.
    alias: Option<Alias>,
    /// Before the row is deleted.
    remove: Option<Remove>,
}

type Before = fn(&Entities, &mut Tx<'_>, &mut Draft) -> Result<(), Fault>;
type Transform = fn(&Entities, &mut Draft) -> Result<(), Fault>;
type After = fn(&Entities, &mut Tx<'_>, &Draft) -> Result<(), Fault>;
type Show = fn(&Entities, &Tx<'_>, &mut Value) -> Result<(), Fault>;
type Remove = fn(&Entities, &mut Tx<'_>, Uuid) -> Result<(), Fault>;
type Alias = fn(&Entities, &Tx<'_>, &str, Option<&mut Value>) -> Result<Uuid, Fault>;

const NONE: Hooks =
    Hooks { kind: "", before: None, transform: None, after: None, show: None, alias: None, remove: None };

static HOOKS: &[Hooks] = &[
    Hooks { kind: "targets", before: Some(format_target), ..NONE },
    Hooks { kind: "plugins", before: Some(share_a_protocol), ..NONE },
    Hooks { kind: "basicauth_credentials", transform: Some(hash_password), ..NONE },
    Hooks { kind: "oauth2_credentials", transform: Some(hash_secret), ..NONE },
    Hooks { kind: "ca_certificates", transform: Some(digest), remove: Some(unused_ca), ..NONE },
    Hooks {
        kind: "certificates",
        before: Some(claim_snis),
        after: Some(write_snis),
        show: Some(show_snis),
        alias: Some(certificate_of_sni),
        remove: Some(remove_snis),
        ..NONE
    },
];

fn of(kind: &Kind) -> Hooks {
    HOOKS.iter().find(|hooks| *hooks.kind == *kind.name).copied().unwrap_or(NONE)
}

/// Before references are resolved and anything is checked.
pub(super) fn before(all: &Entities, tx: &mut Tx<'_>, kind: &Kind, draft: &mut Draft) -> Result<(), Fault> {
    of(kind).before.map_or(Ok(()), |hook| hook(all, tx, draft))
}

/// After the checks.
pub(super) fn transform(all: &Entities, kind: &Kind, draft: &mut Draft) -> Result<(), Fault> {
    of(kind).transform.map_or(Ok(()), |hook| hook(all, draft))
}

/// After the row is written.
pub(super) fn after(all: &Entities, tx: &mut Tx<'_>, kind: &Kind, draft: &Draft) -> Result<(), Fault> {
    of(kind).after.map_or(Ok(()), |hook| hook(all, tx, draft))
}

/// Whether a kind's rows are not answered as they are stored.
pub(super) fn shows(kind: &Kind) -> bool {
    of(kind).show.is_some()
}

/// Fields that are answered and not stored.
pub(super) fn show(all: &Entities, tx: &Tx<'_>, kind: &Kind, body: &mut Value) -> Result<(), Fault> {
    of(kind).show.map_or(Ok(()), |hook| hook(all, tx, body))
}

/// Before the row is deleted.
pub(super) fn remove(all: &Entities, tx: &mut Tx<'_>, kind: &Kind, id: Uuid) -> Result<(), Fault> {
    of(kind).remove.map_or(Ok(()), |hook| hook(all, tx, id))
}

impl Entities {
    /// The mark of a name that means an entity through another kind; `None` when the kind knows no such names.
    pub(in crate::gateway) fn alias(
        &self,
        tx: &Tx<'_>,
        kind: &Kind,
        name: &str,
        body: Option<&mut Value>,
    ) -> Result<Option<Mark>, Fault> {
        of(kind).alias.map(|hook| hook(self, tx, name, body).map(Mark::Id)).transpose()
    }
}

/// A certificate is also named by its SNIs; a PUT makes one for a new name.
fn certificate_of_sni(
    all: &Entities,
    tx: &Tx<'_>,
    name: &str,
    body: Option<&mut Value>,
) -> Result<Uuid, Fault> {
    let mark = Mark::Field("name".into(), Value::from(name));
    let found = all.find(tx, all.kind("snis")?, &mark)?;
    let held = found.map(|row| body_of(&row)).transpose()?.and_then(|body| target_of(&body, "certificate"));
    let Some(body) = body else {
        let missing = || Fault::Refused(StatusCode::NOT_FOUND, "SNI not found".to_owned());
        return held.ok_or_else(missing);
    };
    let mut names = body.get("snis").and_then(Value::as_array).unwrap_or_default().to_vec();
    if !names.contains(&Value::from(name)) {
        names.push(Value::from(name));
        body.set("snis", Value::Array(names));
    }
    Ok(held.unwrap_or_else(Uuid::new_v4))
}

/// Targets are kept as `host:port`, IPv6 addresses in full length.
fn format_target(_: &Entities, _: &mut Tx<'_>, draft: &mut Draft) -> Result<(), Fault> {
    let Some(target) = draft.body.get("target").and_then(Value::exposed_str) else { return Ok(()) };
    let Ok(address) = parse_host(target) else {
        let message = "Invalid target; not a valid hostname or ip address";
        return Err(Fault::field(Path::root().key("target"), message));
    };
    let port = address.port.unwrap_or(TARGET_PORT);
    let formatted = match address.kind {
        HostKind::Ipv6 => format!("[{}]:{port}", address.host),
        _ => format!("{}:{port}", address.host),
    };
    draft.body.set("target", formatted.into());
    Ok(())
}

/// A plugin must speak a protocol of its route, or of one of the routes to its service.
fn share_a_protocol(all: &Entities, tx: &mut Tx<'_>, draft: &mut Draft) -> Result<(), Fault> {
    // A change that touches none of the three cannot break what held before.
    let touches =
        |patch: &Value| ["protocols", "service", "route"].iter().any(|name| patch.get(name).is_some());
    if draft.patch.as_ref().is_some_and(|patch| !touches(patch)) {
        return Ok(());
    }
    let Some(own) = draft.body.get("protocols").and_then(Value::as_array) else { return Ok(()) };
    let routes = all.kind("routes")?;
    let shares = |route: &Value| {
        let theirs = route.get("protocols").and_then(Value::as_array).unwrap_or_default();
        theirs.iter().any(|protocol| own.contains(protocol))
    };
    let refuse = |message: &str| Err(Fault::field(Path::root().key("protocols"), message));
    if let Some(route) = target_of(&draft.body, "route") {
        let Some(row) = all.find(tx, routes, &Mark::Id(route))? else { return Ok(()) };
        if !shares(&body_of(&row)?) {
            return refuse("must match the associated route's protocols");
        }
    } else if let Some(service) = target_of(&draft.body, "service") {
        let rows = tx.page_referencing(all.plane, &routes.name, "service", service, None, MANY)?;
        let mut shared = rows.is_empty();
        for row in &rows {
            shared = shared || shares(&body_of(row)?);
        }
        if !shared {
            return refuse(
                "must match the protocols of at least one route pointing to this Plugin's service",
            );
        }
    }
    Ok(())
}

/// What is stored instead of an input depends on another field, so that a change of one must name the other too.
fn all_or_none(draft: &Draft, input: &str, needed: &str) -> Result<(), Fault> {
    let Some(patch) = &draft.patch else { return Ok(()) };
    let value = |body: &Value| {
        let found = needed.split('.').try_fold(body.clone(), |value, key| value.get(key).cloned());
        found.filter(|value| !value.is_null())
    };
    let held = draft.held.as_ref().map(body_of).transpose()?.unwrap_or_default();
    let given = patch.get(input).is_some_and(|value| !value.is_null());
    if value(patch) == value(&held) || given == value(patch).is_some() {
        return Ok(());
    }
    Err(Fault::Schema(vec![Violation {
        path: Path::root(),
        kind: ViolationKind::Rule,
        message: format!("all or none of these fields must be set: '{input}', '{needed}'"),
        help: None,
    }]))
}

/// Passwords are kept as SHA-1 of the password and the consumer's id.
fn hash_password(all: &Entities, draft: &mut Draft) -> Result<(), Fault> {
    if all.hashed {
        return Ok(());
    }
    all_or_none(draft, "password", "consumer.id")?;
    let given = draft.patch.as_ref().unwrap_or(&draft.body);
    let Some(password) = given.get("password").and_then(Value::exposed_str) else { return Ok(()) };
    let Some(consumer) = target_of(&draft.body, "consumer") else { return Ok(()) };
    let mut hash = Sha1::new();
    hash.update(password.as_bytes());
    hash.update(consumer.to_string().as_bytes());
    draft.body.set("password", HEXLOWER.encode(&hash.finalize()).into());
    Ok(())
}

/// Client secrets are kept as PBKDF2 hashes where the credential asks for it.
fn hash_secret(_: &Entities, draft: &mut Draft) -> Result<(), Fault> {
    all_or_none(draft, "hash_secret", "client_secret")?;
    let given = draft.patch.as_ref().unwrap_or(&draft.body);
    if given.get("hash_secret") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let Some(secret) = draft.body.get("client_secret").and_then(Value::exposed_str) else { return Ok(()) };
    let salt: [u8; 16] = rand::random();
    draft.body.set("client_secret", pbkdf2_text(secret, &salt).into());
    Ok(())
}

/// CA certificates are known by the SHA-256 of their DER form.
fn digest(_: &Entities, draft: &mut Draft) -> Result<(), Fault> {
    let Some(pem) = draft.body.get("cert").and_then(Value::exposed_str) else { return Ok(()) };
    if let Ok((_, pem)) = parse_x509_pem(pem.as_bytes()) {
        draft.body.set("cert_digest", HEXLOWER.encode(&Sha256::digest(&pem.contents)).into());
    }
    Ok(())
}

/// Services and plugins name CA certificates by id, without a foreign key.
fn unused_ca(all: &Entities, tx: &mut Tx<'_>, id: Uuid) -> Result<(), Fault> {
    let text = id.to_string();
    let named = |list: Option<&Value>| {
        let items = list.and_then(Value::as_array).unwrap_or_default();
        items.iter().any(|item| item.exposed_str() == Some(&text))
    };
    for (kind, within) in [("services", None), ("plugins", Some("config"))] {
        for row in tx.all(all.plane, kind)? {
            let body = body_of(&row)?;
            let holder = within.map_or(Some(&body), |field| body.get(field));
            if named(holder.and_then(|holder| holder.get("ca_certificates"))) {
                let message =
                    format!("ca certificate {text} is still referenced by {kind} (id = {})", row.id);
                return Err(Fault::StillReferenced(message));
            }
        }
    }
    Ok(())
}

/// The names in a request's `snis`, sorted; `None` when it says nothing of them.
fn names_in(value: Option<&Value>) -> Result<Option<Vec<Box<str>>>, Fault> {
    let items = match value {
        None => return Ok(None),
        Some(Value::Array(items)) => items.as_slice(),
        Some(_) => &[],
    };
    let mut names = BTreeSet::new();
    for name in items.iter().filter_map(Value::exposed_str) {
        if !names.insert(Box::from(name)) {
            return Err(Fault::field(Path::root().key("snis"), format!("{name} is duplicated")));
        }
    }
    Ok(Some(names.into_iter().collect()))
}

/// SNIs that a request gives to a certificate must be free, or the certificate's own.
fn claim_snis(all: &Entities, tx: &mut Tx<'_>, draft: &mut Draft) -> Result<(), Fault> {
    let asked = draft.patch.as_ref().unwrap_or(&draft.body).get("snis");
    let Some(names) = names_in(asked)? else { return Ok(()) };
    let own = id_in(&draft.body, "id");
    let snis = all.kind("snis")?;
    for name in names {
        // A name that cannot be one is told by the checks.
        let Ok(Some(row)) = all.find(tx, snis, &Mark::Field("name".into(), Value::from(&*name))) else {
            continue;
        };
        let holder = target_of(&body_of(&row)?, "certificate");
        if let Some(holder) = holder.filter(|holder| Some(*holder) != own) {
            let message = format!("{name} already associated with existing certificate '{holder}'");
            return Err(Fault::field(Path::root().key("snis"), message));
        }
    }
    Ok(())
}

/// Makes a certificate's SNIs those of the request.
fn write_snis(all: &Entities, tx: &mut Tx<'_>, draft: &Draft) -> Result<(), Fault> {
    let Some(id) = id_in(&draft.body, "id") else { return Ok(()) };
    // A null in a stored body is no wish; one in a request is.
    let asked = match &draft.patch {
        Some(patch) => patch.get("snis"),
        // Written over without a word of them, a certificate loses them.
        None => draft.transient.get("snis").or(draft.held.as_ref().map(|_| &Value::Null)),
    };
    let Some(names) = names_in(asked)? else { return Ok(()) };
    let snis = all.kind("snis")?;
    let held = held_snis(all, tx, id)?;
    for name in names.iter().filter(|name| !held.contains(name)) {
        let mut body = Value::object();
        body.set("name", Value::from(&**name));
        body.set("certificate", reference_to(id));
        all.insert(tx, snis, body)?;
    }
    for name in held.iter().filter(|name| !names.contains(name)) {
        all.delete(tx, snis, &Mark::Field("name".into(), Value::from(&**name)))?;
    }
    Ok(())
}

fn held_snis(all: &Entities, tx: &Tx<'_>, id: Uuid) -> Result<Vec<Box<str>>, Fault> {
    let rows = tx.page_referencing(all.plane, "snis", "certificate", id, None, MANY)?;
    let mut names = Vec::with_capacity(rows.len());
    for row in &rows {
        names.extend(body_of(row)?.get("name").and_then(Value::exposed_str).map(Box::from));
    }
    names.sort_unstable();
    Ok(names)
}

/// Certificates are answered with the names of their SNIs.
fn show_snis(all: &Entities, tx: &Tx<'_>, body: &mut Value) -> Result<(), Fault> {
    let Some(id) = id_in(body, "id") else { return Ok(()) };
    let names = held_snis(all, tx, id)?;
    body.set("snis", Value::Array(names.iter().map(|name| Value::from(&**name)).collect()));
    Ok(())
}

/// A certificate takes its SNIs with it, although they reference it without a cascade.
fn remove_snis(all: &Entities, tx: &mut Tx<'_>, id: Uuid) -> Result<(), Fault> {
    let snis = all.kind("snis")?;
    for name in held_snis(all, tx, id)? {
        all.delete(tx, snis, &Mark::Field("name".into(), Value::from(&*name)))?;
    }
    Ok(())
}
