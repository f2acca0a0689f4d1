//! The schemas of custom plugins that are told to a control plane (`core-entities/plugin-schemas`). They are kept;
//! plugins are checked with the bundled schemas only.

use super::Konnect;
use super::control_planes::{check, object, taken};
use super::words::Problem;
use crate::gateway::entities::Records;
use crate::gateway::http::{Reply, Request};
use crate::gateway::rest::Call;
use crate::gateway::store::{PlaneId, Tx};
use http::{Method, StatusCode};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

/// The longest schema, in bytes.
const MAX_SCHEMA: usize = 1024 * 1024;

fn records(plane: PlaneId) -> Records {
    Records { kind: "plugin_schemas", plane, unique: &["name"], owner: None }
}

impl Konnect {
    /// Answers a request below `plugin-schemas`.
    pub(super) async fn plugin_schemas(
        &self,
        plane: PlaneId,
        name: Option<&str>,
        call: &Call,
        request: &Request,
    ) -> Result<Reply, Problem> {
        let writes = matches!(call.method, Method::POST | Method::PUT);
        let given = if writes { Some(schema(&object(request)?)?) } else { None };
        let (method, name, bundled) = (call.method.clone(), name.map(str::to_owned), self.schemas.clone());
        self.store
            .run(move |tx| {
                let all = records(plane);
                let held = match &name {
                    Some(name) => all.find(tx, "name", name)?.map(|(row, _)| row),
                    None => None,
                };
                let item =
                    |status: StatusCode, row: &Json| Reply::json(status, &json!({ "item": shown(row) }));
                match (&name, &method, given) {
                    (None, &Method::GET, _) => {
                        let rows: Vec<Json> = all.all(tx, None)?.iter().map(shown).collect();
                        let page = json!({"total_count": rows.len()});
                        Ok(Reply::json(StatusCode::OK, &json!({"items": rows, "page": page})))
                    }
                    (None, &Method::POST, Some((name, text))) => {
                        if bundled.plugin(&name).is_some() {
                            return Err(Problem::Conflict(format!("plugin '{name}' exists already")));
                        }
                        put(tx, all, None, &name, &text).map(|row| item(StatusCode::CREATED, &row))
                    }
                    (Some(_), &Method::GET, _) => Ok(item(StatusCode::OK, &held.ok_or(Problem::Absent)?)),
                    (Some(name), &Method::PUT, Some((given, text))) => {
                        if *name != given {
                            let reason = "the schema's name must be that in the address".to_owned();
                            return Err(Problem::Invalid(vec![("lua_schema".to_owned(), reason)]));
                        }
                        put(tx, all, held, name, &text).map(|row| item(StatusCode::OK, &row))
                    }
                    (Some(_), &Method::DELETE, _) => {
                        let id =
                            held.ok_or(Problem::Absent)?.get("id").and_then(Json::as_str).map(str::to_owned);
                        let id = id.and_then(|id| Uuid::try_parse(&id).ok()).unwrap_or_default();
                        all.delete(tx, id)?;
                        Ok(Reply::empty(StatusCode::NO_CONTENT))
                    }
                    _ => Err(Problem::Method),
                }
            })
            .await
    }
}

fn put(tx: &mut Tx<'_>, all: Records, held: Option<Json>, name: &str, text: &str) -> Result<Json, Problem> {
    let now = tx.now() as i64;
    let held = held.unwrap_or_else(|| json!({"id": Uuid::new_v4(), "created_at": now}));
    let row = json!({
        "id": held.get("id"), "name": name, "lua_schema": text, "created_at": held.get("created_at"),
        "updated_at": now,
    });
    all.put(tx, &row)?.map_err(taken)?;
    Ok(row)
}

fn shown(row: &Json) -> Json {
    let mut row = row.clone();
    if let Some(members) = row.as_object_mut() {
        members.remove("id");
    }
    row
}

/// The plugin's name in a schema's text, and the text.
fn schema(body: &Map<String, Json>) -> Result<(String, String), Problem> {
    check(body, &["lua_schema"], &[("lua_schema", 1, MAX_SCHEMA)])?;
    let text = body.get("lua_schema").and_then(Json::as_str).unwrap_or_default();
    // The first `name = "..."` of a schema is the plugin's.
    let named = text.split("name").skip(1).find_map(|rest| {
        let value = rest.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        value.get(1..)?.split_once(quote).map(|(name, _)| name)
    });
    match named.filter(|name| !name.is_empty()) {
        Some(name) => Ok((name.to_owned(), text.to_owned())),
        None => {
            let reason = "must hold the plugin's name".to_owned();
            Err(Problem::Invalid(vec![("lua_schema".to_owned(), reason)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_tells_its_plugins_name() {
        let name = |text: &str| {
            let body = json!({ "lua_schema": text });
            schema(body.as_object().unwrap()).ok().map(|(name, _)| name)
        };
        let text = "local typedefs = 1\nreturn {\n  name = 'my-plugin',\n  fields = { { name = \"x\" } } }";
        assert_eq!(name(text).as_deref(), Some("my-plugin"));
        assert_eq!(name("return {}"), None);
        assert_eq!(name("name = "), None);
    }
}
