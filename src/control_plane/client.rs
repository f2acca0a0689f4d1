//! The client of the Admin API and of Konnect: paths, pages, errors. The two differ by a [`Dialect`] only.
//!
//! What does not live here: connections and retries (`http`), which lists make up a state (`read`).

use super::http::{Answer, Http, Request};
use super::{Connection, ControlPlane, Error, Info, LARGEST_PAGE, List, Page, Write, WriteAction, faults};
use crate::schema::{Field, Flavor, Kind, OnDelete, Schemas, Type};
use crate::value::Value;
use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// How Kong begins to say that an endpoint is there but switched off.
const SWITCHED_OFF: &str = "this endpoint is only available when";
/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where the two APIs differ.
#[derive(Clone, Debug)]
enum Dialect {
    /// Kong's Admin API; the workspace stands in front of every path.
    Admin { workspace: Option<String> },
    /// Konnect's core entities of one control plane.
    Konnect { control_plane: Uuid },
}

impl Dialect {
    fn prefix(&self) -> String {
        match self {
            Dialect::Admin { workspace: None } => String::new(),
            Dialect::Admin { workspace: Some(name) } => format!("/{}", segment(name)),
            Dialect::Konnect { control_plane } => format!("/v2/control-planes/{control_plane}/core-entities"),
        }
    }

    fn collection<'k>(&self, kind: &'k Kind) -> &'k str {
        match self {
            Dialect::Admin { .. } => &kind.path,
            Dialect::Konnect { .. } => &kind.konnect_path,
        }
    }

    fn is_konnect(&self) -> bool {
        matches!(self, Dialect::Konnect { .. })
    }
}

/// A client of one control plane, or of one workspace of a gateway.
pub struct Client {
    http: Http,
    dialect: Dialect,
    schemas: OnceLock<Arc<Schemas>>,
    skip_hash: bool,
}

/// Where one entity is found and written.
struct Spot<'k> {
    /// The list that holds it.
    collection: String,
    /// What follows: its id, or the values that stand for one.
    tail: String,
    /// The foreign field that the path says already.
    said: Option<&'k str>,
}

impl Spot<'_> {
    fn path(&self) -> String {
        format!("{}/{}", self.collection, self.tail)
    }
}

/// The parent of an entity: the foreign field, the parent's kind and its id.
type Parent<'k> = (&'k str, Arc<Kind>, Uuid);

/// What `GET /` says.
#[derive(Deserialize)]
struct Root {
    version: String,
    #[serde(default)]
    configuration: RootConfiguration,
    #[serde(default)]
    plugins: RootPlugins,
}

#[derive(Default, Deserialize)]
struct RootConfiguration {
    database: Option<String>,
}

#[derive(Default, Deserialize)]
struct RootPlugins {
    #[serde(default)]
    enabled_in_cluster: Json,
}

#[derive(Deserialize)]
struct Rows {
    data: Vec<Value>,
    next: Option<String>,
    offset: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: Uuid,
    name: String,
}

#[derive(Deserialize)]
struct NamedList {
    data: Vec<Named>,
}

impl Client {
    /// A client of an Admin API. Nothing is sent yet.
    pub async fn admin(connection: &Connection, workspace: Option<&str>) -> Result<Self, Error> {
        let dialect = Dialect::Admin { workspace: workspace.map(str::to_owned) };
        let http = Http::new(connection).await?;
        Ok(Client { http, dialect, schemas: OnceLock::new(), skip_hash: connection.skip_hash })
    }

    /// A client of the Konnect control plane with this name, which is looked up.
    pub async fn konnect(connection: &Connection, name: &str) -> Result<Self, Error> {
        let http = Http::new(connection).await?;
        let request =
            Request::get("/v2/control-planes").query("filter[name][eq]", name).query("page[size]", "100");
        let answer = http.call(&request).await?;
        let list: NamedList = read(&http, succeeded(&http, None, &Value::Null, answer)?)?;
        let found = list.data.into_iter().find(|plane| plane.name == name);
        let Some(plane) = found else {
            return Err(Error::NoControlPlane {
                address: http.address,
                what: "control plane",
                name: name.to_owned(),
            });
        };
        let dialect = Dialect::Konnect { control_plane: plane.id };
        Ok(Client { http, dialect, schemas: OnceLock::new(), skip_hash: connection.skip_hash })
    }

