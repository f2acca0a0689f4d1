//! The schema notation, read from JSON: what `/schemas` of the Admin API serves and what `schemas/` holds.

use super::lua_pattern::Pattern;
use super::types::{
    AlsoIn, Check, Deprecation, EntityCheck, Field, FileWords, Flavor, InsteadOf, Kind, OnDelete,
    PluginSchema, Record, ReportWords, Shorthand, Subschema, Type, Variants,
};
use crate::value::{Path, Value};
use serde_json::{Map as JsonMap, Value as Json};
use std::sync::Arc;

/// What is wrong with a schema.
#[derive(Debug, thiserror::Error)]
#[error("the schema '{schema}' is faulty: {reason}")]
pub struct SchemaError {
    /// The kind or plugin.
    pub schema: String,
    /// What is wrong, and where.
    pub reason: String,
}

type Outcome<T> = Result<T, String>;

/// Words of our own that `/schemas` does not serve.
const OWN_WORDS: [&str; 10] = [
    "check",
    "expand",
    "credential",
    "verbatim",
    "computed",
    "names",
    "normal",
    "generated",
    "salted_by",
    "hashed_if",
];

/// Drops what the flavor does not have, and the words that said so.
///
/// An entry of a list (a field, a shorthand, an entity check) goes when its `since`, `until` or `edition`, or those of
/// its only member, exclude the flavor.
pub fn for_flavor(json: &mut Json, flavor: Flavor) {
    match json {
        Json::Array(items) => {
            items.retain(|item| exists(item, flavor));
            items.iter_mut().for_each(|item| for_flavor(item, flavor));
        }
        Json::Object(members) => {
            for word in ["since", "until", "edition"] {
                if members.get(word).is_some_and(Json::is_string) {
                    members.remove(word);
                }
            }
            members.values_mut().for_each(|member| for_flavor(member, flavor));
        }
        _ => {}
    }
}

/// Whether a field or a check exists in the flavor.
fn exists(json: &Json, flavor: Flavor) -> bool {
    let Json::Object(members) = json else { return true };
    let inner = match members.len() {
        1 => members.values().next().and_then(Json::as_object),
        _ => None,
    };
    [Some(members), inner].into_iter().flatten().all(|words| {
        let word = |word: &str| words.get(word).and_then(Json::as_str).unwrap_or_default();
        is_within(flavor, word("since"), word("until"))
            && (word("edition") != "enterprise" || flavor.is_enterprise())
    })
}

