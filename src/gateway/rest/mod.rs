//! Entities over HTTP, as the Admin API and Konnect share them: addresses, bodies, lists, and what each method does.
//!
//! What does not live here: the endpoints that are no entities, who may call, and the words of errors (`admin`,
//! `konnect`).

mod address;
mod answer;
mod body;
mod links;

pub(in crate::gateway) use address::{Address, Below, resolve, templates};
pub(in crate::gateway) use answer::{
    answer, escape, is_uuid, listed, naming_skipped, not_allowed, page_size, skipped_of,
};
pub(in crate::gateway) use body::Body;

use crate::gateway::entities::{Entities, Fault};
use crate::gateway::http::Request;
use crate::gateway::store::{PlaneId, Store};
use crate::schema::{Kind, Schemas, Type};
use crate::value::Value;
use body::Unreadable;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Whose addresses these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Dialect {
    /// The Admin API's.
    Admin,
    /// Konnect's `core-entities`.
    Konnect,
}

impl Dialect {
    /// The path of a kind's collection.
    pub fn path(self, kind: &Kind) -> &str {
        match self {
            Dialect::Admin => &kind.path,
            Dialect::Konnect => &kind.konnect_path,
        }
    }
}

/// A request, its path and query taken apart.
#[derive(Debug)]
pub(in crate::gateway) struct Call {
    /// Whose addresses the path's are.
    pub dialect: Dialect,
    /// The method; HEAD counts as GET.
    pub method: Method,
    /// The path's segments, decoded.
    pub path: Vec<String>,
    query: Vec<(String, Option<String>)>,
}

impl Call {
    /// Takes a request apart.
    pub fn of(request: &Request, dialect: Dialect) -> Result<Call, Fault> {
        let query = body::arguments(request.query.as_deref().unwrap_or_default().as_bytes());
        let too_many = || Fault::Refused(StatusCode::BAD_REQUEST, "Too many arguments".to_owned());
        let method = if request.method == Method::HEAD { Method::GET } else { request.method.clone() };
        Ok(Call { dialect, method, path: segments(&request.path), query: query.ok_or_else(too_many)? })
    }

    /// What the query says of a name.
    pub fn given(&self, name: &str) -> Given<'_> {
        let is_list = |key: &str| {
            let index = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
            index.is_some_and(|index| index.bytes().all(|digit| digit.is_ascii_digit()))
        };
        let mut found = self.query.iter().filter(|(key, _)| key == name || is_list(key));
        match (found.next(), found.next()) {
            (None, _) => Given::Nothing,
            (Some((key, Some(value))), None) if key == name => Given::Text(value),
            (Some((key, None)), None) if key == name => Given::Flag,
            (Some((_, first)), _) => Given::List(first.as_deref().unwrap_or_default()),
        }
    }

    /// The text of an argument that stands in the query once.
    pub fn argument(&self, name: &str) -> Option<&str> {
        match self.given(name) {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// What a query says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Given<'a> {
    /// Nothing.
    Nothing,
    /// `name=text`
    Text(&'a str),
    /// The name alone.
    Flag,
    /// The name several times, or `name[]`: the first of the texts.
    List(&'a str),
}

impl Entities {
    /// The entities that a request means. Enterprise clients may send passwords that are hashed already.
    pub fn of(schemas: &Arc<Schemas>, plane: PlaneId, shared: PlaneId, call: &Call) -> Self {
        let hashed = schemas.flavor().is_enterprise() && call.argument("skip_hash") == Some("true");
        Entities { schemas: Arc::clone(schemas), plane, shared, hashed }
    }
}

/// A path's segments, decoded; a slash at the end makes no difference.
fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
}

/// Reads the body of a request.
pub(in crate::gateway) async fn read_body(request: &Request) -> Result<Body, Fault> {
    body::read(request)
        .await
        .map_err(|Unreadable(status, message)| Fault::Refused(status, message.unwrap_or_default().to_owned()))
}

/// The body of a request that writes an entity at an address.
pub(in crate::gateway) async fn entity_body(
    store: &Store,
    all: &Entities,
    address: &Address,
    call: &Call,
    request: &Request,
) -> Result<Value, Fault> {
    let writes = matches!(call.method, Method::POST | Method::PUT | Method::PATCH);
    if !writes {
        return Ok(Value::object());
    }
    let kind = answer::written_kind(all, address)?;
    let mut read = read_body(request).await?;
    // A form's texts mean what the plugin says; a change need not name it again.
    if let (Body::Form(pairs), Some(subschema), &Method::PATCH) = (&mut read, &kind.subschema, &call.method)
        && !pairs.iter().any(|(name, _)| **name == *subschema.key)
    {
        let (all, address, key) = (all.clone(), address.clone(), subschema.key.clone());
        let named = store.run(move |tx| answer::held_text(&all, tx, &address, &key)).await?;
        pairs.extend(named.map(|text| (subschema.key.to_string(), Some(text))));
    }
    // Kong stumbles over bodies that are no objects.
    read.entity(&all.schemas, &kind).ok_or_else(|| Fault::Internal("a body that is no object".to_owned()))
}

/// What of a path is shown in logs: values of secret fields are left out.
pub(in crate::gateway) fn shown_path(schemas: &Schemas, path: &str) -> String {
    let mut secret_next = false;
    let parts = path.split('/').map(|part| {
        let hide = secret_next && !is_uuid(part);
        secret_next = schemas.kinds().iter().any(|kind| {
            let key = kind.endpoint_key.as_ref().and_then(|name| kind.record.field(name));
            let named = *kind.path == *part || *kind.nested_path == *part;
            named && key.is_some_and(|field| field.secret && matches!(field.ty, Type::String))
        });
        if hide { "***" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}