    /// The name of the organization in Konnect that the token is of; `None` where it is not told: a token may be good for
    /// control planes only.
    pub async fn organization(&self) -> Option<String> {
        let told = self.optional_json("/v2/organizations/me".to_owned()).await.ok().flatten()?;
        told.get("name")?.as_str().map(str::to_owned)
    }

    /// The names of all workspaces of a gateway.
    pub async fn workspaces(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut offset = None;
        loop {
            let mut request = Request::get("/workspaces").query("size", LARGEST_PAGE.to_string());
            if let Some(offset) = offset {
                request = request.query("offset", offset);
            }
            let page = self.rows(&request, None).await?.unwrap_or_default();
            names.extend(page.rows.iter().filter_map(|row| row.get("name")?.as_str()).map(str::to_owned));
            match page.next {
                Some(next) => offset = Some(next),
                None => return Ok(names),
            }
        }
    }

    /// Whether the gateway has this client's workspace; also true when the client has none of its own.
    pub async fn workspace_exists(&self) -> Result<bool, Error> {
        let Dialect::Admin { workspace: Some(name) } = &self.dialect else {
            return Ok(true);
        };
        let answer = self.http.call(&Request::get(format!("/workspaces/{}", segment(name)))).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        succeeded(&self.http, None, &Value::Null, answer).map(|_| true)
    }

    /// Makes this client's workspace.
    pub async fn create_workspace(&self) -> Result<(), Error> {
        let Dialect::Admin { workspace: Some(name) } = &self.dialect else {
            return Ok(());
        };
        let body = Value::from(json!({"name": name}));
        // PUT by name may be repeated; POST may not.
        let request = Request::with_body(Method::PUT, format!("/workspaces/{}", segment(name)), &body);
        let answer = self.http.call(&request).await?;
        succeeded(&self.http, None, &body, answer).map(|_| ())
    }

