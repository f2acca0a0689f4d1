//! Control planes themselves, and what hangs below them beside entities.

use super::words::Problem;
use super::{CONTROL_PLANES, Konnect, members, stores};
use crate::gateway::entities::Records;
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::Call;
use crate::gateway::store::{PlaneId, Tx};
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use md5::{Digest, Md5};
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// How many rows a page has unless the client says otherwise, and at most.
const PAGE: usize = 10;
const MAX_PAGE: usize = 1000;
/// What a control plane can be, the usual first.
const CLUSTER_TYPES: [&str; 6] = [
    "CLUSTER_TYPE_CONTROL_PLANE",
    "CLUSTER_TYPE_K8S_INGRESS_CONTROLLER",
    "CLUSTER_TYPE_CONTROL_PLANE_GROUP",
    "CLUSTER_TYPE_SERVERLESS",
    "CLUSTER_TYPE_KAFKA_NATIVE_EVENT_PROXY",
    "CLUSTER_TYPE_SERVERLESS_V1",
];

/// The certificates with which data planes connect to a control plane.
const CERTIFICATES: Records =
    Records { kind: "dp_client_certificates", plane: 0, unique: &[], owner: Some("control_plane") };

/// The time as Konnect's platform writes it.
pub(super) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}

/// A page of rows, by `page[size]` and `page[number]`.
pub(super) fn paged(rows: Vec<Json>, call: &Call) -> Result<Reply, Problem> {
    let number = |name: &str, default: usize| match call.argument(name) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(|| {
            Problem::Invalid(vec![(name.to_owned(), "must be a positive integer".to_owned())])
        }),
    };
    let size = number("page[size]", PAGE)?.min(MAX_PAGE);
    let page = number("page[number]", 1)?;
    let total = rows.len();
    let rows: Vec<Json> = rows.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
    let meta = json!({"page": {"total": total, "size": size, "number": page}});
    Ok(Reply::json(StatusCode::OK, &json!({"data": rows, "meta": meta})))
}

/// The JSON object in a body.
pub(super) fn object(request: &Request) -> Result<Map<String, Json>, Problem> {
    match serde_json::from_slice(&request.body) {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(Problem::Invalid(vec![(String::new(), "must be a JSON object".to_owned())])),
    }
}

/// Refuses members that are not known, texts that are none, and texts outside their lengths.
pub(super) fn check(
    members: &Map<String, Json>,
    known: &[&str],
    texts: &[(&str, usize, usize)],
) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
        faults.push((name.clone(), "must NOT have additional properties".to_owned()));
    }
    for (name, least, most) in texts {
        match members.get(*name) {
            None if *least > 0 => faults.push(((*name).to_owned(), "is a required property".to_owned())),
            None => {}
            Some(Json::String(text)) if (*least..=*most).contains(&text.chars().count()) => {}
            Some(Json::String(_)) => {
                faults.push(((*name).to_owned(), format!("must have {least} to {most} characters")));
            }
            Some(_) => faults.push(((*name).to_owned(), "must be a string".to_owned())),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::Invalid(faults)) }
}

/// Whether a record passes the filters of a list: `filter[name][eq]` and its like.
fn passes(row: &Json, call: &Call) -> bool {
    let fields = ["id", "name", "config.cluster_type"];
    fields.iter().all(|path| {
        let field = path.rsplit('.').next().unwrap_or(path);
        let held = path
            .split('.')
            .try_fold(row, |value, key| value.get(key))
            .and_then(Json::as_str)
            .unwrap_or_default();
        let asked = |operator: &str| call.argument(&format!("filter[{field}]{operator}"));
        asked("").is_none_or(|text| text == held)
            && asked("[eq]").is_none_or(|text| text == held)
            && asked("[oeq]").is_none_or(|text| text.split(',').any(|one| one == held))
            && asked("[neq]").is_none_or(|text| text != held)
            && asked("[contains]").is_none_or(|text| held.contains(text))
    })
}

fn id_of(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::Absent)
}

/// The plane of a control plane.
pub(super) fn plane(tx: &Tx<'_>, id: &str) -> Result<PlaneId, Problem> {
    CONTROL_PLANES.plane_of(tx, id_of(id)?)?.ok_or(Problem::Absent)
}

impl Konnect {
    /// `/konnect-api/api/runtime_groups`, which older clients ask for.
    pub(super) async fn runtime_groups(&self, call: &Call) -> Result<Reply, Problem> {
        if call.method != Method::GET {
            return Err(Problem::Method);
        }
        let rows = self.store.run(|tx| Ok::<_, Problem>(CONTROL_PLANES.all(tx, None)?)).await?;
        let rows: Vec<Json> =
            rows.iter().map(|row| json!({"id": row.get("id"), "name": row.get("name")})).collect();
        Ok(Reply::json(StatusCode::OK, &json!({"data": rows, "page": 1, "pageCount": 1})))
    }

