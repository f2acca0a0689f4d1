//! Flags of the gateway commands, each seen to act: what is told without it is told otherwise with it.

use crate::support::{Folder, Gateway, http};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value as Json, json};

const EMPTY: &str = "_format_version: \"3.0\"\n";

#[test]
fn values_of_variables_are_shown_when_that_is_asked_for_but_secrets_are_not() {
    let gateway = Gateway::start();
    let state = "_format_version: \"3.0\"\nservices: [{name: s, host: '${{ env \"DECK_HOST\" }}'}]\n\
                 consumers: [{username: amy, keyauth_credentials: [{key: '${{ env \"DECK_KEY\" }}'}]}]\n";
    let folder = Folder::with("kong.yaml", state);
    let env = [("DECK_HOST", "shown.test"), ("DECK_KEY", "hush")];
    gateway.run(&folder, &["gateway", "sync", "kong.yaml"], &env).expect(0);
    let env = [("DECK_HOST", "other.test"), ("DECK_KEY", "whisper")];
    let masked = gateway.run(&folder, &["gateway", "diff", "kong.yaml"], &env).expect(0).stdout;
    assert!(!masked.contains("other.test") && masked.contains("DECK_HOST"), "{masked}");
    let diff = ["gateway", "diff", "kong.yaml", "--no-mask-deck-env-vars-value"];
    let open = gateway.run(&folder, &diff, &env).expect(0).stdout;
    assert!(open.contains("shown.test") && open.contains("other.test"), "{open}");
    assert!(!open.contains("hush") && !open.contains("whisper"), "{open}");
}

#[test]
fn ca_certificates_are_left_alone_when_that_is_asked_for() {
    let gateway = Gateway::start();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let url = format!("{}/ca_certificates", gateway.admin);
    assert_eq!(http("POST", &url, &[], &json!({ "cert": pem })).status, 201);
    let folder = Folder::with("empty.yaml", EMPTY);
    for command in ["sync empty.yaml --yes", "reset -f", "dump"] {
        let skipped = gateway.line(&folder, &format!("gateway {command} --skip-ca-certificates")).expect(0);
        assert!(!skipped.stdout.contains("CERTIFICATE"), "{skipped:?}");
        assert_eq!(gateway.count("/ca_certificates"), 1, "{command}");
    }
    assert!(gateway.line(&folder, "gateway dump").expect(0).stdout.contains("ca_certificates:"));
    gateway.line(&folder, "gateway sync empty.yaml --yes").expect(0);
    assert_eq!(gateway.count("/ca_certificates"), 0);
}

#[test]
fn access_control_and_all_else_are_two_worlds() {
    let gateway = Gateway::enterprise();
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n");
    folder.write("roles.yaml", "_format_version: \"3.0\"\nrbac_roles: [{name: reader}]\n");
    folder.write("empty.yaml", EMPTY);
    gateway.line(&folder, "gateway sync kong.yaml").expect(0);
    gateway.line(&folder, "gateway sync roles.yaml --rbac-resources-only").expect(0);
    let dump = gateway.line(&folder, "gateway dump --rbac-resources-only").expect(0).stdout;
    assert!(dump.contains("reader") && !dump.contains("services"), "{dump}");
    let dump = gateway.line(&folder, "gateway dump").expect(0).stdout;
    assert!(!dump.contains("reader") && dump.contains("services"), "{dump}");
    gateway.line(&folder, "gateway diff roles.yaml --rbac-resources-only --non-zero-exit-code").expect(0);
    gateway.line(&folder, "gateway reset -f --rbac-resources-only").expect(0);
    assert_eq!((gateway.count("/services"), gateway.count("/rbac/roles")), (1, 0));
    gateway.line(&folder, "gateway sync roles.yaml --rbac-resources-only").expect(0);
    gateway.line(&folder, "gateway reset -f").expect(0);
    assert_eq!((gateway.count("/services"), gateway.count("/rbac/roles")), (0, 1));
}

