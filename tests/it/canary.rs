//! Secrets in the file, in the environment and on the control plane: their text is in no output of any command,
//! at any verbosity, whether it succeeds or fails. The one exception is what `dump` is asked for.

use crate::support::{Folder, Gateway, Output, http};
use serde_json::json;

/// Every secret of this test begins so, and nothing else does.
const MARK: &str = "canary-";
/// In the environment, used in a field that is encrypted.
const VARIABLE: &str = "canary-variable-7f3a";
const OLD_VARIABLE: &str = "canary-old-variable-91";
/// In the state file, in clear.
const LITERAL: &str = "canary-literal-c4d2";
const OLD_LITERAL: &str = "canary-old-literal-55";
/// On the control plane only.
const STORED: &str = "canary-stored-0b9e";
/// The tokens with which the gateways are asked.
const TOKEN: &str = "canary-token-31";

fn state(literal: &str) -> String {
    format!(
        r#"_format_version: "3.0"
services:
  - name: chat
    url: https://api.openai.com
    tags: [team]
    routes:
      - name: chat
        paths: [/chat]
        plugins:
          - name: ai-proxy
            config:
              route_type: llm/v1/chat
              auth: {{header_name: Authorization, header_value: "Bearer $SECRET"}}
              model: {{provider: openai, name: gpt-4o}}
consumers:
  - username: ann
    keyauth_credentials: [{{key: {literal}}}]
    jwt_secrets: [{{key: ann, secret: {literal}}}]
"#
    )
}

#[track_caller]
fn is_clean(output: &Output) {
    assert!(!output.all().contains(MARK), "a secret is shown:\n{}\n{}", output.stdout, output.stderr);
}

/// Runs a command at every verbosity and looks at all it prints.
fn run(gateway: &Gateway, folder: &Folder, arguments: &[&str], secret: &str, code: i32) {
    for verbosity in ["0", "1", "2", "3"] {
        let mut all = arguments.to_vec();
        all.extend([
            "--verbose",
            verbosity,
            "--kong-admin-token",
            TOKEN,
            "--headers",
            "X-Canary:canary-header",
        ]);
        let output = gateway.run(folder, &all, &[("SECRET", secret)]);
        assert_eq!(output.code, code, "{arguments:?}: {output:#?}");
        is_clean(&output);
    }
}

#[test]
fn no_secret_is_shown() {
    let gateway = Gateway::with(&["--admin-token", TOKEN, "--verbose", "3"]);
    let folder = Folder::with("old.yaml", &state(OLD_LITERAL));
    folder.write("new.yaml", &state(LITERAL));
    let login = [("kong-admin-token", TOKEN)];
    let url = |path: &str| format!("{}{path}", gateway.admin);
    assert_eq!(http("PUT", &url("/consumers/bob"), &login, &json!({})).status, 200);
    let made = http("POST", &url("/consumers/bob/key-auth"), &login, &json!({"key": STORED}));
    assert_eq!(made.status, 201, "{made:?}");
    let config = json!({"minute": 5, "policy": "redis", "redis": {"host": "localhost", "password": STORED}});
    let plugin = json!({"name": "rate-limiting", "config": config});
    assert_eq!(http("POST", &url("/plugins"), &login, &plugin).status, 201);

    // Deletes what is stored, creates the rest, then rotates every secret.
    for command in ["diff", "sync"] {
        run(&gateway, &folder, &["gateway", command, "old.yaml"], OLD_VARIABLE, 0);
    }
    for format in [&["--json-output"][..], &[]] {
        for command in ["diff", "validate", "sync"] {
            if command == "validate" && !format.is_empty() {
                continue;
            }
            let arguments = [&["gateway", command, "new.yaml"], format].concat();
            run(&gateway, &folder, &arguments, VARIABLE, 0);
            // Back again, so that every verbosity had something to change.
            run(&gateway, &folder, &["gateway", "sync", "old.yaml"], OLD_VARIABLE, 0);
        }
    }
    run(&gateway, &folder, &["gateway", "ping"], VARIABLE, 0);
    run(&gateway, &folder, &["gateway", "dump", "-o", "dump.yaml", "--yes"], VARIABLE, 0);
    // The dump itself holds the configuration; what the command says on the side does not.
    let dump = gateway
        .run(&folder, &["gateway", "dump", "--kong-admin-token", TOKEN, "--verbose", "3"], &[])
        .expect(0);
    assert!(dump.stdout.contains(OLD_LITERAL), "a dump is the configuration: {dump:?}");
    assert!(!dump.stderr.contains(MARK), "{}", dump.stderr);
    run(&gateway, &folder, &["gateway", "reset", "-f", "--json-output"], VARIABLE, 0);
    assert!(!gateway.log().contains(MARK), "{}", gateway.log());
}

