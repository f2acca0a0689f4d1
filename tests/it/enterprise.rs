//! What only the enterprise edition's Admin API has beside its kinds, from outside.

use crate::admin_api::{Admin, data};
use serde_json::{Value as Json, json};

#[test]
fn admins_are_invited_register_and_have_roles() {
    let admin = Admin::start("kong-3.14");
    let made = admin.ok("POST", "/admins", json!({"username": "Ann", "email": "ann@a.example"}), 200);
    assert_eq!((&made["admin"]["status"], &made["admin"]["username_lower"]), (&json!(4), &json!("ann")));
    let taken = admin.ok("POST", "/admins", json!({"username": "Ann"}), 409);
    assert_eq!(taken["message"], "user already exists with same username, email, or custom_id");
    let invited = admin.ok("GET", "/admins/Ann?generate_register_url=true", Json::Null, 200);
    let mut word = json!({"username": "Ann", "password": "secret", "token": "wrong"});
    assert_eq!(admin.call("POST", "/admins/register", word.clone()).status, 401);
    word["token"] = invited["token"].clone();
    assert_eq!(admin.call("POST", "/admins/register", word.clone()).status, 201);
    assert_eq!(admin.call("POST", "/admins/register", word).status, 401, "a token holds once");
    let registered = admin.ok("GET", "/admins/ann@a.example", Json::Null, 200);
    assert_eq!((&registered["status"], registered.get("password")), (&json!(0), None));
    admin.ok("POST", "/rbac/roles", json!({"name": "reader"}), 201);
    let roles = admin.ok("POST", "/admins/Ann/roles", json!({"roles": "reader"}), 201);
    assert_eq!(roles["roles"][0]["name"], "reader");
    admin.ok("DELETE", "/admins/Ann/roles", json!({"roles": "reader"}), 204);
    assert_eq!(admin.ok("GET", "/admins/Ann/roles", Json::Null, 200)["roles"], json!([]));
    assert_eq!(admin.ok("GET", "/admins/Ann/workspaces", Json::Null, 200)[0]["name"], "default");
    admin.ok("DELETE", "/admins/Ann", Json::Null, 204);
    for name in ["a", "b", "c"] {
        admin.ok("POST", "/admins", json!({"username": name}), 200);
    }
    let first = admin.ok("GET", "/admins?size=2", Json::Null, 200);
    assert_eq!(data(&first), 2);
    assert_eq!(data(&admin.ok("GET", first["next"].as_str().unwrap(), Json::Null, 200)), 1);
}

#[test]
fn permissions_of_roles_cover_endpoints_and_entities() {
    let admin = Admin::start("kong-3.14");
    admin.ok("POST", "/rbac/roles", json!({"name": "r"}), 201);
    let entity = "6f3f0a2e-7b1c-4c53-9f62-0c6c1f3f0d11";
    let all = json!({"endpoint": "*", "actions": "*"});
    let rule = admin.ok("POST", "/rbac/roles/r/endpoints", all, 201);
    assert_eq!(rule["actions"].as_array().unwrap().len(), 4, "{rule}");
    let one = json!({"entity_id": entity, "entity_type": "services", "actions": ["read"]});
    admin.ok("POST", "/rbac/roles/r/entities", one, 201);
    let place = format!("/rbac/roles/r/entities/{entity}");
    assert_eq!(admin.ok("PATCH", &place, json!({"actions": "read,update"}), 200)["actions"][1], "update");
    let both = admin.ok("GET", "/rbac/roles/r/permissions", Json::Null, 200);
    assert_eq!(both["entities"][entity]["actions"], json!(["read", "update"]), "{both}");
    assert_eq!(both["endpoints"]["default"]["*"]["negative"], false, "{both}");
    admin.ok("DELETE", &place, Json::Null, 204);
    assert_eq!(admin.call("GET", &place, Json::Null).status, 404);
}

