//! The shapes of schemas and of what is found against them.

use super::lua_pattern::Pattern;
use crate::value::{Path, Value};
use data_encoding::HEXLOWER;
use serde_json::Value as Json;
use sha1::{Digest, Sha1};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use uuid::Uuid;

/// Which gateway a schema speaks for. Fields and kinds differ by `since`, `until` and `edition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavor {
    /// Kong Gateway 3.10, open source.
    Kong310,
    /// Kong Gateway 3.14, enterprise.
    Kong314,
}

impl Flavor {
    /// Every flavor, oldest first.
    pub const ALL: [Flavor; 2] = [Flavor::Kong310, Flavor::Kong314];

    /// The name used by `--flavor`.
    pub fn name(self) -> &'static str {
        match self {
            Flavor::Kong310 => "kong-3.10",
            Flavor::Kong314 => "kong-3.14",
        }
    }

    /// Major and minor version, for `since` and `until`.
    pub fn version(self) -> (u32, u32) {
        match self {
            Flavor::Kong310 => (3, 10),
            Flavor::Kong314 => (3, 14),
        }
    }

    /// The version that the gateway reports of itself.
    pub fn reported_version(self) -> &'static str {
        match self {
            Flavor::Kong310 => "3.10.0",
            Flavor::Kong314 => "3.14.0.0",
        }
    }

    /// Whether enterprise kinds and fields exist.
    pub fn is_enterprise(self) -> bool {
        matches!(self, Flavor::Kong314)
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Flavor {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Flavor::ALL
            .into_iter()
            .find(|flavor| flavor.name() == name)
            .ok_or_else(|| format!("'{name}' is not one of {}", Flavor::ALL.map(Flavor::name).join(", ")))
    }
}

/// What happens to an entity when the one it references is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The deletion is refused (Kong's default).
    Restrict,
    /// The entity goes too.
    Cascade,
    /// The reference becomes null.
    SetNull,
}

/// The type of a field.
#[derive(Clone, Debug)]
pub enum Type {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// true or false.
    Boolean,
    /// A list in which order counts.
    Array(Box<Field>),
    /// A list without repeats, in which order does not count.
    Set(Box<Field>),
    /// An object with free keys.
    Map {
        /// What every key must be.
        keys: Box<Field>,
        /// What every value must be.
        values: Box<Field>,
    },
    /// An object with known fields.
    Record(Arc<Record>),
    /// A record whose fields are given elsewhere, as a plugin's `config` in the kind `plugins`.
    Abstract,
    /// A reference to another kind, as `{"id": ...}`.
    Foreign {
        /// The name of the kind that is referenced.
        reference: Box<str>,
        /// What happens when the referenced entity goes.
        on_delete: OnDelete,
    },
    /// JSON of any shape.
    Any,
    /// The source text of a Lua function.
    Function,
}

/// One check on a field's value, as the notation spells it.
#[derive(Clone, Debug)]
pub enum Check {
    /// `between: [low, high]`, both included.
    Between(f64, f64),
    /// `gt: n`
    Gt(f64),
    /// `one_of: [...]`
    OneOf(Vec<Value>),
    /// `not_one_of: [...]`
    NotOneOf(Vec<Value>),
    /// `len_eq: n`
    LenEq(usize),
    /// `len_min: n`; strings have an implied 1.
    LenMin(usize),
    /// `len_max: n`
    LenMax(usize),
    /// `starts_with: text`
    StartsWith(Box<str>),
    /// `contains: value`
    Contains(Value),
    /// `match: pattern`
    Match(Pattern),
    /// `match_none: [{pattern, err}]`
    MatchNone(Vec<(Pattern, Box<str>)>),
    /// `match_all: [{pattern, err}]`
    MatchAll(Vec<(Pattern, Box<str>)>),
    /// `match_any: {patterns, err}`
    MatchAny(Vec<Pattern>, Box<str>),
    /// `not_match: pattern`
    NotMatch(Pattern),
    /// `eq: value`
    Eq(Value),
    /// `ne: value`
    Ne(Value),
    /// `uuid: true`
    Uuid,
    /// `is_regex: true`
    IsRegex,
    /// `timestamp: true`
    Timestamp,
    /// `mutually_exclusive_subsets: [[...], ...]`
    MutuallyExclusiveSubsets(Vec<Vec<Value>>),
    /// `check: name`, one of the named functions of `checks.rs`.
    Named(Box<str>),
}

/// A deprecated field: what to say, and where its value goes now.
#[derive(Clone, Debug)]
pub struct Deprecation {
    /// Kong's message.
    pub message: Box<str>,
    /// The version in which the field goes.
    pub removal_in: Option<Box<str>>,
    /// Paths of the successors, from the record that holds the field.
    pub replaced_with: Vec<Path>,
}