/// What a variable supplies is secret also where the schema knows no secret, and so is what it supplied before.
#[test]
fn an_old_value_of_a_plain_field_is_not_shown() {
    let gateway = Gateway::with(&["--admin-token", TOKEN]);
    let text = r#"_format_version: "3.0"
services:
  - name: a
    host: $SECRET.test
    tags: [team, $SECRET]
    routes: [{name: r, paths: [/a, "/$SECRET"]}]
"#;
    let folder = Folder::with("a.yaml", text);
    run(&gateway, &folder, &["gateway", "sync", "a.yaml"], OLD_VARIABLE, 0);
    for format in [&["--json-output"][..], &[]] {
        let arguments = [&["gateway", "diff", "a.yaml"], format].concat();
        run(&gateway, &folder, &arguments, VARIABLE, 0);
    }
    run(&gateway, &folder, &["gateway", "sync", "a.yaml"], VARIABLE, 0);
}

#[test]
fn no_secret_is_shown_in_errors() {
    let gateway = Gateway::with(&["--admin-token", TOKEN]);
    let folder = Folder::new();
    let service =
        |line: &str| format!("_format_version: \"3.0\"\nservices:\n  - name: a\n    host: h\n    {line}\n");
    // Each puts the secret where its own kind of error is about it.
    let broken = [
        service("port: $SECRET"),
        service("port: ${{ env \"SECRET\" | toInt }}"),
        service("retries: ${{ env \"SECRET\" | toBool }}"),
        service("protocol: $SECRET"),
        service("path: $SECRET"),
        service("url: $SECRET"),
        service("id: $SECRET"),
        service("tags: [{a: $SECRET}]"),
        service("routes: [{name: r, paths: [$SECRET]}]"),
        service("routes: [{name: r, paths: [/a], service: {name: $SECRET}}]"),
        service("plugins: [{name: $SECRET}]"),
        service(&format!(
            "plugins: [{{name: ai-proxy, config: {{auth: {{header_value: [{LITERAL}, 1]}}}}}}]"
        )),
        service("plugins: [{name: rate-limiting, config: {policy: $SECRET}}]"),
        service("tls_verify: $SECRET"),
        // What YAML itself refuses: the frame shows the line.
        service(&format!("tags: [{LITERAL}")),
        service(&format!("path: {LITERAL}: x: y")),
        service(&format!("path: \"{LITERAL}")),
        service(&format!("path: *{LITERAL}")),
        service(LITERAL),
        format!(
            "_format_version: \"3.0\"\nconsumers: [{{username: a, keyauth_credentials: [{{key: [{LITERAL}]}}]}}]\n"
        ),
        format!(
            "_format_version: \"3.0\"\nconsumers: [{{username: a, keyauth_credentials: [{{key: {LITERAL}}}, {{key: {LITERAL}}}]}}]\n"
        ),
    ];
    for (number, text) in broken.iter().enumerate() {
        let name = format!("{number}.yaml");
        folder.write(&name, text);
        for command in [["gateway", "sync"], ["gateway", "diff"], ["gateway", "validate"]] {
            for verbosity in ["0", "3"] {
                let arguments =
                    [&command[..], &[&name, "--verbose", verbosity, "--kong-admin-token", TOKEN]].concat();
                let output = gateway.run(&folder, &arguments, &[("SECRET", VARIABLE)]);
                assert_ne!(output.code, 0, "{text}\n{output:#?}");
                assert!(!output.all().contains(MARK), "{command:?} of\n{text}\nshows\n{}", output.all());
            }
        }
        for format in ["text", "json", "sarif", "github"] {
            let output =
                folder.run(&["file", "validate", &name, "--format", format], &[("SECRET", VARIABLE)]);
            assert!(!output.all().contains(MARK), "{format} of\n{text}\nshows\n{}", output.all());
        }
    }
}