    /// Loads a whole configuration into a gateway without a database, atomically.
    pub async fn load(&self, configuration: &Value) -> Result<(), Error> {
        let request = Request::with_body(Method::POST, "/config", configuration).query("check_hash", "1");
        let answer = self.http.call(&request).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(());
        }
        succeeded(&self.http, None, configuration, answer).map(|_| ())
    }

    /// The plugins, and fields of plugins (`http-log.custom_fields_by_lua`), of which the gateway said so far that it keeps
    /// and does not execute them, as the built-in one does. Kong never says so.
    pub fn skipped(&self) -> BTreeSet<String> {
        self.http.skipped()
    }

    /// Makes known what the kinds are: where parents are found, and what traces must not show.
    pub fn learn(&self, schemas: &Arc<Schemas>) {
        // The first ones stay; they differ in nothing that matters here.
        let _ = self.schemas.set(schemas.clone());
    }

    /// Whether the gateway knows this path (404 otherwise).
    async fn optional_json(&self, path: String) -> Result<Option<Json>, Error> {
        let answer = self.http.call(&Request::get(path)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = succeeded(&self.http, None, &Value::Null, answer)?;
        read(&self.http, answer).map(Some)
    }

    /// The rows of one page; `None` when there is no such list, or when the gateway has it switched off (filter chains
    /// where WebAssembly is off).
    async fn rows(&self, request: &Request<'_>, kind: Option<&Kind>) -> Result<Option<Page>, Error> {
        let answer = self.http.call(request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = match succeeded(&self.http, kind, &Value::Null, answer) {
            Err(Error::Refused { status: 400, message, .. }) if message.contains(SWITCHED_OFF) => {
                return Ok(None);
            }
            answer => answer?,
        };
        let page: Rows = read(&self.http, answer)?;
        let next = page.offset.or_else(|| page.next.as_deref().and_then(offset_of));
        self.trace_rows(&page.data);
        Ok(Some(Page { rows: page.data, next }))
    }

    fn trace_rows(&self, rows: &[Value]) {
        // Only how many: a plain field (a path, a tag) may hold what once was a variable's secret text.
        self.http.trace(2, || format!("< {} rows", rows.len()));
    }

    /// Where one entity is found and written.
    fn spot<'k>(&self, kind: &'k Kind, id: Uuid, body: &Value) -> Result<Spot<'k>, Error> {
        let Some((field, parent, parent_id)) = self.parent_of(kind, body)? else {
            let collection = format!("{}/{}", self.dialect.prefix(), self.dialect.collection(kind));
            return Ok(Spot { collection, tail: id.to_string(), said: None });
        };
        let collection = self.below(&parent, parent_id, kind);
        let tail = if kind.addressed_by.is_empty() {
            id.to_string()
        } else {
            let parts = kind.addressed_by.iter().map(|name| segment(&text_of(body.get(name))));
            parts.collect::<Vec<_>>().join("/")
        };
        Ok(Spot { collection, tail, said: Some(field) })
    }

    fn below(&self, parent: &Kind, id: Uuid, kind: &Kind) -> String {
        format!("{}/{}/{id}/{}", self.dialect.prefix(), self.dialect.collection(parent), kind.nested_path)
    }

    /// The parent through which an entity is addressed: the field, the parent's kind and its id.
    fn parent_of<'k>(&self, kind: &'k Kind, body: &Value) -> Result<Option<Parent<'k>>, Error> {
        let konnect = self.dialect.is_konnect();
        let found = kind.record.foreign().find(|(field, reference)| match &kind.only_under {
            Some(parent) => &**parent == *reference,
            // Konnect writes children below the parent that they cannot be without.
            None => konnect && field.required && cascades(&field.ty),
        });
        let Some((field, reference)) = found else {
            return Ok(None);
        };
        let missing = |what: &str| self.http.unexpected(format!("{} without {what}", kind.report.word));
        let parent = self.schemas.get().and_then(|schemas| schemas.kind(reference).cloned());
        let parent = parent.ok_or_else(|| missing("a known parent"))?;
        let id = body.get(&field.name).and_then(|reference| id_of(reference.get("id")));
        Ok(Some((&field.name, parent, id.ok_or_else(|| missing(&format!("its {}", field.name)))?)))
    }

    /// Whether a write whose answer was lost was carried out.
    async fn settled(&self, write: &Write<'_>) -> Result<bool, Error> {
        let stored = self.get(write.kind, write.id, write.body).await?;
        Ok(match stored {
            None => write.action == WriteAction::Delete,
            Some(stored) => write.action != WriteAction::Delete && covers(&stored, write.body),
        })
    }

    fn request<'w>(&self, write: &'w Write<'_>, body: &'w mut Value) -> Result<Request<'w>, Error> {
        let spot = self.spot(write.kind, write.id, write.body)?;
        if write.action == WriteAction::Delete {
            return Ok(Request { method: Method::DELETE, path: spot.path(), ..Request::get("") });
        }
        *body = write.body.clone();
        if let Some(field) = spot.said {
            body.remove(field);
        }
        if write.kind.addressed_by.is_empty() {
            // Below a parent PUT finds only what is there already.
            let post = write.action == WriteAction::Create && write.kind.only_under.is_some();
            return Ok(if post {
                Request::with_body(Method::POST, spot.collection, body)
            } else {
                if write.kind.only_under.is_some() {
                    name_all(write.kind, body);
                }
                Request::with_body(Method::PUT, spot.path(), body)
            });
        }
        if write.kind.listed_in.is_some() {
            for name in write.kind.addressed_by.iter().map(|name| &**name).chain(["id"]) {
                body.remove(name);
            }
            return Ok(Request::with_body(Method::PUT, spot.path(), body));
        }
        flatten(body);
        if write.action == WriteAction::Create {
            return Ok(Request::with_body(Method::POST, spot.collection, body));
        }
        for name in &write.kind.addressed_by {
            body.remove(name);
        }
        name_all(write.kind, body);
        Ok(Request::with_body(Method::PATCH, spot.path(), body))
    }
}

#[async_trait]
impl ControlPlane for Client {
    fn address(&self) -> &str {
        &self.http.address
    }

    async fn info(&self) -> Result<Info, Error> {
        if self.dialect.is_konnect() {
            // The control plane was looked up by name already, with these credentials.
            return Ok(Info {
                version: None,
                flavor: Flavor::Kong314,
                konnect: true,
                dbless: false,
                plugins: Vec::new(),
            });
        }
        let answer = self.http.call(&Request::get("/")).await?;
        let root: Root = read(&self.http, succeeded(&self.http, None, &Value::Null, answer)?)?;
        let enterprise = root.version.contains("enterprise") || root.version.split('.').count() > 3;
        let flavor = if enterprise { Flavor::Kong314 } else { Flavor::Kong310 };
        let dbless = root.configuration.database.as_deref() == Some("off");
        // An empty list is served as an object by gateways that cannot tell the two apart.
        let plugins = root.plugins.enabled_in_cluster.as_array().into_iter().flatten();
        let plugins = plugins.filter_map(Json::as_str).map(str::to_owned).collect();
        Ok(Info { version: Some(root.version), flavor, konnect: false, dbless, plugins })
    }