#[test]
fn roles_in_a_file_of_their_own_are_made_without_the_flag_and_none_is_deleted() {
    let gateway = Gateway::enterprise();
    let folder = Folder::with("one.yaml", "_format_version: \"3.0\"\nrbac_roles: [{name: one}]\n");
    folder.write("two.yaml", "_format_version: \"3.0\"\nrbac_roles: [{name: two}]\n");
    folder.write("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n");
    gateway.line(&folder, "gateway sync kong.yaml").expect(0);
    gateway.line(&folder, "gateway sync one.yaml").expect(0);
    gateway.line(&folder, "gateway sync two.yaml").expect(0);
    gateway.line(&folder, "gateway diff two.yaml --non-zero-exit-code").expect(0);
    assert_eq!((gateway.count("/services"), gateway.count("/rbac/roles")), (1, 2));
    gateway.line(&folder, "gateway sync two.yaml --rbac-resources-only").expect(0);
    assert_eq!((gateway.count("/services"), gateway.count("/rbac/roles")), (1, 1));
}

#[test]
fn what_the_flags_and_the_files_say_must_go_together() {
    let gateway = Gateway::enterprise();
    let service = "services: [{name: s, host: h.test}]\n";
    let groups = "consumer_groups: [{name: g}]\nconsumers: [{username: amy, groups: [{name: g}]}]\n";
    let lookup = "_info: {default_lookup_tags: {consumers: [t]}}\n";
    let roles = "rbac_roles: [{name: r}]\n";
    let cases = [
        (format!("{service}{roles}"), "", "roles"),
        (format!("{service}{roles}"), "--rbac-resources-only", "roles"),
        ("cloned_plugins: [{name: c, ref: cors}]\n".to_owned(), "", "--include-plugin-definitions"),
        (groups.to_owned(), "--skip-consumers-with-consumer-groups", "kong.yaml:3:"),
        (lookup.to_owned(), "--skip-consumers", "lookup tags"),
        (roles.to_owned(), "--rbac-resources-only --skip-consumers", "--skip-consumers"),
        (roles.to_owned(), "--rbac-resources-only --select-tag t", "select tags"),
        (service.to_owned(), "--skip-hash-for-basic-auth", "Konnect"),
        ("services:\n".to_owned(), "", "`services` must be a list"),
        ("services: [{name: s, host: h.test, routes: }]\n".to_owned(), "", "`routes` must be a list"),
    ];
    for (text, flags, told) in cases {
        let folder = Folder::with("kong.yaml", &format!("{EMPTY}{text}"));
        let output = gateway.line(&folder, &format!("gateway sync kong.yaml --yes {flags}")).expect(1);
        assert!(output.stderr.contains(told), "{text}{flags}: {output:?}");
    }
    let folder = Folder::with("kong.yaml", "");
    let output = gateway.line(&folder, "gateway sync kong.yaml --yes").expect(1);
    assert!(output.stderr.contains("nothing is written in kong.yaml"), "{output:?}");
    assert_eq!((gateway.count("/services"), gateway.count("/rbac/roles")), (0, 0));
}

#[test]
fn paths_of_gateways_before_3_0_are_told_before_a_run_and_stop_it_where_that_is_asked_for() {
    let gateway = Gateway::start();
    let state = "_format_version: \"3.0\"\nroutes: [{name: r, paths: ['/a[0-9]+']}]\n";
    let folder = Folder::with("kong.yaml", state);
    let error = "-E route-regex-path-format";
    let refused = gateway.line(&folder, &format!("gateway sync kong.yaml {error}")).expect(1);
    assert!(refused.stderr.contains("error[W0102]") && gateway.count("/routes") == 0, "{refused:?}");
    let told = gateway.line(&folder, "gateway sync kong.yaml").expect(0);
    assert!(told.stderr.contains("warning[W0102]") && gateway.count("/routes") == 1, "{told:?}");
}