/// Files that cannot be read, or that no schema is laid beside, are shown without their values.
#[test]
fn file_validate_shows_no_secret() {
    let head = "_format_version: \"3.0\"\n";
    let credential =
        |line: &str| format!("{head}consumers:\n- username: a\n  jwt_secrets:\n  - key: a\n    {line}\n");
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\\n{LITERAL}\\n-----END RSA PRIVATE KEY-----");
    let texts = [
        // Broken YAML and JSON.
        credential(&format!("secret: \"{LITERAL}")),
        credential(&format!("secret: {LITERAL}: x")),
        credential(&format!("secret: [{LITERAL}, {{x: {LITERAL}")),
        credential(&format!("secret: {LITERAL}\n\ttags: [x]")),
        credential(&format!("secret: {LITERAL}\n   tags: [x]")),
        credential(&format!("secret: @{LITERAL}")),
        credential(&format!("secret: {LITERAL} \u{1}")),
        credential(&format!("secret: |\n      {LITERAL}\n   {LITERAL}")),
        format!(
            "{{\"_format_version\": \"3.0\", \"consumers\": [{{\"jwt_secrets\": [{{\"secret\": \"{LITERAL}\" x}}]}}]}}"
        ),
        // Keys that stand twice, other documents, other shapes.
        credential(&format!("secret: {LITERAL}\n    secret: {LITERAL}")),
        credential(&format!("secret: {LITERAL}\n---\nconsumers: [{{jwt_secrets: [{{secret: {LITERAL}}}]}}]")),
        credential(&format!("secret: {LITERAL}\n    <<: {LITERAL}")),
        credential(&format!("secrte: {LITERAL}")),
        credential(&format!("secret: {{x: {LITERAL}}}")),
        credential(&format!("algorithm: RS256\n    rsa_public_key: {LITERAL}")),
        credential(&format!("algorithm: RS256\n    rsa_public_key: \"{pem}\"")),
        format!("{head}consumers: [{{username: a, keyauth_credentials: {LITERAL}}}]\n"),
        format!("{head}consumers: [{{username: a, keyauth_credentials: [{LITERAL}]}}]\n"),
        format!("{head}keyauth_credential: [{{key: {LITERAL}}}]\n"),
        format!("{head}services: [{{name: s, host: h, path: \"{pem}\"}}]\n"),
        format!("{head}_plugin_configs: {{unused: {{auth: {LITERAL}}}}}\n"),
        format!("{head}_info: {{defaults: {{servce: {{x: {LITERAL}}}}}}}\n"),
        format!("{head}plugins: [{{name: of-our-own, config: {{auth: {LITERAL}}}}}]\n"),
        format!("{head}custom_entities: [{{type: of_our_own, fields: {{auth: {LITERAL}}}}}]\n"),
        format!("- {LITERAL}\n"),
        format!("{LITERAL}\n"),
        // Values of variables.
        credential("secret: ${SECRET}\n    algorithm: ${SECRET}\n    tags: $SECRET"),
        format!("{head}_workspace: $SECRET\n_konnect: {{control_plane_name: $SECRET}}\n"),
        format!("{head}services: [{{name: $SECRET, host: $SECRET}}, {{name: $SECRET, host: h}}]\n"),
    ];
    for text in texts {
        let folder = Folder::with("kong.yaml", &text);
        folder.write("other.yaml", &format!("{head}_konnect: {{control_plane_name: b}}\n"));
        for format in ["text", "sarif"] {
            let arguments = ["file", "validate", ".", "-w", "x", "--format", format];
            let output = folder.run(&arguments, &[("SECRET", VARIABLE)]);
            assert!(!output.all().contains(MARK), "{format} of\n{text}\nshows\n{}", output.all());
            assert!(output.all().contains("kong.yaml"), "{format} of\n{text}\nsays\n{}", output.all());
        }
    }
}