/// Whether a flavor's version lies between two, both included; an empty text is no limit.
pub fn is_within(flavor: Flavor, since: &str, until: &str) -> bool {
    version(since).is_none_or(|since| flavor.version() >= since)
        && version(until).is_none_or(|until| flavor.version() <= until)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The schema as the Admin API serves it: without the words of our own.
fn served(json: &JsonMap<String, Json>) -> Json {
    fn strip(json: &mut Json) {
        match json {
            Json::Array(items) => {
                items.iter_mut().for_each(strip);
                items.retain(|item| !item.as_object().is_some_and(JsonMap::is_empty));
            }
            Json::Object(members) => {
                for word in OWN_WORDS {
                    // A field may be called like one of the words; then its value is an object.
                    if members.get(word).is_some_and(|member| !member.is_object()) {
                        members.remove(word);
                    }
                }
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    let mut out = JsonMap::new();
    for word in ["fields", "entity_checks"] {
        if let Some(part) = json.get(word) {
            let mut part = part.clone();
            strip(&mut part);
            out.insert(word.to_owned(), part);
        }
    }
    out.entry("entity_checks").or_insert_with(|| Json::Array(Vec::new()));
    Json::Object(out)
}

/// A record from `fields`, `entity_checks` and `shorthand_fields`.
pub fn record(json: &JsonMap<String, Json>) -> Outcome<Record> {
    let mut out = Record::default();
    for (name, definition) in named(json, "fields")? {
        out.fields.push(field(name, definition).map_err(|reason| format!("{name}: {reason}"))?);
    }
    for (name, definition) in named(json, "shorthand_fields")? {
        let field = field(name, definition).map_err(|reason| format!("{name}: {reason}"))?;
        out.shorthands.push(Shorthand { field, expand: text(definition, "expand") });
    }
    for check in json.get("entity_checks").and_then(Json::as_array).into_iter().flatten() {
        out.entity_checks
            .push(entity_check(json, check).map_err(|reason| format!("entity check {check}: {reason}"))?);
    }
    Ok(out)
}

/// The `[{name: definition}, ...]` under a word.
fn named<'a>(
    json: &'a JsonMap<String, Json>,
    word: &str,
) -> Outcome<Vec<(&'a str, &'a JsonMap<String, Json>)>> {
    let Some(list) = json.get(word) else { return Ok(Vec::new()) };
    // Lua serves an empty list as an empty object.
    if list.as_object().is_some_and(JsonMap::is_empty) {
        return Ok(Vec::new());
    }
    let list = list.as_array().ok_or_else(|| format!("'{word}' must be a list"))?;
    list.iter()
        .map(|item| match item.as_object().map(|members| (members.len(), members.iter().next())) {
            Some((1, Some((name, Json::Object(definition))))) => Ok((name.as_str(), definition)),
            _ => Err(format!("an item of '{word}' must have one name and its definition: {item}")),
        })
        .collect()
}

fn text(json: &JsonMap<String, Json>, word: &str) -> Option<Box<str>> {
    json.get(word).and_then(Json::as_str).map(Into::into)
}

fn flag(json: &JsonMap<String, Json>, word: &str) -> bool {
    json.get(word).and_then(Json::as_bool).unwrap_or(false)
}

fn texts(json: Option<&Json>) -> Vec<Box<str>> {
    match json {
        Some(Json::String(one)) => vec![one.as_str().into()],
        Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).map(Into::into).collect(),
        _ => Vec::new(),
    }
}

fn paths(json: Option<&Json>) -> Vec<Path> {
    texts(json).iter().map(|name| Path::dotted(name)).collect()
}

fn values(json: &Json) -> Vec<Value> {
    json.as_array().into_iter().flatten().cloned().map(Value::from).collect()
}

/// A field by its name, which is empty for elements, keys and values.
pub fn field(name: &str, json: &JsonMap<String, Json>) -> Outcome<Field> {
    let ty = field_type(json)?;
    Ok(Field {
        name: name.into(),
        required: flag(json, "required"),
        default: json.get("default").cloned().map(Value::from),
        // A default that a gateway makes up is as good as a value that it makes.
        auto: flag(json, "auto") || flag(json, "generated"),
        unique: flag(json, "unique"),
        secret: flag(json, "encrypted") || flag(json, "credential"),
        referenceable: flag(json, "referenceable"),
        immutable: flag(json, "immutable"),
        unique_across_workspaces: flag(json, "unique_across_ws"),
        verbatim: flag(json, "verbatim"),
        transient: flag(json, "transient"),
        computed: flag(json, "computed"),
        names: text(json, "names"),
        normal: text(json, "normal"),
        salted_by: text(json, "salted_by"),
        hashed_if: text(json, "hashed_if"),
        err: text(json, "err"),
        checks: checks(json)?,
        deprecation: json.get("deprecation").and_then(Json::as_object).map(deprecation),
        ty,
    })
}

fn field_type(json: &JsonMap<String, Json>) -> Outcome<Type> {
    let part = |word: &str| -> Outcome<Box<Field>> {
        match json.get(word) {
            Some(Json::Object(inner)) => field("", inner).map(Box::new).map_err(|e| format!("{word}: {e}")),
            _ => Err(format!("'{word}' is missing")),
        }
    };
    Ok(match json.get("type").and_then(Json::as_str).unwrap_or("any") {
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        "array" => Type::Array(part("elements")?),
        "set" => Type::Set(part("elements")?),
        "map" => Type::Map { keys: part("keys")?, values: part("values")? },
        "record" if flag(json, "abstract") => Type::Abstract,
        "record" => Type::Record(Arc::new(record(json)?)),
        "foreign" => Type::Foreign {
            reference: text(json, "reference").ok_or("'reference' is missing")?,
            on_delete: match json.get("on_delete").and_then(Json::as_str) {
                None | Some("restrict") => OnDelete::Restrict,
                Some("cascade") => OnDelete::Cascade,
                Some("null") => OnDelete::SetNull,
                Some(other) => return Err(format!("'on_delete' cannot be '{other}'")),
            },
        },
        "json" | "any" => Type::Any,
        "function" => Type::Function,
        other => return Err(format!("there is no type '{other}'")),
    })
}

fn deprecation(json: &JsonMap<String, Json>) -> Deprecation {
    let steps = |item: &Json| -> Option<Path> {
        let keys = item.get("path").and_then(Json::as_array)?;
        Some(keys.iter().filter_map(Json::as_str).fold(Path::root(), |path, key| path.key(key)))
    };
    Deprecation {
        message: text(json, "message").unwrap_or_default(),
        removal_in: text(json, "removal_in_version"),
        replaced_with: json
            .get("replaced_with")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(steps)
            .collect(),
    }
}

fn pattern(json: &Json) -> Outcome<Pattern> {
    Pattern::new(json.as_str().ok_or("a pattern must be text")?)
}

fn patterns_with_words(json: &Json) -> Outcome<Vec<(Pattern, Box<str>)>> {
    let item = |item: &Json| {
        let words = item.get("err").and_then(Json::as_str).unwrap_or_default();
        Ok((pattern(item.get("pattern").unwrap_or(&Json::Null))?, words.into()))
    };
    json.as_array().into_iter().flatten().map(item).collect()
}

/// The checks of a field in the order in which Kong runs them.
fn checks(json: &JsonMap<String, Json>) -> Outcome<Vec<Check>> {
    const ORDER: [&str; 21] = [
        "eq",
        "ne",
        "not_one_of",
        "one_of",
        "gt",
        "timestamp",
        "uuid",
        "is_regex",
        "between",
        "len_eq",
        "len_min",
        "len_max",
        "starts_with",
        "not_match",
        "match_none",
        "match",
        "match_all",
        "match_any",
        "contains",
        "check",
        "mutually_exclusive_subsets",
    ];
    let mut out = Vec::new();
    for word in ORDER {
        let Some(argument) = json.get(word) else {
            // Empty texts are refused unless the schema says otherwise.
            if word == "len_min" && json.get("type").and_then(Json::as_str) == Some("string") {
                out.push(Check::LenMin(1));
            }
            continue;
        };
        let number = || argument.as_f64().ok_or_else(|| format!("'{word}' must be a number"));
        let length = || {
            argument
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| format!("'{word}' must be a length"))
        };
        let words = || argument.as_str().ok_or_else(|| format!("'{word}' must be text"));
        out.push(match word {
            "eq" => Check::Eq(argument.clone().into()),
            "ne" => Check::Ne(argument.clone().into()),
            "one_of" => Check::OneOf(values(argument)),
            "not_one_of" => Check::NotOneOf(values(argument)),
            "gt" => Check::Gt(number()?),
            "between" => match argument.as_array().map(Vec::as_slice) {
                Some([low, high]) => {
                    let limit = |end: &Json| end.as_f64().ok_or("'between' must be two numbers");
                    Check::Between(limit(low)?, limit(high)?)
                }
                _ => return Err("'between' must be two numbers".to_owned()),
            },
            "len_eq" => Check::LenEq(length()?),
            "len_min" => Check::LenMin(length()?),
            "len_max" => Check::LenMax(length()?),
            "starts_with" => Check::StartsWith(words()?.into()),
            "match" => Check::Match(pattern(argument)?),
            "not_match" => Check::NotMatch(pattern(argument)?),
            "match_none" => Check::MatchNone(patterns_with_words(argument)?),
            "match_all" => Check::MatchAll(patterns_with_words(argument)?),
            "match_any" => {
                let list = argument.get("patterns").and_then(Json::as_array).into_iter().flatten();
                let words = argument.get("err").and_then(Json::as_str).unwrap_or_default();
                Check::MatchAny(list.map(pattern).collect::<Outcome<_>>()?, words.into())
            }
            "contains" => Check::Contains(argument.clone().into()),
            "check" => match checks_name(argument)? {
                Some(name) => Check::Named(name.into()),
                None => continue,
            },
            "mutually_exclusive_subsets" => Check::MutuallyExclusiveSubsets(
                argument.as_array().into_iter().flatten().map(values).collect(),
            ),
            flag_word if argument.as_bool() == Some(true) => match flag_word {
                "timestamp" => Check::Timestamp,
                "uuid" => Check::Uuid,
                _ => Check::IsRegex,
            },
            _ => continue,
        });
    }
    Ok(out)
}

/// The name of a coded check: a text, or a list of `{name, since, until}` of which the flavor's one is left.
fn checks_name(argument: &Json) -> Outcome<Option<&str>> {
    match argument {
        Json::String(name) => Ok(Some(name)),
        Json::Array(list) => Ok(list.first().and_then(|item| item.get("name")?.as_str())),
        _ => Err("'check' must be a name".to_owned()),
    }
}

/// A field's definition by its dotted path.
fn definition_at<'a>(json: &'a JsonMap<String, Json>, dotted: &str) -> Option<&'a JsonMap<String, Json>> {
    let mut record = json;
    let mut steps = dotted.split('.').peekable();
    while let Some(step) = steps.next() {
        let list = record.get("fields")?.as_array()?;
        let found = list.iter().find_map(|item| item.get(step)?.as_object())?;
        if steps.peek().is_none() {
            return Some(found);
        }
        record = found;
    }
    None
}

