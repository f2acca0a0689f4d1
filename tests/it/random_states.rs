//! Random state files over every kind of the table: fields and references from the schema, values from small pools, so
//! that names and keys meet again and change hands.

use foredeck::schema::{Kind, Schemas, Type};
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

/// Numbers that decide everything random about one entity.
pub type Dice = [u8; 12];

/// Two certificates with their keys, two authorities and two public keys.
pub struct Pems {
    pub leaves: [(String, String); 2],
    pub authorities: [String; 2],
    pub publics: [String; 2],
}

pub static PEMS: LazyLock<Pems> = LazyLock::new(|| {
    let leaf = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let authority = |name: &str| {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    };
    Pems {
        leaves: [leaf("one.test"), leaf("two.test")],
        authorities: [authority("ca one"), authority("ca two")],
        publics: [0, 1].map(|_| rcgen::KeyPair::generate().unwrap().public_key_pem()),
    }
});

/// For each kind, what its fields may be: one of each list is taken, null for nothing.
fn choices(kind: &str) -> Json {
    let names = json!(["aa-1", "bb-2", "cc-3"]);
    let keys = json!(["key-1", "key-2", "key-3", "key-4"]);
    match kind {
        "acls" => json!({"group": ["gold", "silver"]}),
        "ai_models" => json!({"name": names, "description": [null, "d"]}),
        "basicauth_credentials" => json!({"username": keys, "password": ["pw-1", "pw-2"]}),
        "ca_certificates" => json!({"cert": PEMS.authorities}),
        "certificates" => {
            let pairs: Vec<Json> =
                PEMS.leaves.iter().map(|(cert, key)| json!({"cert": cert, "key": key})).collect();
            json!({"": pairs})
        }
        "cloned_plugins" => {
            json!({"name": ["my-limit", "my-limit-2"], "ref": ["rate-limiting"], "priority": [null, 7]})
        }
        "consumer_group_consumers" => json!({}),
        "consumer_groups" => json!({"name": names}),
        "consumers" => json!({"": [
            {"username": "ann"}, {"username": "bob"}, {"username": "ann", "custom_id": "1"},
            {"username": "bob", "custom_id": "1"}, {"username": "bob", "custom_id": "2"}, {"custom_id": "2"},
            {"username": "cid", "custom_id": "3"}, {"username": "ann", "custom_id": "3"},
        ]}),
        "consumer_group_plugins" => json!({"name": ["rate-limiting-advanced"], "config": [
            {"limit": [1], "window_size": [60]},
            {"limit": [2, 9], "window_size": [60, 3600], "window_type": "fixed", "retry_after_jitter_max": 1},
        ]}),
        "custom_plugins" => json!({
            "name": ["own", "own-2"], "schema": ["return { name = 'own', fields = {} }"],
            "handler": ["return { PRIORITY = 1, VERSION = '1' }", "return { PRIORITY = 2, VERSION = '1' }"],
        }),
        "degraphql_routes" => json!({"uri": ["/me", "/you"], "query": ["{ viewer { login } }", "{ you }"],
            "methods": [null, ["GET", "POST"], ["POST", "GET"]]}),
        "filter_chains" => json!({"name": [null, "fc-1", "fc-2"],
            "filters": [[{"name": "a"}], [{"name": "a", "enabled": false}, {"name": "b"}]]}),
        "graphql_ratelimiting_cost_decorations" => {
            json!({"type_path": ["Query.a", "Query.b"], "add_constant": [null, 2]})
        }
        "hmacauth_credentials" => json!({"username": keys, "secret": [null, "s-1", "s-2"]}),
        "jwt_secrets" => json!({"key": keys, "secret": ["s-1", "s-2"], "algorithm": ["HS256", "HS512"]}),
        "key_sets" => json!({"name": names}),
        "keyauth_credentials" => json!({"key": keys}),
        "keys" => {
            let pem: Vec<Json> = PEMS.publics.iter().map(|pem| json!({"public_key": pem})).collect();
            json!({"name": names, "kid": ["k-1", "k-2"], "pem": pem})
        }
        "licenses" => json!({"payload": ["one", "two"]}),
        "mtls_auth_credentials" => json!({"subject_name": ["a@x", "b@x"]}),
        "oauth2_credentials" => json!({"name": ["app"], "client_id": keys, "client_secret": ["s-1", "s-2"],
            "redirect_uris": [null, ["https://a.test/cb", "https://b.test/cb"]]}),
        "partials" => {
            json!({"name": names, "type": ["redis-ce"], "config": [{"host": "a.test"}, {"host": "b.test", "port": 7}]})
        }
        "plugins" => json!({"": [
            {"name": "request-termination"},
            {"name": "request-termination", "config": {"status_code": 418}, "enabled": false},
            {"name": "rate-limiting", "config": {"minute": 5, "policy": "local"}},
            {"name": "rate-limiting", "config": {"hour": 9, "policy": "redis", "redis_host": "r.test"}},
            {"name": "rate-limiting", "config": {"hour": 9, "policy": "redis", "redis": {"host": "r.test"}}},
            {"name": "response-transformer", "config": {"remove": {"headers": ["a", "b"]}}},
        ], "instance_name": [null, null, "inst-1", "inst-2"], "protocols": [null, ["https", "http"], ["http", "https"]]}),
        "rbac_role_endpoints" => json!({"workspace": ["default", "*"], "endpoint": ["/services", "*"],
            "actions": [["read"], ["read", "delete"], ["delete", "read"]], "negative": [true, false], "comment": [null, "c"]}),
        "rbac_roles" => json!({"name": ["reader", "writer"], "comment": [null, "c"]}),
        "routes" => json!({"name": ["ra", "rb", "rc", null], "paths": [["/a"], ["/b", "/a"], ["/a", "/b"]],
            "methods": [null, ["GET", "POST"], ["POST", "GET"]], "strip_path": [null, false],
            "headers": [null, {"x-a": ["1", "2"]}], "protocols": [null, ["https", "http"], ["https"]]}),
        "services" => json!({"name": names, "": [
            {"host": "a.test"}, {"url": "https://b.test:8443/x"}, {"host": "b.test", "protocol": "https", "port": 8443, "path": "/x"},
        ], "retries": [null, 1], "enabled": [null, true, false]}),
        "snis" => json!({"name": ["a.test", "b.test", "*.c.test"]}),
        "targets" => {
            json!({"target": ["10.0.0.1:80", "10.0.0.2", "[::1]:80", "h.test"], "weight": [null, 7]})
        }
        "upstreams" => {
            json!({"name": ["up.a", "up.b"], "slots": [null, 50], "algorithm": [null, "least-connections"],
            "healthchecks": [null, {"active": {"healthy": {"http_statuses": [302, 200]}}}]})
        }
        "vaults" => {
            json!({"name": ["env"], "prefix": ["my-a", "my-b"], "config": [{"prefix": "A_"}, {"prefix": "B_"}],
            "description": [null, "d"]})
        }
        other => panic!("choices() knows no kind '{other}': give its fields a few values"),
    }
}