#[test]
fn no_token_is_shown() {
    let gateway = Gateway::with(&["--admin-token", TOKEN, "--konnect-token", TOKEN]);
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\n");
    let login = [["--kong-admin-token", "canary-wrong"], ["--headers", "Kong-Admin-Token:canary-wrong"]];
    for flags in login {
        for command in [&["ping"][..], &["diff", "kong.yaml"], &["dump"]] {
            let arguments = [&["gateway"], command, &flags, &["--verbose", "3"]].concat();
            let output = gateway.run(&folder, &arguments, &[]).expect(1);
            is_clean(&output);
        }
    }
    let konnect = ["--konnect-addr", &gateway.konnect, "--konnect-control-plane-name", "p", "--verbose", "3"];
    for token in [TOKEN, "canary-wrong"] {
        let arguments = [&["gateway", "ping", "--konnect-token", token], &konnect[..]].concat();
        is_clean(&folder.run(&arguments, &[]).expect(1));
    }
    // Mistakes on the command line do not repeat what was meant as a secret either.
    for flag in ["--konnect-tokn", "--kong-admin-tokn", "--tls-client-ky"] {
        is_clean(&folder.run(&["gateway", "ping", flag, "canary-mistyped"], &[]).expect(1));
        is_clean(&folder.run(&["gateway", "ping", &format!("{flag}=canary-mistyped")], &[]).expect(1));
    }
    is_clean(&folder.run(&["gateway", "ping"], &[("DECK_HEADERS", "canary-without-colon")]).expect(1));
    is_clean(&folder.run(&["gateway", "ping"], &[("DECK_TLS_CLIENT_KEY", "canary-key")]).expect(1));
    is_clean(
        &folder
            .run(&["gateway", "ping", "--kong-addr", "http://u:canary-password@127.0.0.1:1"], &[])
            .expect(1),
    );
}

/// Reports of every form, saved plans, the gateway's request log, and dumps that leave secrets out.
#[test]
fn no_secret_is_in_what_is_written() {
    let folder = Folder::with("old.yaml", &state(OLD_LITERAL));
    folder.write("new.yaml", &state(LITERAL));
    let log = folder.path().join("requests.jsonl");
    let gateway = Gateway::with(&["--admin-token", TOKEN, "--log-requests", log.to_str().unwrap()]);
    let run = |arguments: &[&str], secret: &str| {
        let all = [arguments, &["--kong-admin-token", TOKEN]].concat();
        let output = gateway.run(&folder, &all, &[("SECRET", secret)]).expect(0);
        is_clean(&output);
    };
    let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let file_is_clean = |name: &str| assert!(!file(name).contains(MARK), "{name}:\n{}", file(name));
    run(&["gateway", "sync", "old.yaml"], OLD_VARIABLE);
    for format in ["text", "json", "markdown", "github"] {
        run(&["gateway", "diff", "new.yaml", "--format", format], VARIABLE);
    }
    run(&["gateway", "diff", "new.yaml", "--out", "plan.json"], VARIABLE);
    file_is_clean("plan.json");
    run(&["gateway", "sync", "--plan", "plan.json"], VARIABLE);
    // The dump shows what the sync stored; with variables or hashes in their places no secret is left in it.
    run(&["gateway", "dump", "-o", "env.yaml", "--secrets", "env"], VARIABLE);
    file_is_clean("env.yaml");
    assert!(
        file("env.env").contains(LITERAL) && file("env.env").contains(VARIABLE),
        "the values have a file"
    );
    run(&["gateway", "dump", "-o", "hashed.yaml", "--sanitize"], VARIABLE);
    file_is_clean("hashed.yaml");
    run(&["gateway", "reset", "-f"], VARIABLE);
    file_is_clean("requests.jsonl");
    assert!(file("requests.jsonl").lines().count() > 10, "every request has a line");
}