#[test]
fn a_difference_shows_what_changes_and_nothing_else() {
    let gateway = Gateway::start();
    let state = |tag: &str, paths: &str| {
        format!(
            "_format_version: \"3.0\"\nservices:\n- name: s\n  host: h.test\n  routes: [{{name: r, hosts: [a.test], paths: {paths}}}]\n  \
                 plugins: [{{name: rate-limiting, config: {{minute: 5}}, tags: [{tag}]}}]\n\
                 upstreams: [{{name: u, targets: [{{target: 'a.test:80', tags: [{tag}]}}]}}]\n"
        )
    };
    let folder = Folder::with("one.yaml", &state("one", "[/a]"));
    folder.write("two.yaml", &state("two", "[]"));
    gateway.line(&folder, "gateway sync one.yaml").expect(0);
    let shown = gateway.line(&folder, "gateway diff two.yaml").expect(0).stdout;
    let changed: Vec<&str> =
        shown.lines().filter(|line| line.starts_with(['+', '-'])).map(str::trim_end).collect();
    let tags = ["-    \"one\"", "+    \"two\""];
    let paths = ["-  \"paths\": [", "-    \"/a\"", "-  ],"];
    assert!(tags.iter().chain(&paths).all(|line| changed.contains(line)), "{shown}");
    assert_eq!(changed.len(), 2 * tags.len() + paths.len(), "{shown}");
    // A target is shown with its upstream's id alone.
    assert!(!shown.contains("\"name\": \"u\""), "{shown}");
    gateway.line(&folder, "gateway sync two.yaml").expect(0);
    gateway.line(&folder, "gateway diff two.yaml --non-zero-exit-code").expect(0);
}

#[test]
fn a_dump_gives_the_ids_that_deck_gives_and_brings_them_back() {
    let gateway = Gateway::enterprise();
    let state = "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n\
                 partials: [{name: p, type: redis-ee, config: {host: r.test}}]\n\
                 plugins: [{name: rate-limiting-advanced, partials: [{name: p, path: config.redis}], \
                 config: {limit: [1], window_size: [1], strategy: redis, sync_rate: 1}}]\n\
                 custom_entities: [{type: degraphql_routes, fields: {uri: /a, query: '{a}', service: {name: s}}}]\n\
                 upstreams: [{name: u, targets: [{target: '[::1]:80'}]}]\n";
    let folder = Folder::with("kong.yaml", state);
    let made = gateway.line(&folder, "gateway sync kong.yaml").expect(0).stdout;
    assert!(made.contains("creating target [0000:0000:0000:0000:0000:0000:0000:0001]:80 for"), "{made}");
    let dump = gateway.line(&folder, "gateway dump").expect(0).stdout;
    // The partial, the plugin's link to it, and the custom entity.
    let ids = dump.lines().filter(|line| line.trim_start_matches([' ', '-']).starts_with("id: "));
    assert_eq!(ids.count(), 3, "{dump}");
    folder.write("dump.yaml", &dump);
    gateway.line(&folder, "gateway diff dump.yaml --non-zero-exit-code").expect(0);
    gateway.line(&folder, "gateway reset -f").expect(0);
    gateway.line(&folder, "gateway sync dump.yaml").expect(0);
    assert_eq!(gateway.line(&folder, "gateway dump").expect(0).stdout, dump);
}