/// One entity of a random state.
pub struct Entity {
    kind: Arc<Kind>,
    body: Json,
    id: Option<String>,
    /// Foreign fields and the index of what they reference.
    references: Vec<(String, usize)>,
    /// Nested in the first parent that takes it, where it could also stand at the top.
    nested: bool,
}

fn pick<'a>(list: &'a Json, dice: &Dice, salt: usize) -> &'a Json {
    let list = list.as_array().unwrap();
    &list[usize::from(dice[2 + salt % 10].rotate_left(u32::try_from(salt % 5).unwrap())) % list.len()]
}

/// A state: what repeats a unique value, or cannot be written into a file, is left out.
pub fn state(schemas: &Schemas, kinds: &[Arc<Kind>], all: &[Dice]) -> Vec<Entity> {
    let mut rolls: Vec<(usize, &Dice)> =
        all.iter().map(|dice| (usize::from(dice[0]) % kinds.len(), dice)).collect();
    rolls.sort_by_key(|(kind, _)| *kind);
    let mut entities = Vec::new();
    let mut taken = HashSet::new();
    for (kind, dice) in rolls {
        if let Some(entity) = entity(schemas, &kinds[kind], dice, &entities) {
            let keys = keys(&entity);
            if keys.iter().all(|key| !taken.contains(key)) {
                taken.extend(keys);
                entities.push(entity);
            }
        }
    }
    entities
}