/// One field of a record, an element of a list, or a key or value of a map.
#[derive(Clone, Debug)]
pub struct Field {
    /// The field's name; empty for elements, keys and values.
    pub name: Box<str>,
    /// Its type.
    pub ty: Type,
    /// Whether a value (its default counts) must be there.
    pub required: bool,
    /// The value that the gateway fills in.
    pub default: Option<Value>,
    /// The gateway makes a value where there is none (ids, times, generated keys).
    pub auto: bool,
    /// No two entities may share a value.
    pub unique: bool,
    /// A secret, because the gateway stores it encrypted or because it is a credential.
    pub secret: bool,
    /// May hold a vault reference `{vault://...}` in place of its value.
    pub referenceable: bool,
    /// Cannot change after creation.
    pub immutable: bool,
    /// A unique value is so in all workspaces, not only in the entity's own.
    pub unique_across_workspaces: bool,
    /// Text in a language with its own `$`: function code, router expressions. Not searched for variables.
    pub verbatim: bool,
    /// Accepted in a request and turned into something else; never stored (`snis` of a certificate).
    pub transient: bool,
    /// The gateway computes it from other fields (digests); left out of comparison.
    pub computed: bool,
    /// The kind of which it names an entity, whose id stands beside it in the record (`partials: [{id, name}]`);
    /// in a list of ids, the kind that they are ids of.
    pub names: Option<Box<str>>,
    /// The named normal form in which the gateway stores the value (`target`: with a port).
    pub normal: Option<Box<str>>,
    /// The foreign field whose id salts the hash (SHA-1) that the gateway stores in place of the value.
    pub salted_by: Option<Box<str>>,
    /// The field whose truth asks the gateway to store a hash (PBKDF2) in place of the value.
    pub hashed_if: Option<Box<str>>,
    /// Words in place of those of the checks.
    pub err: Option<Box<str>>,
    /// The checks on a value, in the notation's order.
    pub checks: Vec<Check>,
    /// Set when the field is on its way out.
    pub deprecation: Option<Deprecation>,
}

impl Field {
    /// The form in which the gateway stores a text, when that is another than the text itself.
    pub fn normal_form(&self, text: &str) -> Option<String> {
        super::checks::normal_form(self.normal.as_deref()?, text)
    }

    /// In a list of records: the item's field that names an entity of another kind.
    pub fn item_naming(&self) -> Option<&Field> {
        let (Type::Array(element) | Type::Set(element)) = &self.ty else { return None };
        let Type::Record(item) = &element.ty else { return None };
        item.fields.iter().find(|field| field.names.is_some())
    }

    /// What the gateway stores for a text whose salt is this id, in hexadecimal digits. `None` for fields that are
    /// stored as they are.
    pub fn hashed(&self, text: &str, salt: Uuid) -> Option<String> {
        self.salted_by.as_ref()?;
        let hash = Sha1::new().chain_update(text).chain_update(salt.to_string()).finalize();
        Some(HEXLOWER.encode(&hash))
    }
}

/// A rule over several fields of a record.
#[derive(Clone, Debug)]
pub enum EntityCheck {
    /// At least one of the fields has a value.
    AtLeastOneOf(Vec<Path>),
    /// Exactly one of the fields has a value.
    OnlyOneOf(Vec<Path>),
    /// One field's value decides what another may hold.
    Conditional {
        /// The deciding field.
        if_field: Path,
        /// The check that decides.
        if_match: Box<Field>,
        /// The field that is then checked.
        then_field: Path,
        /// The check on it; `required` counts.
        then_match: Box<Field>,
        /// Words in place of the usual ones.
        then_err: Option<Box<str>>,
    },
    /// One field's value demands at least one of several others.
    ConditionalAtLeastOneOf {
        /// The deciding field.
        if_field: Path,
        /// The check that decides.
        if_match: Box<Field>,
        /// The fields of which one is then needed.
        then_at_least_one_of: Vec<Path>,
        /// Words in place of the usual ones, `%s` for the fields.
        then_err: Option<Box<str>>,
        /// The check that decides when the first does not hold.
        else_match: Option<Box<Field>>,
        /// The fields of which one is needed then.
        else_then_at_least_one_of: Vec<Path>,
        /// Words for that case.
        else_then_err: Option<Box<str>>,
    },
    /// All of the fields have a value, or none.
    MutuallyRequired(Vec<Path>),
    /// Not all of the fields have a value.
    MutuallyExclusive(Vec<Path>),
    /// Sets of fields of which at most one set is used.
    MutuallyExclusiveSets(Vec<Path>, Vec<Path>),
    /// The values of the fields differ.
    Distinct(Vec<Path>),
    /// A named function of `checks.rs` over several fields.
    Named {
        /// The function; empty when a gateway serves a rule without its code.
        name: Box<str>,
        /// The fields that it reads.
        fields: Vec<Path>,
        /// It runs although a field has no value.
        with_missing_fields: bool,
        /// It runs although a field has a fault.
        with_invalid_fields: bool,
    },
}

