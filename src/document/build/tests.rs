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