fn entity(schemas: &Schemas, kind: &Arc<Kind>, dice: &Dice, others: &[Entity]) -> Option<Entity> {
    let mut body = serde_json::Map::new();
    for (n, (field, list)) in choices(&kind.name).as_object().unwrap().iter().enumerate() {
        match pick(list, dice, n) {
            Json::Null => {}
            Json::Object(several) if field.is_empty() => body.extend(several.clone()),
            value => drop(body.insert(field.clone(), value.clone())),
        }
    }
    // One in three has an id of a small range that only its kind uses.
    let base = kind.name.bytes().fold(0u64, |sum, byte| (sum * 31 + u64::from(byte)) % 0xff_ffff);
    let id = (dice[1].is_multiple_of(3) && kind.addressed_by.is_empty())
        .then(|| format!("{base:08x}-0000-4000-8000-00000000000{}", dice[2] % 3));
    let mut references = Vec::new();
    for (n, (field, reference)) in kind.record.foreign().enumerate() {
        let parents: Vec<usize> =
            (0..others.len()).filter(|at| *others[*at].kind.name == *reference).collect();
        let roll = usize::from(dice[3 + n % 8]);
        let wanted = field.required || roll % 3 == 1;
        match (parents.is_empty(), wanted) {
            (true, _) if field.required => return None,
            (false, true) => references.push((field.name.to_string(), parents[roll % parents.len()])),
            _ => {}
        }
    }
    if let Some(field) = kind.record.field("tags")
        && matches!(field.ty, Type::Set(_))
    {
        let tags = [json!(null), json!(["t1"]), json!(["t1", "t2"]), json!(["t2", "t1"])];
        let tags = tags[usize::from(dice[11] % 4)].clone();
        if !tags.is_null() {
            body.insert("tags".into(), tags);
        }
    }
    let has = |field: &str| references.iter().any(|(name, _)| name == field);
    match &*kind.name {
        // A service with a client certificate speaks TLS; a chain has one owner.
        "services" if has("client_certificate") => references.clear(),
        "filter_chains" if has("route") == has("service") => return None,
        // A plugin is for a consumer or for groups of them.
        "plugins" if has("consumer") && has("consumer_group") => return None,
        "plugins"
            if schemas.flavor().is_enterprise()
                && body["name"] == "rate-limiting"
                && dice[9].is_multiple_of(2) =>
        {
            let partial = others.iter().find(|other| &*other.kind.name == "partials")?;
            body.insert("config".into(), json!({"minute": 3, "policy": "redis"}));
            body.insert("partials".into(), json!([{"name": partial.body["name"], "path": "config.redis"}]));
        }
        _ => {}
    }
    Some(Entity { kind: kind.clone(), body: body.into(), id, references, nested: dice[10].is_multiple_of(2) })
}

/// The unique values of an entity, as texts.
fn keys(entity: &Entity) -> Vec<String> {
    let kind = &entity.kind;
    let single = kind
        .record
        .fields
        .iter()
        .filter(|field| field.unique && !field.computed)
        .map(|f| vec![f.name.clone()]);
    let several = kind.unique_together.iter().chain(&kind.identity).chain([&kind.cache_key]).cloned();
    let mut out: Vec<String> = single
        .chain(several)
        .filter_map(|key| {
            let parts: Vec<Option<String>> = key
                .iter()
                .map(|name| {
                    let reference = entity.references.iter().find(|(field, _)| *field == **name);
                    let value = entity.body.get(&**name).map(ToString::to_string);
                    // Two spellings of one target.
                    let value = value.map(|value| value.replace("10.0.0.2:8000", "10.0.0.2"));
                    reference.map(|(_, at)| format!("#{at}")).or(value)
                })
                .collect();
            parts.iter().any(Option::is_some).then(|| format!("{} {key:?} {parts:?}", kind.name))
        })
        .collect();
    out.extend(entity.id.iter().cloned());
    // Twins without id and key could not be told apart.
    if kind.identity.iter().flatten().all(|field| entity.body.get(&**field).is_none()) && entity.id.is_none()
    {
        out.push(format!("{} {} {:?}", kind.name, in_any_order(&entity.body), entity.references));
    }
    out
}