/// A field that is accepted and turned into others: `url`, `redis_host`.
#[derive(Clone, Debug)]
pub struct Shorthand {
    /// Its type and checks.
    pub field: Field,
    /// The named function that expands it, where `replaced_with` does not say it all.
    pub expand: Option<Box<str>>,
}

/// An object with known fields.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The fields in the schema's order.
    pub fields: Vec<Field>,
    /// Rules over several fields.
    pub entity_checks: Vec<EntityCheck>,
    /// Fields that are accepted and turned into others.
    pub shorthands: Vec<Shorthand>,
}

impl Record {
    /// A field by name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| &*field.name == name)
    }

    /// The lists whose items name entities of other kinds: the field, the field of the item that holds the name, and
    /// the name of the kind.
    pub fn links(&self) -> impl Iterator<Item = (&Field, &Field, &str)> {
        self.fields.iter().filter_map(|field| {
            let naming = field.item_naming()?;
            Some((field, naming, naming.names.as_deref()?))
        })
    }

    /// The names of the kinds that its entities refer to, in foreign fields or in lists of names.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        let foreign = self.foreign().map(|(_, reference)| reference);
        foreign.chain(self.links().map(|(.., to)| to))
    }

    /// The fields that reference other kinds: the field and the name of the kind.
    pub fn foreign(&self) -> impl Iterator<Item = (&Field, &str)> {
        self.fields.iter().filter_map(|field| match &field.ty {
            Type::Foreign { reference, .. } => Some((field, &**reference)),
            _ => None,
        })
    }
}

/// How a kind is written in a state file.
#[derive(Clone, Debug, Default)]
pub struct FileWords {
    /// The key of the list: `keyauth_credentials`.
    pub key: Box<str>,
    /// Whether the list may stand at the top of a file.
    pub top_level: bool,
    /// The kinds in whose entities the list may be nested.
    pub nested_in: Vec<Box<str>>,
    /// The foreign fields written as a bare string (name or id) and not as `{id: ...}`.
    pub bare_references: bool,
    /// Written as an item of `custom_entities`, with its kind as `type` and its fields under `fields`.
    pub custom_entity: bool,
    /// Dumps give the id, whether or not that is asked for.
    pub keeps_id: bool,
    /// Other lists that say the same: memberships as `consumers[].groups` and `consumer_groups[].consumers`.
    pub also: Vec<AlsoIn>,
    /// The kinds in whose entities a nested item does not say fields that have their defaults, and the fields:
    /// decK refuses them there.
    pub brief_in: Vec<(Box<str>, Vec<Box<str>>)>,
    /// A list that means these only where policies are overrides ([`Schemas::with_overrides`](super::Schemas)).
    pub instead_of: Option<InsteadOf>,
}

impl FileWords {
    /// Whether a state file can hold such entities.
    pub fn has_place(&self) -> bool {
        self.top_level || self.custom_entity || !self.nested_in.is_empty() || !self.also.is_empty()
    }
}

/// Whose list a kind takes over.
#[derive(Clone, Debug)]
pub struct InsteadOf {
    /// The kind that the list holds otherwise.
    pub kind: Box<str>,
    /// The kind in whose entities the list stands.
    pub nested_in: Box<str>,
    /// The list's key.
    pub key: Box<str>,
}

/// A list, nested in entities of another kind, whose items only name what a foreign field points to.
#[derive(Clone, Debug)]
pub struct AlsoIn {
    /// The kind in whose entities the list stands.
    pub nested_in: Box<str>,
    /// The list's key.
    pub key: Box<str>,
    /// The foreign field whose entity each item names (`{name}`, `{username}`, `{id}` or a bare text).
    pub item: Box<str>,
    /// An item whose entity stands nowhere else is that entity, with the fields that the item gives.
    pub declares: bool,
}

/// How reports name an entity of a kind: `key-auth k1 for consumer u1`.
#[derive(Clone, Debug, Default)]
pub struct ReportWords {
    /// The word for one: `key-auth`.
    pub word: Box<str>,
    /// The fields that name it, the first one with a value; the id when none has.
    pub label: Vec<Box<str>>,
    /// The foreign fields named after `for`, in order.
    pub owners: Vec<Box<str>>,
    /// Name owners by their id.
    pub owner_by_id: bool,
    /// What stands in brackets when there is no owner: `global`.
    pub unowned: Option<Box<str>>,
    /// The fields that reports leave out.
    pub hidden: Vec<Box<str>>,
    /// The fields that come last in JSON reports, in this order.
    pub order: Vec<Box<str>>,
    /// The foreign fields that JSON reports of what was applied show by id alone.
    pub unnamed: Vec<Box<str>>,
    /// Foreign fields that are shown with the id alone, whatever is told of the entity.
    pub ids_only: Vec<Box<str>>,
}