    async fn kind_schema(&self, kind: &Kind) -> Result<Option<Json>, Error> {
        if !self.dialect.is_konnect() {
            return self.optional_json(format!("{}/schemas/{}", self.dialect.prefix(), kind.name)).await;
        }
        let path = format!("{}/v1/schemas/json/{}", self.dialect.prefix(), kind.report.word);
        Ok(self.optional_json(path).await?.map(|schema| {
            let mut served = kind.served.clone();
            overlay_defaults(&mut served, &schema);
            served
        }))
    }

    async fn plugin_schema(&self, name: &str) -> Result<Option<Json>, Error> {
        self.optional_json(format!("{}/schemas/plugins/{}", self.dialect.prefix(), segment(name))).await
    }

    fn lists_flat(&self, kind: &Kind) -> bool {
        kind.only_under.is_none() || (self.dialect.is_konnect() && kind.addressed_by.is_empty())
    }

    async fn page(&self, list: &List<'_>, next: Option<&str>) -> Result<Page, Error> {
        if let (Some(member), Some((parent, id))) = (&list.kind.listed_in, list.parent) {
            return self.listed_in(list.kind, member, parent, id).await;
        }
        let path = match list.parent {
            Some((parent, id)) => self.below(parent, id, list.kind),
            None => format!("{}/{}", self.dialect.prefix(), self.dialect.collection(list.kind)),
        };
        let mut request = Request::get(path).query("size", list.size.to_string());
        if !list.tags.is_empty() && list.kind.record.field("tags").is_some() {
            request = request.query("tags", list.tags.join(","));
        }
        if let Some(next) = next {
            request = request.query("offset", next);
        }
        let mut page = self.rows(&request, Some(list.kind)).await?.unwrap_or_default();
        if let Some((parent, id)) = list.parent {
            adopt_rows(list.kind, parent, id, &mut page.rows);
        }
        Ok(page)
    }

    async fn get(&self, kind: &Kind, id: Uuid, like: &Value) -> Result<Option<Value>, Error> {
        if !kind.addressed_by.is_empty() {
            return self.find_in_list(kind, id, like).await;
        }
        let path = self.spot(kind, id, like)?.path();
        self.one(kind, &Request::get(path)).await
    }

    async fn find(&self, kind: &Kind, key: &Value) -> Result<Option<Value>, Error> {
        let collection = format!("{}/{}", self.dialect.prefix(), self.dialect.collection(kind));
        let mut request = Request::get(format!("{collection}/{}", segment(&text_of(Some(key)))));
        let secret = key.is_secret()
            || kind
                .endpoint_key
                .as_ref()
                .and_then(|name| kind.record.field(name))
                .is_some_and(|field| field.secret);
        request.shown = secret.then(|| format!("{collection}/(secret)"));
        self.one(kind, &request).await
    }

    async fn write(&self, write: &Write<'_>) -> Result<(), Error> {
        let mut body = Value::Null;
        let mut request = self.request(write, &mut body)?;
        if (self.skip_hash || write.hashed) && write.action != WriteAction::Delete {
            // It means nothing to kinds without a hashed password.
            request = request.query("skip_hash", "true");
        }
        let mut patience = self.http.patience();
        let answer = loop {
            match self.http.once(&request).await? {
                Ok(answer) => break answer,
                Err(failure) => {
                    patience.wait(&failure).await?;
                    if failure.lost && self.settled(write).await? {
                        return Ok(());
                    }
                }
            }
        };
        if answer.status == StatusCode::NOT_FOUND {
            match write.action {
                WriteAction::Delete => return Ok(()),
                // It was taken away in between, to be put anew.
                WriteAction::Replace if write.kind.only_under.is_some() => {
                    return self.write(&Write { action: WriteAction::Create, ..write.clone() }).await;
                }
                _ => {}
            }
        }
        let answer = succeeded(&self.http, Some(write.kind), write.body, answer)?;
        if write.action == WriteAction::Delete || answer.body.is_empty() {
            return Ok(());
        }
        // What is stored is of no use here, but an answer that is no JSON is not a gateway's.
        read::<IgnoredAny>(&self.http, answer).map(|_| ())
    }

