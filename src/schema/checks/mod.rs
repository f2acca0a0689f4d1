//! The checks that Kong writes as code: named functions that the notation refers to by `check`.

mod keys;
mod lua;
mod paths;
mod plugins;
mod regexes;
mod routes;
mod texts;

pub use paths::normalize_path;
pub(super) use regexes::is_regex;

use super::check::show;
use super::faults::Fault;
use super::types::ViolationKind;
use crate::value::{Map, Value};
use std::borrow::Cow;

/// Words that are borrowed never quote a value, so that they may be shown of secrets too.
type Outcome = Result<(), Cow<'static, str>>;
type TextCheck = fn(&str) -> Outcome;
type ValueCheck = fn(&Value) -> Outcome;
type Rule = fn(&Map) -> Outcome;
type NormalForm = fn(&str) -> Option<String>;

/// Checks on texts, by name.
const TEXT_CHECKS: &[(&str, TextCheck)] = &[
    ("acme_namespace", plugins::acme_namespace),
    ("certificate", keys::certificate),
    ("cookie_name", texts::cookie_name),
    ("header_name", texts::header_name),
    ("host", texts::host),
    ("host_with_optional_port", texts::host_with_optional_port),
    ("host_with_wildcards", texts::host_with_wildcards),
    ("ip", texts::ip),
    ("ip_or_cidr", texts::ip_or_cidr),
    ("ip_or_cidr_v4", texts::ip_or_cidr_v4),
    ("key_of_any_format", keys::key_of_any_format),
    ("lua_or_word", lua::lua_or_word),
    ("name", texts::name),
    ("path", paths::path),
    ("post_function", lua::post_function),
    ("pre_function", lua::pre_function),
    ("private_key", keys::private_key),
    ("redirect_uri", texts::redirect_uri),
    ("regex_or_asterisk", regexes::regex_or_asterisk),
    ("router_path", paths::router_path),
    ("sni", texts::sni),
    ("tag", texts::tag),
    ("target", texts::target),
    ("transformer_header", plugins::transformer_header),
    ("transformer_header_pair", plugins::transformer_header_pair),
    ("transformer_value", plugins::transformer_value),
    ("upstream_name", texts::upstream_name),
    ("url", texts::full_url),
    ("url_or_word", texts::url_or_word),
    ("utf8_name", texts::utf8_name),
    ("uuid_or_word", texts::uuid_or_word),
    ("wildcard_host", texts::wildcard_host),
];

/// Checks on values of any type, by name.
const VALUE_CHECKS: &[(&str, ValueCheck)] = &[
    ("attributes", plugins::attributes),
    ("http_log_credentials", plugins::http_log_credentials),
    ("limits_of_periods", plugins::limits_of_periods),
    ("oauth2_flows", plugins::oauth2_flows),
    ("pem_keys", keys::pem_keys),
    ("port_or_word", plugins::port_or_word),
    ("rate_limits", plugins::rate_limits),
    ("request_termination", plugins::request_termination),
    ("unique_tag_names", plugins::unique_tag_names),
];

/// Rules over the fields of a record, by name.
const RULES: &[(&str, Rule)] = &[
    ("alternative_certificate_matches_key", keys::alternative_certificate_matches_key),
    ("aws_lambda_proxy", plugins::aws_lambda_proxy),
    ("ca_certificate", keys::ca_certificate),
    ("certificate_matches_key", keys::certificate_matches_key),
    ("certificates_differ_in_type", keys::certificates_differ_in_type),
    ("jwk", keys::jwk),
    ("llm_statistics", plugins::llm_statistics),
    ("route_expression", routes::route_expression),
];

/// Normal forms of texts, by name: what the gateway stores in place of what it was given.
const NORMAL_FORMS: &[(&str, NormalForm)] = &[("target", texts::normal_target)];

/// The normal form of a text; `None` when it has none or is faulty.
pub(super) fn normal_form(name: &str, text: &str) -> Option<String> {
    NORMAL_FORMS.iter().find(|(each, _)| *each == name).and_then(|(_, normal)| normal(text))
}

/// The names of all checks on a field.
#[cfg(test)]
pub(super) fn field_check_names() -> impl Iterator<Item = &'static str> {
    TEXT_CHECKS.iter().map(|(name, _)| *name).chain(VALUE_CHECKS.iter().map(|(name, _)| *name))
}

/// The names of all rules.
#[cfg(test)]
pub(super) fn rule_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// Runs a named check on a field's value.
pub(super) fn run(name: &str, value: &Value) -> Result<(), Fault> {
    let text_check = TEXT_CHECKS.iter().find(|(each, _)| *each == name);
    let outcome = match (text_check, value.exposed_str()) {
        (Some((_, check)), Some(text)) => check(text),
        (Some(_), None) => Ok(()),
        (None, _) => match VALUE_CHECKS.iter().find(|(each, _)| *each == name) {
            Some((_, check)) => check(value),
            None => Ok(()),
        },
    };
    outcome.map_err(|words| {
        let message = match words {
            Cow::Owned(_) if value.is_secret() => format!("invalid value: {}", show(value)),
            words => words.into_owned(),
        };
        Fault::new(ViolationKind::InvalidValue, message)
    })
}

/// Runs a named rule on a record.
pub(super) fn run_rule(name: &str, members: &Map) -> Result<(), String> {
    match RULES.iter().find(|(each, _)| *each == name) {
        Some((_, rule)) => rule(members).map_err(Cow::into_owned),
        None => Ok(()),
    }
}

/// The known name that is nearest to a mistyped one, if one is near.
pub(super) fn near<'a>(name: &str, known: Vec<&'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|each| (strsim::damerau_levenshtein(name, each), each))
        .filter(|(distance, each)| *distance <= (each.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, each)| each)
}

/// Whether a text is a UUID in its usual form.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn demand<Words: Into<Cow<'static, str>>>(holds: bool, words: impl FnOnce() -> Words) -> Outcome {
    if holds { Ok(()) } else { Err(words().into()) }
}