    /// `/v2/control-planes`
    pub(super) async fn control_planes(&self, call: &Call, request: &Request) -> Result<Reply, Problem> {
        match call.method {
            Method::GET => {
                let rows = self.store.run(|tx| Ok::<_, Problem>(CONTROL_PLANES.all(tx, None)?)).await?;
                paged(rows.into_iter().filter(|row| passes(row, call)).collect(), call)
            }
            Method::POST => {
                let row = created(object(request)?)?;
                let kept = row.clone();
                self.store.run(move |tx| put(tx, &kept)).await?;
                Ok(Reply::json(StatusCode::CREATED, &row))
            }
            _ => Err(Problem::Method),
        }
    }

    /// `/v2/control-planes/{id}`
    pub(super) async fn control_plane(
        &self,
        id: &str,
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let id = id_of(id)?;
        match call.method {
            Method::GET => {
                let row = self.store.run(move |tx| Ok::<_, Problem>(CONTROL_PLANES.get(tx, id)?)).await?;
                Ok(Reply::json(StatusCode::OK, &row.ok_or(Problem::Absent)?))
            }
            Method::PATCH => {
                let changes = object(request)?;
                check(
                    &changes,
                    &["name", "description", "auth_type", "proxy_urls", "labels"],
                    &[("name", 0, 256), ("description", 0, 2048)],
                )?;
                let row = self.store.run(move |tx| change(tx, id, changes)).await?;
                Ok(Reply::json(StatusCode::OK, &row))
            }
            Method::DELETE => {
                let found = self.store.run(move |tx| {
                    if let Some(plane) = CONTROL_PLANES.plane_of(tx, id)? {
                        tx.clear(plane)?;
                    }
                    for certificate in CERTIFICATES.all(tx, Some(id))? {
                        let certificate = certificate.get("id").and_then(Json::as_str).unwrap_or_default();
                        CERTIFICATES.delete(tx, id_of(certificate)?)?;
                    }
                    stores::remove_all(tx, id)?;
                    members::remove_all(tx, id)?;
                    Ok::<_, Problem>(CONTROL_PLANES.delete(tx, id)?)
                });
                if found.await? { Ok(Reply::empty(StatusCode::NO_CONTENT)) } else { Err(Problem::Absent) }
            }
            _ => Err(Problem::Method),
        }
    }

    /// What hangs below a control plane beside its entities.
    pub(super) async fn below_control_plane(
        &self,
        id: &str,
        what: &str,
        rest: &[String],
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let owner = id_of(id)?;
        self.store
            .run(move |tx| Ok::<_, Problem>(CONTROL_PLANES.get(tx, owner)?))
            .await?
            .ok_or(Problem::Absent)?;
        match (what, rest, &call.method) {
            ("config-stores", ..) => self.config_stores(owner, rest, call, request).await,
            ("group-memberships" | "group-status" | "group-member-status", ..) => {
                self.group(owner, what, rest, call, request).await
            }
            ("expected-config-hash", [], &Method::GET) => {
                let (hash, now) = self.store.run(move |tx| expected(tx, owner)).await?;
                let body = json!({"expected_hash": hash, "created_at": now, "updated_at": now});
                Ok(Reply::json(StatusCode::OK, &body))
            }
            ("expected-config-version", [], &Method::GET) => {
                let (hash, now) = self.store.run(move |tx| expected(tx, owner)).await?;
                Ok(Reply::json(StatusCode::OK, &json!({"expected_config_version": hash, "created_at": now})))
            }
            ("dp-client-certificates", [], &Method::GET) => {
                let rows =
                    self.store.run(move |tx| Ok::<_, Problem>(CERTIFICATES.all(tx, Some(owner))?)).await?;
                let total = rows.len();
                let rows: Vec<Json> = rows.into_iter().map(without_owner).collect();
                Ok(Reply::json(StatusCode::OK, &json!({"items": rows, "page": {"total_count": total}})))
            }
            ("dp-client-certificates", [], &Method::POST) => {
                let mut members = object(request)?;
                check(&members, &["cert", "title"], &[("cert", 1, 64 * 1024), ("title", 0, 256)])?;
                let seconds = OffsetDateTime::now_utc().unix_timestamp();
                members.insert("id".to_owned(), json!(Uuid::new_v4()));
                members.insert("created_at".to_owned(), json!(seconds));
                members.insert("updated_at".to_owned(), json!(seconds));
                members.insert("control_plane".to_owned(), json!(owner));
                let row = Json::Object(members);
                let kept = row.clone();
                self.store
                    .run(move |tx| Ok::<_, Problem>(CERTIFICATES.put(tx, &kept)?))
                    .await?
                    .map_err(taken)?;
                Ok(Reply::json(StatusCode::CREATED, &json!({ "item": without_owner(row) })))
            }
            ("dp-client-certificates", [certificate], &Method::PUT) => {
                let changes = object(request)?;
                check(&changes, &["cert", "title"], &[("cert", 1, 64 * 1024), ("title", 0, 256)])?;
                let certificate = id_of(certificate)?;
                let row = self.store.run(move |tx| {
                    let row = CERTIFICATES.get(tx, certificate)?;
                    let mut row = row
                        .filter(|row| row.get("control_plane") == Some(&json!(owner)))
                        .ok_or(Problem::Absent)?;
                    if let Some(members) = row.as_object_mut() {
                        members.extend(changes);
                        members.insert("updated_at".to_owned(), (tx.now() as i64).into());
                    }
                    CERTIFICATES.put(tx, &row)?.map_err(taken)?;
                    Ok::<_, Problem>(row)
                });
                Ok(Reply::json(StatusCode::OK, &json!({ "item": without_owner(row.await?) })))
            }
            ("dp-client-certificates", [certificate], method @ (&Method::GET | &Method::DELETE)) => {
                let (certificate, delete) = (id_of(certificate)?, *method == Method::DELETE);
                let row = self.store.run(move |tx| {
                    let row = CERTIFICATES.get(tx, certificate)?;
                    let own = row.filter(|row| row.get("control_plane") == Some(&json!(owner)));
                    if delete && own.is_some() {
                        CERTIFICATES.delete(tx, certificate)?;
                    }
                    Ok::<_, Problem>(own)
                });
                let row = row.await?.ok_or(Problem::Absent)?;
                if delete {
                    return Ok(Reply::empty(StatusCode::NO_CONTENT));
                }
                Ok(Reply::json(StatusCode::OK, &json!({ "item": without_owner(row) })))
            }
            ("nodes", _, &Method::GET) if rest.is_empty() || rest == ["eol"] => {
                Ok(Reply::json(StatusCode::OK, &json!({"items": [], "page": {"total_count": 0}})))
            }
            _ => Err(Problem::Absent),
        }
    }
}