#[test]
fn groups_of_people_have_roles_in_workspaces() {
    let admin = Admin::start("kong-3.14");
    admin.ok("POST", "/groups", json!({"name": "people"}), 201);
    let role = admin.ok("POST", "/rbac/roles", json!({"name": "r"}), 201)["id"].clone();
    let space = admin.ok("GET", "/workspaces/default", Json::Null, 200)["id"].clone();
    let link = json!({"rbac_role_id": role, "workspace_id": space});
    let made = admin.ok("POST", "/groups/people/roles", link.clone(), 201);
    assert_eq!((&made["group"]["name"], &made["rbac_role"]["name"]), (&json!("people"), &json!("r")));
    assert_eq!(data(&admin.ok("GET", "/groups/people/roles", Json::Null, 200)), 1);
    admin.ok("DELETE", "/groups/people/roles", link.clone(), 204);
    assert_eq!(data(&admin.ok("GET", "/groups/people/roles", Json::Null, 200)), 0);
    admin.ok("POST", "/groups/people/roles", link, 201);
    admin.ok("DELETE", "/groups/people", Json::Null, 204);
}

#[test]
fn consumer_groups_override_limits_and_are_read_without_members() {
    let admin = Admin::start("kong-3.14");
    admin.ok("POST", "/consumer_groups", json!({"name": "g"}), 201);
    admin.ok("POST", "/consumers", json!({"username": "u"}), 201);
    admin.ok("POST", "/consumer_groups/g/consumers", json!({"consumer": "u"}), 201);
    let place = "/consumer_groups/g/overrides/plugins/rate-limiting-advanced";
    let refused = admin.ok("PUT", place, json!({"config": {"limit": [1]}}), 400);
    assert_eq!(refused["fields"]["config"]["window_size"], "required field missing");
    let config = json!({"limit": [10], "window_size": [60]});
    let made = admin.ok("PUT", place, json!({ "config": config }), 201);
    assert_eq!((&made["consumer_group"], &made["config"]["window_type"]), (&json!("g"), &json!("sliding")));
    let group = admin.ok("GET", "/consumer_groups/g?list_consumers=false", Json::Null, 200);
    assert_eq!(group.get("consumers"), None);
    assert_eq!(group["plugins"][0]["config"]["limit"], json!([10]));
    admin.ok("DELETE", place, Json::Null, 204);
    assert_eq!(admin.ok("GET", "/consumer_groups/g", Json::Null, 200).get("plugins"), None);
}

#[test]
fn partials_tell_who_uses_them_and_the_node_what_it_is() {
    let admin = Admin::start("kong-3.14");
    let partial = json!({"name": "p", "type": "redis-ee", "config": {"host": "h"}});
    let id = admin.ok("POST", "/partials", partial, 201)["id"].clone();
    assert_eq!(admin.ok("GET", "/partials/p/links", Json::Null, 200)["count"], 0);
    let limits = json!({"limit": [1], "window_size": [1], "sync_rate": 0, "strategy": "redis"});
    let plugin = json!({"name": "rate-limiting-advanced", "config": limits, "partials": [{"id": id}]});
    admin.ok("POST", "/plugins", plugin, 201);
    let links = admin.ok("GET", "/partials/p/links", Json::Null, 200);
    assert_eq!(links["data"][0]["name"], "rate-limiting-advanced", "{links}");
    let node = admin.ok("GET", "/", Json::Null, 200);
    assert_eq!(
        (&node["configuration"]["portal"], &node["configuration"]["rbac"]),
        (&json!(false), &json!("off"))
    );
    assert_eq!(admin.ok("GET", "/license/report", Json::Null, 200)["plugins_count"], 1);
    assert_eq!(
        admin.ok("PUT", "/debug/node/log-level/debug", json!({}), 200)["message"],
        "log level changed"
    );
    let level = admin.ok("GET", "/debug/node/log-level", Json::Null, 200);
    assert_eq!(level["message"], "log level: debug");
    assert_eq!(admin.call("GET", "/clustering/status", Json::Null).status, 400);
    assert_eq!(admin.call("DELETE", "/proxy-cache", Json::Null).status, 204);
    assert_eq!(admin.call("GET", "/proxy-cache/key", Json::Null).status, 404);
    assert_eq!(admin.call("POST", "/keyring/generate", json!({})).status, 501);
    assert!(admin.call("GET", "/metrics", Json::Null).text.contains("kong_node_info"));
    let endpoints = admin.ok("GET", "/endpoints", Json::Null, 200);
    assert!(endpoints["data"].as_array().unwrap().contains(&json!("/groups/{groups}/roles")));
}
