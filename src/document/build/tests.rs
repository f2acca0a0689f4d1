//! What becomes of state files.

use crate::diagnostics::{Format, render};
use crate::document::{Loaded, Options, Variables, read};
use crate::schema::{Flavor, Schemas};
use std::sync::Arc;

/// Loads a file given as text, with variables.
pub(crate) fn load_with(text: &str, variables: &[(&str, &str)], change: impl FnOnce(&mut Options)) -> Loaded {
    let pairs = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let mut options = Options { variables: Arc::new(Variables::new(pairs)), ..Options::default() };
    change(&mut options);
    read(&["-".into()], &mut text.as_bytes(), options).build(&Schemas::bundled(Flavor::Kong314))
}

fn load(text: &str) -> Loaded {
    load_with(text, &[], |_| {})
}

/// The entities, one a line, and the problems, as users see them.
fn shown(loaded: &Loaded) -> String {
    let mut out = String::new();
    for (index, entity) in loaded.state.entities.iter().enumerate() {
        out.push_str(&format!("#{index} {} {}", entity.kind.name, entity.body));
        if let Some(id) = entity.id {
            out.push_str(&format!(" id={id}"));
        }
        for (field, reference) in &entity.references {
            out.push_str(&format!(" {field}->{:?}", reference.target));
        }
        out.push('\n');
    }
    out + &render(&loaded.diagnostics, &loaded.sources, Format::Text, false)
}

#[test]
fn a_chat_service_becomes_a_service_a_route_and_a_plugin() {
    let text = r#"_format_version: "3.0"
services:
  - name: chat
    url: https://llm.example.com
    routes:
      - name: chat-route
        paths: [/talk]
        plugins:
          - name: ai-proxy
            config:
              route_type: llm/v1/chat
              auth: {header_name: Authorization, header_value: "Bearer $LLM_KEY"}
              model: {provider: openai, name: gpt-4o, options: {max_tokens: 512}}
"#;
    let loaded = load_with(text, &[("LLM_KEY", "hush")], |_| {});
    insta::assert_snapshot!(shown(&loaded));
}