/// What tells the configurations of a control plane apart: the digest of all its entities, and the time.
fn expected(tx: &Tx<'_>, id: Uuid) -> Result<(String, i64), Problem> {
    let plane = CONTROL_PLANES.plane_of(tx, id)?.ok_or(Problem::Absent)?;
    let mut digest = Md5::new();
    for kind in tx.kinds(plane)? {
        for row in tx.all(plane, &kind)? {
            digest.update(kind.as_bytes());
            digest.update(row.body.as_bytes());
        }
    }
    let hash = HEXLOWER.encode(&digest.finalize());
    Ok((hash, tx.now() as i64))
}

fn without_owner(mut row: Json) -> Json {
    if let Some(members) = row.as_object_mut() {
        members.remove("control_plane");
    }
    row
}

/// Two records would share a value.
pub(super) fn taken(field: &str) -> Problem {
    Problem::Conflict(format!("{field} must be unique"))
}

fn put(tx: &mut Tx<'_>, row: &Json) -> Result<(), Problem> {
    CONTROL_PLANES.put(tx, row)?.map_err(taken)
}

/// A new control plane from a request.
fn created(given: Map<String, Json>) -> Result<Json, Problem> {
    let known = ["name", "description", "cluster_type", "auth_type", "cloud_gateway", "proxy_urls", "labels"];
    check(&given, &known, &[("name", 2, 256), ("description", 0, 2048)])?;
    let text =
        |name: &str, default: &str| given.get(name).and_then(Json::as_str).unwrap_or(default).to_owned();
    let cluster_type = text("cluster_type", CLUSTER_TYPES[0]);
    let auth_type = text("auth_type", "pinned_client_certs");
    if !CLUSTER_TYPES.contains(&&*cluster_type) {
        let message = format!("must be one of {}", CLUSTER_TYPES.join(", "));
        return Err(Problem::Invalid(vec![("cluster_type".to_owned(), message)]));
    }
    if !["pinned_client_certs", "pki_client_certs"].contains(&&*auth_type) {
        let message = "must be one of pinned_client_certs, pki_client_certs".to_owned();
        return Err(Problem::Invalid(vec![("auth_type".to_owned(), message)]));
    }
    let (id, now) = (Uuid::new_v4(), now());
    let host = id.simple().to_string();
    let host = host.get(..10).unwrap_or_default();
    Ok(json!({
        "id": id,
        "name": given.get("name"),
        "description": text("description", ""),
        "labels": given.get("labels").cloned().unwrap_or_else(|| json!({})),
        "config": {
            "control_plane_endpoint": format!("https://{host}.cp.localhost"),
            "telemetry_endpoint": format!("https://{host}.tp.localhost"),
            "cluster_type": cluster_type,
            "auth_type": auth_type,
            "cloud_gateway": given.get("cloud_gateway").and_then(Json::as_bool).unwrap_or(false),
            "proxy_urls": given.get("proxy_urls").cloned().unwrap_or_else(|| json!([])),
        },
        "created_at": now,
        "updated_at": now,
    }))
}

fn change(tx: &mut Tx<'_>, id: Uuid, changes: Map<String, Json>) -> Result<Json, Problem> {
    let mut row = CONTROL_PLANES.get(tx, id)?.ok_or(Problem::Absent)?;
    for (name, value) in changes {
        let inner = matches!(name.as_str(), "auth_type" | "proxy_urls");
        let place = if inner { row.get_mut("config") } else { Some(&mut row) };
        if let Some(members) = place.and_then(Json::as_object_mut) {
            members.insert(name, value);
        }
    }
    if let Some(members) = row.as_object_mut() {
        members.insert("updated_at".to_owned(), now().into());
    }
    put(tx, &row)?;
    Ok(row)
}
