//! Policy overrides of consumer groups: plugins of groups as gateways before 3.4 knew them.

use crate::support::{Folder, Gateway, http};
use serde_json::Value as Json;

const STATE: &str = r#"_format_version: "3.0"
consumer_groups:
- name: gold
  plugins:
  - name: rate-limiting-advanced
    config: {limit: [100], window_size: [60]}
- name: silver
consumers: [{username: amy, groups: [{name: gold}]}]
plugins:
- name: rate-limiting-advanced
  config: {limit: [10], window_size: [60], sync_rate: -1, consumer_groups: [gold], enforce_consumer_groups: true}
"#;
const SETTING: &str = "_info: {consumer_group_policy_overrides: true}\n";

#[test]
fn they_are_made_changed_found_again_and_taken_away() {
    let gateway = Gateway::enterprise();
    let folder = Folder::with("kong.yaml", &format!("{SETTING}{STATE}"));
    folder.write("more.yaml", &format!("{SETTING}{}", STATE.replace("[100]", "[200]")));
    folder.write(
        "none.yaml",
        &format!("{SETTING}_format_version: \"3.0\"\nconsumer_groups: [{{name: gold}}]\n"),
    );
    let made = gateway.line(&folder, "gateway sync kong.yaml").expect(0);
    assert!(made.stdout.contains("creating consumer-group-plugin rate-limiting-advanced\n"), "{made:#?}");
    assert!(
        made.stderr.contains("W0101") && made.stderr.contains("deprecated since Kong Gateway 3.4"),
        "{made:#?}"
    );
    let config = |gateway: &Gateway| gateway.get("/consumer_groups/gold")["plugins"][0]["config"].clone();
    assert_eq!(config(&gateway)["limit"], serde_json::json!([100]));
    // The defaults that the gateway filled in are no difference.
    gateway.line(&folder, "gateway diff kong.yaml --non-zero-exit-code").expect(0);
    let changed = gateway.line(&folder, "gateway sync more.yaml").expect(0).stdout;
    assert!(changed.contains("updating consumer-group-plugin rate-limiting-advanced  {"), "{changed}");
    assert_eq!(config(&gateway)["limit"], serde_json::json!([200]));
    gateway.line(&folder, "gateway sync none.yaml").expect(0);
    assert_eq!(config(&gateway), Json::Null);
    gateway.line(&folder, "gateway diff none.yaml --non-zero-exit-code").expect(0);
}

#[test]
fn a_dump_holds_them_when_that_is_asked_for_and_says_so() {
    let gateway = Gateway::enterprise();
    let folder = Folder::with("kong.yaml", STATE);
    gateway.line(&folder, "gateway sync kong.yaml --consumer-group-policy-overrides").expect(0);
    let plain = gateway.line(&folder, "gateway dump").expect(0).stdout;
    assert!(!plain.contains("- 100"), "{plain}");
    let dump = gateway.line(&folder, "gateway dump --consumer-group-policy-overrides").expect(0).stdout;
    assert!(dump.contains("_info:\n  consumer_group_policy_overrides: true\n"), "{dump}");
    folder.write("dump.yaml", &dump);
    gateway.line(&folder, "gateway diff dump.yaml --non-zero-exit-code").expect(0);
    gateway.line(&folder, "file validate dump.yaml").expect(0);
}

#[test]
fn without_the_setting_plugins_belong_to_the_groups_and_overriding_is_refused() {
    let gateway = Gateway::enterprise();
    let folder = Folder::with("kong.yaml", STATE);
    let refused = gateway.line(&folder, "gateway sync kong.yaml").expect(1);
    assert!(refused.stderr.contains("E0108") && refused.stderr.contains("kong.yaml:11:"), "{refused:#?}");
    assert_eq!(gateway.get("/consumers")["data"], serde_json::json!([]));
    gateway
        .line(&folder, "gateway sync kong.yaml --errors-as-warnings rla-consumer-groups-deprecated")
        .expect(0);
    assert_eq!(gateway.get("/consumer_groups/gold/plugins")["data"][0]["name"], "rate-limiting-advanced");
    // With the setting, those plugins go, for the file does not name them any more.
    gateway.line(&folder, "gateway sync kong.yaml --consumer-group-policy-overrides").expect(0);
    assert_eq!(gateway.get("/consumer_groups/gold/plugins")["data"], serde_json::json!([]));
}

#[test]
fn only_what_can_be_overridden_is_taken_and_only_by_a_gateway_of_ones_own() {
    let gateway = Gateway::enterprise();
    let other = STATE.replacen("rate-limiting-advanced", "key-auth", 1);
    let folder = Folder::with("kong.yaml", &format!("{SETTING}{other}"));
    let refused = gateway.line(&folder, "gateway sync kong.yaml").expect(1);
    assert!(
        refused.stderr.contains("E0102") && refused.stderr.contains("rate-limiting-advanced"),
        "{refused:#?}"
    );
    folder.write("good.yaml", &format!("{SETTING}{STATE}"));
    let planes = format!("{}/v2/control-planes", gateway.konnect);
    http("POST", &planes, &[("authorization", "Bearer any")], &serde_json::json!({"name": "default"}));
    let konnect =
        ["gateway", "sync", "good.yaml", "--konnect-token", "any", "--konnect-addr", &gateway.konnect];
    let refused = folder.run(&konnect, &[]).expect(1);
    assert!(
        refused.stderr.contains("E0107") && refused.stderr.contains("Konnect has no policy overrides"),
        "{refused:#?}"
    );
}