/// The condition of a rule: its own words over those of the field that it reads.
fn condition(
    json: &JsonMap<String, Json>,
    argument: &JsonMap<String, Json>,
    dotted: &str,
    word: &str,
) -> Outcome<Box<Field>> {
    let mut merged = definition_at(json, dotted).cloned().unwrap_or_default();
    if let Some(Json::Object(own)) = argument.get(word) {
        merged.extend(own.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    // A condition on a list looks at the items only if it says so itself.
    field("", &merged).map(Box::new)
}

fn entity_check(json: &JsonMap<String, Json>, check: &Json) -> Outcome<EntityCheck> {
    let (name, argument) =
        check.as_object().and_then(|members| members.iter().next()).ok_or("must have a name")?;
    let empty = JsonMap::new();
    let members = argument.as_object().unwrap_or(&empty);
    let dotted = |word: &str| members.get(word).and_then(Json::as_str).unwrap_or_default();
    Ok(match name.as_str() {
        "at_least_one_of" => EntityCheck::AtLeastOneOf(paths(Some(argument))),
        "only_one_of" => EntityCheck::OnlyOneOf(paths(Some(argument))),
        "mutually_required" => EntityCheck::MutuallyRequired(paths(Some(argument))),
        "mutually_exclusive" => EntityCheck::MutuallyExclusive(paths(Some(argument))),
        "mutually_exclusive_sets" => {
            EntityCheck::MutuallyExclusiveSets(paths(members.get("set1")), paths(members.get("set2")))
        }
        "distinct" => EntityCheck::Distinct(paths(Some(argument))),
        "conditional" => EntityCheck::Conditional {
            if_field: Path::dotted(dotted("if_field")),
            if_match: condition(json, members, dotted("if_field"), "if_match")?,
            then_field: Path::dotted(dotted("then_field")),
            then_match: condition(json, members, dotted("then_field"), "then_match")?,
            then_err: text(members, "then_err"),
        },
        "conditional_at_least_one_of" => EntityCheck::ConditionalAtLeastOneOf {
            if_field: Path::dotted(dotted("if_field")),
            if_match: condition(json, members, dotted("if_field"), "if_match")?,
            then_at_least_one_of: paths(members.get("then_at_least_one_of")),
            then_err: text(members, "then_err"),
            else_match: match members.get("else_match") {
                Some(_) => Some(condition(json, members, dotted("if_field"), "else_match")?),
                None => None,
            },
            else_then_at_least_one_of: paths(members.get("else_then_at_least_one_of")),
            else_then_err: text(members, "else_then_err"),
        },
        "check" => EntityCheck::Named {
            name: argument.as_str().ok_or("'check' must be a name")?.into(),
            fields: Vec::new(),
            with_missing_fields: true,
            with_invalid_fields: false,
        },
        "custom_entity_check" => EntityCheck::Named {
            name: text(members, "check").unwrap_or_default(),
            fields: paths(members.get("field_sources")),
            with_missing_fields: flag(members, "run_with_missing_fields"),
            with_invalid_fields: flag(members, "run_with_invalid_fields"),
        },
        other => return Err(format!("there is no entity check '{other}'")),
    })
}

/// A plugin's (vault's, partial's) schema, whose name is not part of the notation that a gateway serves.
pub fn plugin(name: &str, json: &Json) -> Result<PluginSchema, SchemaError> {
    let fault = |reason: String| SchemaError { schema: name.to_owned(), reason };
    let members = json.as_object().ok_or_else(|| fault("must be an object".to_owned()))?;
    let partial = |item: &Json| {
        let kind: Box<str> = item.get("name")?.as_str()?.into();
        Some((kind, paths(item.get("paths"))))
    };
    let supported_partials: Vec<(Box<str>, Vec<Path>)> = members
        .get("supported_partials")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(partial)
        .collect();
    let mut served = served(members);
    if let (false, Some(served)) = (supported_partials.is_empty(), served.as_object_mut()) {
        let places = supported_partials.iter().map(|(kind, paths)| {
            let paths = paths.iter().map(|path| Json::String(path.to_string())).collect();
            (kind.to_string(), Json::Array(paths))
        });
        served.insert("supported_partials".to_owned(), Json::Object(places.collect()));
    }
    Ok(PluginSchema {
        name: name.into(),
        record: Arc::new(record(members).map_err(fault)?),
        priority: members.get("priority").and_then(Json::as_i64).unwrap_or(0),
        supported_partials,
        served,
    })
}

/// A kind with its words.
pub fn kind(json: &Json) -> Result<Kind, SchemaError> {
    let name = json.get("name").and_then(Json::as_str).unwrap_or("(without a name)");
    let fault = |reason: String| SchemaError { schema: name.to_owned(), reason };
    let members = json.as_object().ok_or_else(|| fault("must be an object".to_owned()))?;
    let path = text(members, "path").unwrap_or_else(|| name.into());
    let keys = |word: &str| -> Vec<Vec<Box<str>>> {
        members.get(word).and_then(Json::as_array).into_iter().flatten().map(|key| texts(Some(key))).collect()
    };
    let empty = JsonMap::new();
    let words = |word: &str| members.get(word).and_then(Json::as_object).unwrap_or(&empty);
    let (file, report) = (words("file"), words("report"));
    Ok(Kind {
        name: name.into(),
        nested_path: text(members, "nested_path").unwrap_or_else(|| path.clone()),
        only_under: text(members, "only_under"),
        konnect_path: text(members, "konnect_path").unwrap_or_else(|| path.clone()),
        path,
        endpoint_key: text(members, "endpoint_key"),
        identity: keys("identity"),
        file: FileWords {
            key: text(file, "key").unwrap_or_else(|| name.into()),
            top_level: file.get("top_level").and_then(Json::as_bool).unwrap_or(true),
            nested_in: texts(file.get("nested_in")),
            bare_references: flag(file, "bare_references"),
            custom_entity: flag(file, "custom_entity"),
            keeps_id: flag(file, "keeps_id"),
            also: also(file),
            brief_in: brief_in(file),
            instead_of: instead_of(file),
        },
        report: ReportWords {
            word: text(report, "word").unwrap_or_else(|| name.into()),
            label: texts(report.get("label")),
            owners: texts(report.get("owners")),
            owner_by_id: flag(report, "owner_by_id"),
            unowned: text(report, "unowned"),
            hidden: texts(report.get("hidden")),
            order: texts(report.get("order")),
            unnamed: texts(report.get("unnamed")),
            ids_only: texts(report.get("ids_only")),
        },
        record: Arc::new(record(members).map_err(fault)?),
        subschema: match members.get("subschema").and_then(Json::as_object) {
            Some(words) => Some(subschema(members, words).map_err(fault)?),
            None => None,
        },
        addressed_by: texts(members.get("addressed_by")),
        rows_of: text(members, "rows_of"),
        listed_in: text(members, "listed_in"),
        ttl: flag(members, "ttl"),
        cache_key: texts(members.get("cache_key")),
        workspaceable: members.get("workspaceable").and_then(Json::as_bool).unwrap_or(true),
        admin_api: members.get("generate_admin_api").and_then(Json::as_bool).unwrap_or(true),
        switched_off: members
            .get("switched_off")
            .and_then(Json::as_array)
            .and_then(|off| text(off.first()?.as_object()?, "message")),
        unique_together: keys("unique_together"),
        served: served(members),
    })
}

fn also(file: &JsonMap<String, Json>) -> Vec<AlsoIn> {
    let item = |item: &Json| {
        let members = item.as_object()?;
        Some(AlsoIn {
            nested_in: text(members, "nested_in")?,
            key: text(members, "key")?,
            item: text(members, "item")?,
            declares: members.get("declares").and_then(Json::as_bool).unwrap_or(false),
        })
    };
    file.get("also").and_then(Json::as_array).into_iter().flatten().filter_map(item).collect()
}

fn instead_of(file: &JsonMap<String, Json>) -> Option<InsteadOf> {
    let words = file.get("instead_of")?.as_object()?;
    Some(InsteadOf {
        kind: text(words, "kind")?,
        nested_in: text(words, "nested_in")?,
        key: text(words, "key")?,
    })
}

fn brief_in(file: &JsonMap<String, Json>) -> Vec<(Box<str>, Vec<Box<str>>)> {
    let parents = file.get("brief_in").and_then(Json::as_object).into_iter().flatten();
    parents.map(|(parent, fields)| (parent.as_str().into(), texts(Some(fields)))).collect()
}

fn subschema(kind: &JsonMap<String, Json>, words: &JsonMap<String, Json>) -> Outcome<Subschema> {
    let variants = match words.get("of") {
        Some(Json::String(folder)) => match folder.as_str() {
            "plugins" => Variants::Plugins,
            "vaults" => Variants::Vaults,
            "partials" => Variants::Partials,
            other => return Err(format!("there is no folder of schemas '{other}'")),
        },
        Some(Json::Array(list)) => {
            let mut inline = Vec::new();
            for variant in list {
                let mut members = variant.as_object().cloned().unwrap_or_default();
                // Rules of a variant read the kind's fields too.
                let mut fields = members.get("fields").and_then(Json::as_array).cloned().unwrap_or_default();
                let own = record(&members)?;
                fields.extend(kind.get("fields").and_then(Json::as_array).into_iter().flatten().cloned());
                members.insert("fields".to_owned(), Json::Array(fields));
                let full = record(&members)?;
                let record = Arc::new(Record { entity_checks: full.entity_checks, ..own });
                inline.extend(texts(members.get("names")).into_iter().map(|name| (name, record.clone())));
            }
            Variants::Inline(inline)
        }
        _ => return Err("a subschema must say 'of' what it is".to_owned()),
    };
    Ok(Subschema {
        key: text(words, "key").ok_or("a subschema needs its key")?,
        variants,
        error: text(words, "error").unwrap_or_else(|| "unknown type: %s".into()),
    })
}
