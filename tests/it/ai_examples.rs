//! The examples of the AI gateway do what they say, synced by the real command into the real gateway.

use super::ai_proxy::gateway;
use super::support::{Answer, Folder, Gateway, http};
use serde_json::{Value as Json, json};

const SECRETS: [(&str, &str); 5] = [
    ("OPENAI_API_KEY", "sk-hush"),
    ("ANTHROPIC_API_KEY", "ak-hush"),
    ("ANNA_KEY", "anna-hush"),
    ("BEN_KEY", "ben-hush"),
    ("APP_SECRET", "a secret of at least thirty-two bytes"),
];

/// A gateway with an example synced into it.
fn synced(example: &str) -> Gateway {
    let gateway = gateway();
    let file = format!("{}/examples/{example}/kong.yaml", env!("CARGO_MANIFEST_DIR"));
    let output = gateway.run(&Folder::new(), &["gateway", "sync", &file], &SECRETS).expect(0);
    assert!(!output.all().contains("hush"), "{output:?}");
    gateway
}

fn chat(gateway: &Gateway, headers: &[(&str, &str)], model: Option<&str>) -> Answer {
    let mut body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    if let Some(model) = model {
        body["model"] = model.into();
    }
    http("POST", &format!("{}/ai/chat", gateway.proxy), headers, &body)
}

fn model(answer: &Answer) -> Json {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["object"], "chat.completion", "{}", answer.text);
    answer.json()["model"].clone()
}

#[test]
fn each_consumer_has_so_many_chats_a_minute() {
    let gateway = synced("ai-rate-limit");
    assert_eq!(chat(&gateway, &[], None).status, 401);
    assert_eq!(chat(&gateway, &[("apikey", "wrong")], None).status, 401);
    // a minute may end between two requests: the fourth or, at worst, the seventh is refused
    let statuses: Vec<u16> =
        (0..7).map(|_| chat(&gateway, &[("apikey", "anna-hush")], None).status).collect();
    assert_eq!(statuses[..3], [200, 200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(model(&chat(&gateway, &[("apikey", "ben-hush")], None)), "gpt-4o");
}

#[test]
fn anthropic_answers_where_openai_fails() {
    let gateway = synced("ai-many-providers");
    assert_eq!(model(&chat(&gateway, &[], Some("assistant"))), "gpt-4o");
    let failing = [("x-mock-llm", "fail=503@gpt-4o")];
    assert_eq!(model(&chat(&gateway, &failing, Some("assistant"))), "claude-sonnet-4-5");
    let broken = [("x-mock-llm", "fail=503")];
    assert_eq!(chat(&gateway, &broken, Some("assistant")).status, 503);
}

#[test]
fn a_token_opens_the_ai_routes() {
    use jsonwebtoken::{EncodingKey, Header, encode};
    let gateway = synced("ai-jwt");
    let token = |secret: &str, exp: u64| {
        let claims = json!({"iss": "app", "exp": exp});
        let token =
            encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        format!("Bearer {token}")
    };
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    let ask = |token: &str| chat(&gateway, &[("authorization", token)], None);
    assert_eq!(chat(&gateway, &[], None).status, 401);
    assert_eq!(ask(&token("another secret of thirty-two bytes..", later)).status, 401);
    assert_eq!(ask(&token(SECRETS[4].1, 1_600_000_000)).status, 401);
    assert_eq!(model(&ask(&token(SECRETS[4].1, later))), "gpt-4o");
}