    async fn validate(&self, kind: &Kind, body: &Value) -> Result<Option<Error>, Error> {
        let path = match self.dialect {
            Dialect::Admin { .. } => format!("{}/schemas/{}/validate", self.dialect.prefix(), kind.name),
            Dialect::Konnect { .. } => {
                format!("{}/schemas/{}/validate", self.dialect.prefix(), kind.report.word)
            }
        };
        let answer = self.http.call(&Request::with_body(Method::POST, path, body)).await?;
        match succeeded(&self.http, Some(kind), body, answer) {
            Ok(_) => Ok(None),
            Err(refused @ Error::Refused { status: 400 | 404, .. }) => Ok(Some(refused)),
            Err(error) => Err(error),
        }
    }
}

impl Client {
    async fn one(&self, kind: &Kind, request: &Request<'_>) -> Result<Option<Value>, Error> {
        let answer = self.http.call(request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = succeeded(&self.http, Some(kind), &Value::Null, answer)?;
        let row = unwrapped(read(&self.http, answer)?);
        self.trace_rows(std::slice::from_ref(&row));
        Ok(Some(row))
    }

    /// The rows that stand in what is answered of their parent, without its other lists.
    async fn listed_in(&self, kind: &Kind, member: &str, parent: &Kind, id: Uuid) -> Result<Page, Error> {
        let path = format!("{}/{}/{id}", self.dialect.prefix(), self.dialect.collection(parent));
        let kinds = self.schemas.get().map_or(&[][..], |schemas| schemas.kinds()).iter();
        let beside = kinds.filter(|other| other.only_under == kind.only_under);
        let others = beside.filter_map(|other| Some(format!("list_{}s", other.rows_of.as_ref()?)));
        let request = others.fold(Request::get(path), |request, list| request.query(list, "false"));
        let answer = self.http.call(&request).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Page::default());
        }
        let mut answer: Value = read(&self.http, succeeded(&self.http, Some(parent), &Value::Null, answer)?)?;
        let mut rows = match answer.remove(member) {
            Some(Value::Array(rows)) => rows,
            _ => Vec::new(),
        };
        adopt_rows(kind, parent, id, &mut rows);
        self.trace_rows(&rows);
        Ok(Page { rows, next: None })
    }

    /// A kind without an id of its own cannot be asked for; its list can.
    async fn find_in_list(&self, kind: &Kind, id: Uuid, like: &Value) -> Result<Option<Value>, Error> {
        let Some((_, parent, parent_id)) = self.parent_of(kind, like)? else {
            return Ok(None);
        };
        let list = List { kind, tags: &[], parent: Some((&parent, parent_id)), size: LARGEST_PAGE };
        let mut next: Option<String> = None;
        loop {
            let page = self.page(&list, next.as_deref()).await?;
            let wanted = synthetic_id(kind, parent_id, like);
            let found = page.rows.into_iter().find(|row| {
                let row_id = id_of(row.get("id"));
                row_id == Some(id) || row_id == Some(wanted)
            });
            match (found, page.next) {
                (Some(row), _) => return Ok(Some(row)),
                (None, None) => return Ok(None),
                (None, Some(more)) => next = Some(more),
            }
        }
    }
}

/// The id by which the client knows an entity that has none of its own: the same for the same address.
pub fn synthetic_id(kind: &Kind, parent: Uuid, body: &Value) -> Uuid {
    let tail: Vec<String> = kind.addressed_by.iter().map(|name| text_of(body.get(name))).collect();
    Uuid::new_v5(&parent, format!("{}/{}", kind.name, tail.join("/")).as_bytes())
}

/// An entity that is answered together with what belongs to it (`{"consumer_group": {...}, "consumers": [...]}`), alone.
fn unwrapped(mut row: Value) -> Value {
    if row.get("id").is_some() {
        return row;
    }
    let inner = row.as_object_mut().and_then(|members| {
        members
            .iter_mut()
            .find(|(_, member)| member.get("id").is_some())
            .map(|(_, member)| std::mem::take(member))
    });
    inner.unwrap_or(row)
}