#[test]
fn a_consumer_that_only_a_group_lists_is_one_of_the_files() {
    let gateway = Gateway::enterprise();
    let state = "_format_version: \"3.0\"\nconsumers: [{username: bob}]\nconsumer_groups:\n\
                 - name: gold\n  consumers: [{username: amy, custom_id: a1}, {username: bob}]\n\
                 - name: silver\n  consumers: [{username: amy}]\n";
    let folder = Folder::with("kong.yaml", state);
    let made = gateway.line(&folder, "gateway sync kong.yaml").expect(0).stdout;
    assert_eq!(made.matches("creating consumer ").count(), 2, "{made}");
    assert_eq!(made.matches("creating consumer-group-consumer ").count(), 3, "{made}");
    gateway.line(&folder, "gateway diff kong.yaml --non-zero-exit-code").expect(0);
    let dump = gateway.line(&folder, "gateway dump").expect(0).stdout;
    assert!(dump.contains("custom_id: a1"), "{dump}");
}

#[test]
fn a_client_secret_that_is_kept_as_a_hash_is_known_again() {
    let gateway = Gateway::start();
    let state = |secret: &str| {
        format!(
            "_format_version: \"3.0\"\nconsumers:\n- username: amy\n  oauth2_credentials:\n  - \
                 {{name: app, client_id: id, client_secret: {secret}, hash_secret: true, redirect_uris: [http://a.test]}}\n"
        )
    };
    let folder = Folder::with("kong.yaml", &state("hush"));
    folder.write("other.yaml", &state("whisper"));
    gateway.line(&folder, "gateway sync kong.yaml").expect(0);
    gateway.line(&folder, "gateway diff kong.yaml --non-zero-exit-code").expect(0);
    gateway.line(&folder, "gateway diff other.yaml --non-zero-exit-code").expect(2);
}

#[test]
fn definitions_of_plugins_are_managed_when_that_is_asked_for() {
    let gateway = Gateway::enterprise();
    let definition = "_format_version: \"3.0\"\ncustom_plugins:\n- name: mine\n  handler: return {}\n  \
                      schema: \"return { name = 'mine', fields = { { config = { type = 'record', fields = {} } } } }\"\n";
    let folder = Folder::with("kong.yaml", definition);
    folder.write("info.yaml", &format!("_info: {{include_plugin_definitions: true}}\n{definition}"));
    folder.write("empty.yaml", EMPTY);
    let refused = gateway.line(&folder, "gateway sync kong.yaml --yes").expect(1);
    assert!(refused.stderr.contains("--include-plugin-definitions"), "{refused:?}");
    assert_eq!(gateway.count("/custom-plugins"), 0);
    gateway.line(&folder, "gateway sync kong.yaml --include-plugin-definitions").expect(0);
    assert_eq!(gateway.count("/custom-plugins"), 1);
    gateway.line(&folder, "gateway diff info.yaml --non-zero-exit-code").expect(0);
    gateway.line(&folder, "gateway sync empty.yaml --yes").expect(0);
    assert!(!gateway.line(&folder, "gateway dump").expect(0).stdout.contains("mine"));
    let dump = gateway.line(&folder, "gateway dump --include-plugin-definitions").expect(0).stdout;
    assert!(dump.contains("name: mine"), "{dump}");
    // The dump says by itself that it holds definitions.
    folder.write("dump.yaml", &dump);
    gateway.line(&folder, "gateway diff dump.yaml --non-zero-exit-code").expect(0);
    gateway.line(&folder, "gateway reset -f --skip-plugin-definitions").expect(0);
    assert_eq!(gateway.count("/custom-plugins"), 1);
    gateway.line(&folder, "gateway reset -f --no-mask-deck-env-vars-value").expect(0);
    assert_eq!(gateway.count("/custom-plugins"), 0);
}