/// How the value of one field decides which further schema an entity has: a plugin's `name`, a vault's `name`,
/// a route's `protocols`.
#[derive(Clone, Debug)]
pub struct Subschema {
    /// The deciding field. When it holds a list, its first item that names a variant counts.
    pub key: Box<str>,
    /// Where the variants are.
    pub variants: Variants,
    /// Kong's message when there is no such variant, `%s` for the value.
    pub error: Box<str>,
}

/// Where the variants of a [`Subschema`] are.
#[derive(Clone, Debug)]
pub enum Variants {
    /// The schemas of `schemas/plugins`.
    Plugins,
    /// The schemas of `schemas/vaults`.
    Vaults,
    /// The schemas of `schemas/partials`.
    Partials,
    /// Written in the kind itself: names and schemas.
    Inline(Vec<(Box<str>, Arc<Record>)>),
}

/// One kind of entity: a schema with identity and places.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Kong's name for it: `keyauth_credentials`.
    pub name: Box<str>,
    /// The Admin API's collection: `key-auths`.
    pub path: Box<str>,
    /// The collection below a parent: `key-auth` in `/consumers/{c}/key-auth`.
    pub nested_path: Box<str>,
    /// The parent under which alone the collection exists (targets under upstreams); `None` for a top-level one.
    pub only_under: Option<Box<str>>,
    /// Konnect's collection: `key-auths`.
    pub konnect_path: Box<str>,
    /// The fields besides the id by which the Admin API finds one: `name`, `username`, `key`.
    pub endpoint_key: Option<Box<str>>,
    /// The keys that make two entities the same, in order; each key is one or several fields.
    /// The first key whose fields all have a value decides; in a key of several fields absent ones count as null.
    pub identity: Vec<Vec<Box<str>>>,
    /// How it is written in state files.
    pub file: FileWords,
    /// How reports name it.
    pub report: ReportWords,
    /// Its fields and rules.
    pub record: Arc<Record>,
    /// For kinds that have no id of their own on the Admin API: the fields whose values follow the nested path in
    /// place of an id. They are created by POST to the nested path.
    pub addressed_by: Vec<Box<str>>,
    /// For such a kind: the foreign field whose entities the rows of the nested list are.
    pub rows_of: Option<Box<str>>,
    /// For kinds without a list of their own: the member that holds them in what the Admin API answers of the parent.
    /// They are written whole, by PUT.
    pub listed_in: Option<Box<str>>,
    /// How a field's value decides on further fields and rules.
    pub subschema: Option<Subschema>,
    /// Entities may expire: the Admin API takes `ttl` in seconds.
    pub ttl: bool,
    /// The fields that make up Kong's cache key; plugins of one key are the same plugin.
    pub cache_key: Vec<Box<str>>,
    /// Its entities belong to a workspace.
    pub workspaceable: bool,
    /// The Admin API has paths for it.
    pub admin_api: bool,
    /// What the Admin API says at these paths instead, where a gateway has the kind switched off by default.
    pub switched_off: Option<Box<str>>,
    /// Sets of fields that are unique together (`[[upstream, target]]`), beyond single `unique` fields.
    pub unique_together: Vec<Vec<Box<str>>>,
    /// The schema as served under `/schemas/{name}`.
    pub served: Json,
}

/// A plugin's schema.
#[derive(Clone, Debug)]
pub struct PluginSchema {
    /// The plugin's name.
    pub name: Box<str>,
    /// `config`, `protocols`, and the scopes that the plugin does not take (`consumer: {eq: null}`).
    pub record: Arc<Record>,
    /// Kong's priority: plugins of higher numbers run first.
    pub priority: i64,
    /// The partials it takes: the partial's type and the paths at which one may stand.
    pub supported_partials: Vec<(Box<str>, Vec<Path>)>,
    /// The schema as served under `/schemas/plugins/{name}`.
    pub served: Json,
}

/// Which sort of fault a violation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// The value has the wrong type.
    WrongType,
    /// The value is not allowed.
    InvalidValue,
    /// The schema has no such field.
    UnknownField,
    /// A required field has no value.
    MissingField,
    /// A rule over several fields is broken (Kong's `@entity`).
    Rule,
    /// There is no such plugin.
    UnknownPlugin,
}

/// One fault of a value against its schema, in Kong's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Where, from the entity's root. For rules the record that the rule belongs to.
    pub path: Path,
    /// Which sort.
    pub kind: ViolationKind,
    /// Kong's message. Never holds a secret's text.
    pub message: String,
    /// Help for people: allowed values, near names.
    pub help: Option<String>,
}
