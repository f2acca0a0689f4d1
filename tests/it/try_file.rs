//! `foredeck try`: an example, served, synced and asked, by one command.

use super::support::{Folder, Output};

/// Tries a file once.
fn tried(file: &str, env: &[(&str, &str)]) -> Output {
    Folder::new().run(&["try", "--once", file], env)
}

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_chat_is_answered_by_the_mock_provider() {
    let output = tried(&example("kong-ai/kong-ai.yaml"), &[]).expect(0);
    let told = output.all();
    assert!(told.contains("OPENAI_API_KEY is not set: a built-in mock provider answers"), "{told}");
    assert!(told.contains("POST /ai/chat"), "{told}");
    assert!(told.contains("200 OK") && told.contains("\"chat.completion\""), "{told}");
}

#[test]
fn a_token_is_signed_with_the_files_own_secret() {
    let secret = "a secret of at least thirty-two bytes";
    let output = tried(&example("ai-jwt/kong.yaml"), &[("APP_SECRET", secret)]).expect(0);
    let told = output.all();
    assert!(told.contains("200 OK") && told.contains("\"chat.completion\""), "{told}");
    assert!(told.contains("signed with the secret of a consumer's jwt credential"), "{told}");
    assert!(told.contains("-H 'authorization: Bearer TOKEN'"), "{told}");
    assert!(!told.contains(secret) && !told.contains("Bearer ey"), "{told}");
}

#[test]
fn a_consumers_key_is_shown() {
    let env = [("ANNA_KEY", "anna-hush"), ("BEN_KEY", "ben-hush")];
    let output = tried(&example("ai-rate-limit/kong.yaml"), &env).expect(0);
    let told = output.all();
    assert!(told.contains("200 OK") && told.contains("-H 'apikey: KEY'"), "{told}");
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn a_credential_that_cannot_be_shown_is_named() {
    let folder = Folder::new();
    let file = folder.write(
        "kong.yaml",
        r#"
_format_version: "3.0"
services:
  - name: s
    url: https://api.openai.com
    routes:
      - name: r
        paths: [/chat]
        plugins:
          - name: basic-auth
          - name: ai-proxy
            config:
              route_type: llm/v1/chat
              auth: {header_name: Authorization, header_value: "Bearer $OPENAI_API_KEY"}
              model: {provider: openai, name: gpt-4o}
"#,
    );
    let output = folder.run(&["try", "--once", file.to_str().unwrap()], &[]).expect(1);
    assert!(output.all().contains("The route lets only clients in that basic-auth knows"), "{output:?}");
}