#[test]
fn a_workspace_is_made_before_its_entities_and_the_flag_wins_over_the_file() {
    let gateway = Gateway::start();
    let state = "_format_version: \"3.0\"\n_workspace: one\nservices: [{name: s, host: h.test}]\n";
    let folder = Folder::with("kong.yaml", state);
    let diff = gateway.line(&folder, "gateway diff kong.yaml").expect(0);
    assert!(diff.stdout.starts_with("Creating workspace one\ncreating service s\n"), "{diff:?}");
    let diff = gateway.line(&folder, "gateway diff kong.yaml --json-output").expect(0);
    let diff: Json = serde_json::from_str(&diff.stdout).unwrap();
    let creating = diff["changes"]["creating"].as_array().unwrap();
    assert_eq!(creating[0], serde_json::json!({"name": "one", "kind": "workspace", "body": null}));
    assert_eq!((creating.len(), &diff["summary"]["total"]), (2, &serde_json::json!(1)));
    let sync = gateway.line(&folder, "gateway sync kong.yaml -w two").expect(0);
    assert!(sync.stdout.starts_with("Creating workspace two\ncreating service s\n"), "{sync:?}");
    let told = "workspace 'two' specified via --workspace flag is different from workspace 'one'";
    assert!(sync.stderr.contains(told), "{sync:?}");
    let again = gateway.line(&folder, "gateway sync kong.yaml -w two --silence-events").expect(0);
    assert!(!again.stdout.contains("workspace"), "{again:?}");
    assert_eq!((gateway.count("/two/services"), gateway.count("/services")), (1, 0));
}

#[test]
fn a_switch_that_is_off_leaves_room_for_another_format() {
    let gateway = Gateway::start();
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n");
    let off = gateway.line(&folder, "gateway diff kong.yaml --json-output=false --format markdown").expect(0);
    assert!(off.stdout.contains("|") && !off.stdout.contains("\"changes\""), "{off:?}");
    let both = gateway.line(&folder, "gateway diff kong.yaml --json-output --format markdown").expect(1);
    assert!(both.stderr.contains("--json-output cannot be used with --format"), "{both:?}");
}

#[test]
fn a_gateway_without_a_database_is_reset_by_an_empty_state() {
    let gateway = Gateway::with(&["--dbless"]);
    let folder = Folder::with("kong.yaml", "_format_version: \"3.0\"\nservices: [{name: s, host: h.test}]\n");
    gateway.line(&folder, "gateway sync kong.yaml --dbless").expect(0);
    assert_eq!(gateway.count("/services"), 1);
    gateway.line(&folder, "gateway reset -f --skip-consumers").expect(1);
    let reset = gateway.line(&folder, "gateway reset -f").expect(0);
    assert!(reset.stdout.contains("Deleted: 1"), "{reset:?}");
    assert_eq!(gateway.count("/services"), 0);
}

#[test]
fn a_plugin_that_the_gateway_does_not_execute_is_told_of_by_each_run() {
    let state = "_format_version: \"3.0\"\nplugins:\n- {name: key-auth}\n- {name: datadog}\n\
                 - {name: file-log, config: {path: /dev/null, custom_fields_by_lua: {a: \"return 1\"}}}\n";
    let folder = Folder::with("kong.yaml", state);
    folder.write("fine.yaml", "_format_version: \"3.0\"\nplugins: [{name: key-auth}]\n");
    for dbless in [false, true] {
        let flags: &[&str] = if dbless { &["--dbless"] } else { &[] };
        let gateway = Gateway::with(&[&["--flavor", "kong-3.10"], flags].concat());
        let run = |line: &str| gateway.line(&folder, &format!("{line} {}", flags.join(" "))).expect(0);
        for command in ["diff", "sync", "sync", "diff"] {
            let output = run(&format!("gateway {command} kong.yaml"));
            let told = output.stderr.contains("warning[W0203]")
                && output.stderr.contains("keeps `datadog`, `file-log.custom_fields_by_lua` and");
            // Nobody knows before the gateway has seen them.
            let is_first = command == "diff" && output.stdout.contains("creating");
            assert_eq!(told, !is_first, "{command} {dbless}: {output:#?}");
        }
        let json = run("gateway diff kong.yaml --json-output").json();
        assert!(json["warnings"][0].as_str().unwrap().contains("W0203"), "{json}");
        assert!(!run("gateway sync fine.yaml").stderr.contains("W0203"));
    }
}