#[test]
fn every_sort_of_fault_is_found_in_one_run_with_its_place() {
    let text = r#"_format_version: "3.0"
servces: []
services:
- name: shop
  prot: http
  port: 99999999
  host: shop.test
- {name: shop, host: other.test}
- name: none
routes:
- name: r
  paths: [/x]
  service: {name: shpo}
  methods: get
plugins:
- name: rate-limitng
- name: rate-limiting
  route: r
  config: {minute: lots, policy: local, secnd: 1}
- name: key-auth
  service: ghost
consumers:
- username: amy
  keyauth_credentials:
  - key: hush-1
    tag: x
"#;
    let shown = shown(&load(text));
    assert!(!shown.contains("hush"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = r#"_format_version: "3.0"
_plugin_configs:
  unused: {minute: 1}
services:
- name: shop
  url: http://shop.test
  routes:
  - {name: one, paths: [/a, /b], protocols: [http, https]}
  - {name: two, paths: [/b]}
  - {name: three, paths: ["/items/[0-9]+"]}
  - {name: four, paths: ["~/items/[0-9]+$"]}
plugins:
- name: key-auth
  route: one
- name: rate-limiting
  route: two
  config: {minute: 1, policy: redis, redis_host: cache.test}
consumers:
- username: amy
  keyauth_credentials:
  - key: hush-1
  - key: $FROM_ENV
  - key: "{vault://env/key}"
"#;
    let loaded = load_with(text, &[("FROM_ENV", "hush-2")], |options| options.lint = true);
    let shown = render(&loaded.diagnostics, &loaded.sources, Format::Text, false);
    assert!(!shown.contains("hush"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn an_unset_variable_is_a_warning_when_values_are_not_needed() {
    let text = "_format_version: \"3.0\"\nservices:\n- {name: s, host: $HOST, port: ${{ env \"DECK_PORT\" | toInt }}}\n";
    let loaded =
        load_with(text, &[("DECK_PROT", "1")], |options| options.unset = crate::document::Unset::Warn);
    assert!(!loaded.has_errors());
    insta::assert_snapshot!(render(&loaded.diagnostics, &loaded.sources, Format::Text, false));
    assert!(load(text).has_errors());
}

#[test]
fn values_never_change_the_structure() {
    let text = "_format_version: \"3.0\"\nservices:\n- name: s\n  host: ${{ env \"A\" }}\n  tags: [\"$B\", \"x ${{ env \"A\" }}\"]\n  port: $PORT\n  enabled: ${{ env \"ON\" | toBool }}\n";
    let hostile = "x: y #z\n- name: other, \"']}";
    let variables = [("A", "h.test"), ("B", hostile), ("PORT", "81"), ("ON", "true")];
    let loaded = load_with(text, &variables, |_| {});
    let service = &loaded.state.entities[0];
    assert_eq!(loaded.state.entities.len(), 1);
    assert_eq!(service.body.get("port").and_then(crate::value::Value::as_i64), Some(81));
    assert_eq!(service.body.get("enabled").and_then(crate::value::Value::as_bool), Some(true));
    let tags = service.body.get("tags").and_then(|tags| tags.as_array()).unwrap();
    assert_eq!(tags[0].exposed_str(), Some(hostile));
    assert_eq!(tags[1].exposed_str(), Some("x h.test"));
    assert!(!format!("{}", service.body).contains("h.test"));
}

#[test]
fn shared_settings_and_defaults_fill_what_an_entity_leaves_out() {
    let text = r#"_format_version: "3.0"
_info:
  select_tags: [team]
  defaults:
    service: {retries: 9}
    target: {weight: 7}
_plugin_configs:
  limits: {minute: 11, policy: local}
services:
- name: a
  host: a.test
  plugins:
  - name: rate-limiting
    _config: limits
    config: {minute: 5}
  - name: key-auth
    _config: limit
upstreams:
- name: u
  targets: [{target: "10.0.0.1:80"}, {target: "10.0.0.2:80", weight: 1}]
"#;
    insta::assert_snapshot!(shown(&load(text)));
}

#[test]
fn only_the_schemas_that_a_file_needs_are_parsed() {
    let text = r#"_format_version: "3.0"
services:
  - name: shop
    url: https://shop.test
    plugins: [{name: cors, config: {origins: [a.test]}}]
"#;
    let schemas = Schemas::fresh(Flavor::Kong314);
    let documents = read(&["-".into()], &mut text.as_bytes(), Options { lint: true, ..Options::default() });
    assert_eq!(documents.plugins().into_iter().collect::<Vec<_>>(), ["cors"]);
    assert!(schemas.parsed().is_empty());
    assert!(!documents.build(&schemas).has_errors());
    assert_eq!(schemas.parsed(), ["kinds", "cors"]);
}

#[test]
fn references_of_every_sort_are_followed() {
    let text = r#"_format_version: "3.0"
_info:
  default_lookup_tags: {consumer_groups: [x], consumr: [y]}
services:
- name: shop
  url: https://shop.test
  client_certificate: {id: 3ec9b0a4-5a0f-4d43-9a4e-2d5dd2f1d001}
  ca_certificates: [3ec9b0a4-5a0f-4d43-9a4e-2d5dd2f1d002]
partials:
- {name: cache, type: redis-ce, config: {host: cache.test}}
plugins:
- {name: rate-limiting, partials: [{name: cache}, {name: cahce}], config: {minute: 5, policy: redis}}
- {name: cors, consumer_group: elsewhere}
- {name: ip-restriction, consumer: ghost, config: {allow: [10.0.0.1]}}
keys:
- {name: k, kid: k, set: {name: nowhere}, jwk: '{"kid": "k", "kty": "oct", "k": "aGk"}'}
vaults:
- {name: env, prefix: mine, config: {prefix: X_}}
consumers:
- username: amy
  groups: [{name: elsewhere}]
  keyauth_credentials: [{key: "{vault://mine/a}"}, {key: "{vault://env/a}"}, {key: "{vault://mien/a}"}, {key: $KEY}]
"#;
    let loaded = load_with(text, &[("KEY", "{vault://hush/a}")], |options| options.lint = true);
    let shown = render(&loaded.diagnostics, &loaded.sources, Format::Text, false);
    assert!(!shown.contains("hush"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn many_secrets_in_clear_are_one_warning_a_field() {
    let mut text = "_format_version: \"3.0\"\nconsumers:\n".to_owned();
    for n in 0..9 {
        text.push_str(&format!(
            "- username: u{n}\n  keyauth_credentials: [{{key: hush-{n}}}]\n  jwt_secrets: [{{key: j{n}, secret: hush-{n}}}]\n"
        ));
    }
    let loaded = load_with(&text, &[], |options| options.lint = true);
    insta::assert_snapshot!(render(&loaded.diagnostics, &loaded.sources, Format::Text, false));
}

#[test]
fn paths_with_placeholders_are_told_from_regular_expressions() {
    let text = "_format_version: \"3.0\"\nservices: [{name: s, host: h, routes: [{name: r, paths: [\"/users/{id}/x\", \"/a.b/~c\", \"/v[0-9]\"]}]}]\n";
    let loaded = load_with(text, &[], |options| options.lint = true);
    let help: Vec<_> = loaded.diagnostics.iter().flat_map(|problem| &problem.help).collect();
    assert_eq!(
        help,
        [
            "`{name}` is no placeholder; write `~/users/(?<id>[^/]+)/x$`",
            "write `~/v[0-9]` for a regular expression"
        ]
    );
}

#[test]
fn defaults_that_no_entity_uses_are_checked_too() {
    let text = r#"_format_version: "3.0"
_info:
  defaults:
    upstream: {slots: 3, nope: 1, tags: [$UNSET]}
    route: {strip_pat: true, protocols: [https], service: {name: s}}
    plugin: {enabled: 1}
    service: {retries: 5}
services: [{name: a, host: h}]
"#;
    let loaded = load_with(text, &[], |options| options.unset = crate::document::Unset::Warn);
    insta::assert_snapshot!(render(&loaded.diagnostics, &loaded.sources, Format::Text, false));
}
