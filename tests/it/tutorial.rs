//! The tutorial, command by command, through the Admin API and through Konnect, and `foredeck try`.

use crate::support::{Folder, Gateway, Output, command, finish, http};
use serde_json::{Value as Json, json};

const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-tutorial-0123456789");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kong-ai/kong-ai.yaml");

fn folder() -> Folder {
    Folder::with("kong-ai.yaml", &std::fs::read_to_string(EXAMPLE).unwrap())
}

fn question() -> Json {
    json!({"messages": [{"role": "user", "content": "What is Kong Gateway in one sentence?"}]})
}

#[track_caller]
fn is_chat_completion(answer: &Json) {
    assert_eq!(answer["object"], "chat.completion", "{answer:#}");
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["role"], "assistant", "{answer:#}");
    assert!(message["content"].as_str().is_some_and(|text| !text.is_empty()), "{answer:#}");
    assert!(answer["usage"]["total_tokens"].as_u64().is_some_and(|n| n > 0), "{answer:#}");
}

/// The commands of the tutorial with what they say; `target` names the gateway.
fn walk(run: impl Fn(&[&str]) -> Output, proxy: &str) {
    let output = run(&["gateway", "ping"]).expect(0);
    let found = ["Successfully connected to Kong!", "Successfully Konnected to the foredeck organization!"];
    assert!(found.iter().any(|line| output.stdout.starts_with(line)), "{output:?}");

    let created = "creating service openai-service\ncreating route openai-chat-route\ncreating plugin ai-proxy for route openai-chat-route\n";
    let summary =
        |created, deleted| format!("Summary:\n  Created: {created}\n  Updated: 0\n  Deleted: {deleted}\n");
    let output = run(&["gateway", "diff", "kong-ai.yaml", "--non-zero-exit-code"]).expect(2);
    assert_eq!(output.stdout, format!("{created}{}", summary(3, 0)));
    assert_eq!(http("POST", &format!("{proxy}/ai/chat"), &[], &question()).status, 404);

    let output = run(&["gateway", "sync", "kong-ai.yaml"]).expect(0);
    assert_eq!(output.stdout, format!("{created}{}", summary(3, 0)));
    let output = run(&["gateway", "diff", "kong-ai.yaml", "--non-zero-exit-code"]).expect(0);
    assert_eq!(output.stdout, summary(0, 0));
    run(&["gateway", "validate", "kong-ai.yaml"]).expect(0);

    let answer = http("POST", &format!("{proxy}/ai/chat"), &[], &question());
    assert_eq!(answer.status, 200, "{answer:?}");
    is_chat_completion(&answer.json());

    let dumped = run(&["gateway", "dump"]).expect(0).stdout;
    for word in ["_format_version: \"3.0\"", "openai-service", "/ai/chat", "ai-proxy"] {
        assert!(dumped.contains(word), "{word} is not in\n{dumped}");
    }

    run(&["gateway", "reset", "-f"]).expect(0);
    assert_eq!(http("POST", &format!("{proxy}/ai/chat"), &[], &question()).status, 404);
    run(&["gateway", "diff", "kong-ai.yaml", "--non-zero-exit-code"]).expect(2);
}

#[test]
fn through_the_admin_api() {
    let gateway = Gateway::with(&["--mock-llm"]);
    let folder = folder();
    walk(|arguments| gateway.run(&folder, arguments, &[KEY]), &gateway.proxy);
}

#[test]
fn through_konnect() {
    let gateway = Gateway::with(&["--mock-llm", "--konnect-token", "kpat_good"]);
    let folder = folder();
    let run = |token: &str, arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--konnect-addr", &gateway.konnect, "--konnect-token", token]);
        all.extend(["--konnect-control-plane-name", "kong-ai-tutorial"]);
        folder.run(&all, &[KEY])
    };
    // One line with the address for each thing that can be wrong from outside.
    let output = run("kpat_bad", &["gateway", "ping"]).expect(1);
    assert!(output.stderr.contains(&gateway.konnect), "{output:?}");
    assert!(!output.all().contains("kpat_bad"), "{output:?}");
    let output = run("kpat_good", &["gateway", "diff", "kong-ai.yaml"]).expect(1);
    assert!(
        output.stderr.contains("kong-ai-tutorial") && output.stderr.contains(&gateway.konnect),
        "{output:?}"
    );

    let planes = format!("{}/v2/control-planes", gateway.konnect);
    let login = [("authorization", "Bearer kpat_good")];
    assert_eq!(
        http("GET", &planes, &login, &Json::Null).json()["data"],
        json!([]),
        "a missing plane is not made"
    );
    assert_eq!(http("POST", &planes, &login, &json!({"name": "kong-ai-tutorial"})).status, 201);
    walk(|arguments| run("kpat_good", arguments), &gateway.proxy);
}

#[test]
fn an_unreachable_gateway_is_one_line_with_the_address() {
    // The port was free a moment ago, and nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}");
    for arguments in
        [vec!["gateway", "ping"], vec!["gateway", "sync", "kong-ai.yaml"], vec!["gateway", "dump"]]
    {
        let output = folder().run(&arguments, &[KEY, ("DECK_KONG_ADDR", &address)]).expect(1);
        assert!(output.stderr.contains(&address), "{output:?}");
        assert_eq!(output.stdout, "", "{output:?}");
    }
}

#[test]
fn try_shows_plan_result_answer_and_what_to_do_next() {
    let mut command = command();
    command.args(["try", EXAMPLE, "--once"]);
    let output = finish(command, "").expect(0);
    for part in [
        "OPENAI_API_KEY is not set",
        "creating plugin ai-proxy for route openai-chat-route",
        "Created: 3",
        "POST /ai/chat",
        "200 OK",
        "foredeck gateway diff",
    ] {
        assert!(output.stdout.contains(part), "{part} is not in\n{}", output.stdout);
    }
    let (_, answer) = output.stdout.split_once("200 OK\n").unwrap();
    let answer = serde_json::Deserializer::from_str(answer).into_iter::<Json>().next().unwrap().unwrap();
    is_chat_completion(&answer);
}

#[test]
fn try_moves_on_from_a_taken_port() {
    // Another test may have the port for a moment; a program that keeps it does as well as our own listener.
    let take = || std::net::TcpListener::bind("127.0.0.1:8000").ok();
    let wait = |_| std::thread::sleep(std::time::Duration::from_millis(20));
    let _taken = (0..250).find_map(|round| {
        take().or_else(|| {
            wait(round);
            None
        })
    });
    let mut command = command();
    command.args(["try", EXAMPLE, "--once"]);
    let output = finish(command, "").expect(0);
    assert!(output.stdout.contains("Port 8000 is taken; the proxy takes a free one."), "{output:?}");
    assert!(output.stdout.contains("200 OK"), "{output:?}");
}

#[test]
fn try_names_the_mistakes_of_a_file() {
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices:\n  - nam: a\n");
    let output = folder.run(&["try", "kong.yaml", "--once"], &[]).expect(1);
    assert!(output.stderr.contains("kong.yaml:3:5"), "{output:?}");
    let output = folder.run(&["try", "missing.yaml", "--once"], &[]).expect(1);
    assert!(output.stderr.contains("missing.yaml"), "{output:?}");
}