/// Makes the rows of a nested list entities of the kind: the parent's id goes in, and where the rows are those of
/// another kind (members of a group), they become references.
fn adopt_rows(kind: &Kind, parent: &Kind, parent_id: Uuid, rows: &mut [Value]) {
    let reference = |id: Value| Value::Object([("id".into(), id)].into_iter().collect());
    let parent_field =
        kind.record.foreign().find(|(_, name)| **name == *parent.name).map(|(field, _)| &field.name);
    for row in rows {
        if let Some(field) = &kind.rows_of {
            let id = row.get("id").cloned().unwrap_or_default();
            *row = Value::object();
            row.set(field, reference(id));
        }
        if let Some(field) = parent_field {
            row.set(field, reference(Value::from(parent_id.to_string())));
        }
        if !kind.addressed_by.is_empty() {
            row.set("id", Value::from(synthetic_id(kind, parent_id, row).to_string()));
        }
    }
}

/// Puts the defaults of a JSON Schema over those of a schema in Kong's notation, record by record.
fn overlay_defaults(served: &mut Json, schema: &Json) {
    let fields = served.get_mut("fields").and_then(Json::as_array_mut);
    for (name, field) in fields.into_iter().flatten().filter_map(Json::as_object_mut).flatten() {
        let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) else {
            continue;
        };
        if let (Some(default), Some(field)) = (property.get("default"), field.as_object_mut()) {
            field.insert("default".into(), default.clone());
        }
        overlay_defaults(field, property);
    }
}

fn cascades(ty: &Type) -> bool {
    matches!(ty, Type::Foreign { on_delete: OnDelete::Cascade, .. })
}

/// Says null for every optional field that the entity does not have: below a parent, gateways keep what a write
/// does not name.
fn name_all(kind: &Kind, body: &mut Value) {
    let optional =
        |field: &&Field| !field.auto && !field.required && field.default.is_none() && !field.transient;
    for field in kind.record.fields.iter().filter(optional) {
        if body.get(&field.name).is_none() && !matches!(field.ty, Type::Foreign { .. }) {
            body.set(&field.name, Value::Null);
        }
    }
}

/// The body of an entity without an id of its own: references as bare ids, lists joined by commas.
fn flatten(body: &mut Value) {
    body.remove("id");
    for (_, member) in body.as_object_mut().into_iter().flat_map(|members| members.iter_mut()) {
        if let Some(id) = member.get("id").cloned() {
            *member = id;
        } else if let Some(items) = member.as_array() {
            let texts: Vec<String> = items.iter().map(|item| text_of(Some(item))).collect();
            *member = Value::from(texts.join(","));
        }
    }
}

/// The text of a scalar or of a reference's id, for an address.
fn text_of(value: Option<&Value>) -> String {
    match value.map(Value::exposed) {
        Some(Value::String(text)) => text.clone(),
        Some(object @ Value::Object(_)) => text_of(object.get("id")),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A UUID in a value.
pub(super) fn id_of(value: Option<&Value>) -> Option<Uuid> {
    value.and_then(Value::exposed_str).and_then(|text| Uuid::parse_str(text).ok())
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn offset_of(next: &str) -> Option<String> {
    let (_, query) = next.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "offset")
        .map(|(_, value)| value.into_owned())
}

/// The answer when it is a success; otherwise the error it stands for.
fn succeeded(http: &Http, kind: Option<&Kind>, sent: &Value, answer: Answer) -> Result<Answer, Error> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = answer.status.as_u16();
    let message = faults::message(kind, sent, &body);
    Err(match status {
        401 | 403 => Error::Unauthorized { address: http.address.clone(), status, message },
        _ => Error::Refused { status, message },
    })
}

fn read<T: for<'de> Deserialize<'de>>(http: &Http, answer: Answer) -> Result<T, Error> {
    // Where it is wrong, not what stands there: answers hold secrets.
    serde_json::from_slice(&answer.body).map_err(|error| {
        let what = if answer.body.is_empty() { "it is empty" } else { "it is not the JSON of its API" };
        http.unexpected(format!("{what} (line {}, column {})", error.line(), error.column()))
    })
}

/// Whether what is stored says all that was sent. Absent and null count as the same; lists may be reordered.
fn covers(stored: &Value, sent: &Value) -> bool {
    match (stored.exposed(), sent.exposed()) {
        (Value::Object(stored), Value::Object(sent)) => {
            sent.iter().all(|(key, sent)| match stored.get(key) {
                Some(stored) => covers(stored, sent),
                None => sent.is_null(),
            })
        }
        (Value::Array(stored), Value::Array(sent)) => {
            stored.len() == sent.len()
                && sent.iter().all(|item| stored.iter().any(|other| covers(other, item)))
        }
        (stored, sent) => stored == sent,
    }
}