/// A body whose lists are sorted: sets in another order make no other entity.
fn in_any_order(body: &Json) -> Json {
    match body {
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(in_any_order).collect();
            items.sort_by_key(Json::to_string);
            items.into()
        }
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), in_any_order(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// The state as the text of a state file (JSON is YAML); `scope` becomes its `_info.select_tags`.
pub fn file(entities: &[Entity], scope: Option<&str>) -> String {
    let mut items: Vec<Json> = entities
        .iter()
        .map(|entity| {
            let mut item = entity.body.clone();
            if let Some(id) = &entity.id {
                item["id"] = json!(id);
            }
            item
        })
        .collect();
    let mut top = json!({"_format_version": "3.0"});
    if let Some(tag) = scope {
        top["_info"] = json!({"select_tags": [tag]});
    }
    // Children come after their parents, so that from the end every item is complete when it is put away.
    for (at, entity) in entities.iter().enumerate().rev() {
        let words = &entity.kind.file;
        let mut item = items[at].take();
        let also = words.also.get(usize::from(!entity.nested));
        let home = match also {
            Some(also) => {
                entity.references.iter().find(|(_, parent)| *entities[*parent].kind.name == *also.nested_in)
            }
            None => entity
                .references
                .iter()
                .find(|(_, parent)| words.nested_in.iter().any(|kind| **kind == *entities[*parent].kind.name))
                .filter(|(_, parent)| {
                    entity.nested || !words.top_level || name(&entities[*parent]).is_none()
                }),
        };
        for (field, parent) in &entity.references {
            if home.is_some_and(|(nested, _)| nested == field) {
                continue;
            }
            let Some((key, value)) = name(&entities[*parent]) else { continue };
            item[field] = if words.bare_references { value } else { json!({ key: value }) };
        }
        if let Some(also) = also {
            let (_, other) = entity.references.iter().find(|(field, _)| *field == *also.item).unwrap();
            item = name(&entities[*other]).map_or(Json::Null, |(key, value)| json!({ key: value }));
        }
        if words.custom_entity {
            item = json!({"type": entity.kind.name, "fields": item});
        }
        let key = match also {
            Some(also) => &*also.key,
            None if words.custom_entity => "custom_entities",
            None => &*words.key,
        };
        let owner = match home {
            Some((_, parent)) => &mut items[*parent],
            None => &mut top,
        };
        if !item.is_null() {
            match owner.get_mut(key).and_then(Json::as_array_mut) {
                Some(list) => list.insert(0, item),
                None => owner[key] = json!([item]),
            }
        }
    }
    serde_json::to_string_pretty(&top).unwrap()
}

/// The field and the value by which others refer to an entity.
fn name(entity: &Entity) -> Option<(String, Json)> {
    let by_name = entity
        .kind
        .endpoint_key
        .as_ref()
        .and_then(|key| Some((key.to_string(), entity.body.get(&**key)?.clone())));
    by_name.or_else(|| entity.id.as_ref().map(|id| ("id".to_owned(), json!(id))))
}

/// Whether every reference of a state can be written: its target has a name or an id, or it is nested in it.
pub fn can_be_written(entities: &[Entity]) -> bool {
    entities.iter().all(|entity| {
        let nests = |parent: usize| {
            entity.kind.file.nested_in.iter().any(|kind| **kind == *entities[parent].kind.name)
        };
        let mut nameless = entity.references.iter().filter(|(_, parent)| name(&entities[*parent]).is_none());
        nameless.next().is_none_or(|(_, parent)| nests(*parent)) && nameless.next().is_none()
    })
}
