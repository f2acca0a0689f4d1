//! Which target of an upstream takes a request: by weight, by hash, by load, and by health.

use crate::support::{Answer, Folder, Gateway, http, listen};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// A target that answers every request with this status and its name.
fn target(name: &'static str, status: u16) -> String {
    let answering = move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 65_536]);
        answer(&mut stream, name, status);
    };
    listen(answering).to_string()
}

fn answer(stream: &mut TcpStream, name: &str, status: u16) {
    let length = name.len();
    let head = format!("HTTP/1.1 {status} Told\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all((head + name).as_bytes());
}

/// A gateway with this upstream behind `/`.
fn gateway(upstream: &Json, targets: &[(&str, u32)]) -> Gateway {
    let gateway = Gateway::with(&["--flavor", "kong-3.10"]);
    let targets: Vec<Json> =
        targets.iter().map(|(address, weight)| json!({"target": address, "weight": weight})).collect();
    let mut upstream = upstream.clone();
    upstream["name"] = "shop.upstream".into();
    upstream["targets"] = targets.into();
    let state = json!({
        "_format_version": "3.0",
        "upstreams": [upstream],
        "services": [{"name": "s", "host": "shop.upstream", "retries": 0, "routes": [{"name": "r", "paths": ["/"]}]}],
    });
    let folder = Folder::with("kong.json", &state.to_string());
    gateway.run(&folder, &["gateway", "sync", "kong.json"], &[]).expect(0);
    gateway
}

fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    http("GET", &format!("{}{path}", gateway.proxy), headers, &Json::Null)
}

/// How often each target answers.
fn counted(answers: impl Iterator<Item = Answer>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    answers.for_each(|answer| *counts.entry(answer.text).or_insert(0) += 1);
    counts
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn rounds_go_by_weight() {
    let (a, b, c) = (target("a", 200), target("b", 200), target("c", 200));
    let gateway = gateway(&json!({}), &[(&a, 30), (&b, 10), (&c, 0)]);
    assert_eq!(counted((0..8).map(|_| get(&gateway, "/", &[]))), counts(&[("a", 6), ("b", 2)]));
}

#[test]
fn what_is_hashed_alike_goes_to_one_target() {
    let (a, b) = (target("a", 200), target("b", 200));
    let by = |settings: Json| gateway(&settings, &[(&a, 100), (&b, 100)]);
    let hashed = |settings: &Json| {
        let mut all = json!({"algorithm": "consistent-hashing"});
        all.as_object_mut().unwrap().extend(settings.as_object().cloned().unwrap());
        all
    };
    let gateway =
        by(hashed(&json!({"hash_on": "header", "hash_on_header": "x-user", "hash_fallback": "ip"})));
    let of = |user: &str| counted((0..4).map(|_| get(&gateway, "/", &[("x-user", user)])));
    let users: Vec<_> = (0..16).map(|n| of(&format!("user-{n}"))).collect();
    assert!(users.iter().all(|counts| counts.len() == 1), "{users:?}");
    assert!(users.iter().any(|counts| counts != &users[0]), "{users:?}");
    assert_eq!(counted((0..4).map(|_| get(&gateway, "/", &[]))).len(), 1);
    let gateway = by(hashed(&json!({"hash_on": "path"})));
    let paths: Vec<_> =
        (0..16).map(|n| counted((0..2).map(|_| get(&gateway, &format!("/{n}"), &[])))).collect();
    assert!(paths.iter().all(|counts| counts.len() == 1) && paths.iter().any(|counts| counts != &paths[0]));
    let gateway = by(hashed(&json!({"hash_on": "query_arg", "hash_on_query_arg": "user"})));
    let of = |user: &str| get(&gateway, &format!("/x?user={user}"), &[]).text;
    assert!((0..16).all(|n| of(&n.to_string()) == of(&n.to_string())));
}

/// A target that tells of every request and answers it when it may.
fn held(name: &'static str, arrivals: &Sender<(&'static str, Sender<()>)>) -> String {
    let arrivals = arrivals.clone();
    let answering = move |mut stream: TcpStream| {
        let _ = stream.read(&mut [0; 65_536]);
        let (release, released) = channel();
        let _ = arrivals.send((name, release));
        let _ = released.recv();
        answer(&mut stream, name, 200);
    };
    listen(answering).to_string()
}

#[test]
fn the_target_with_the_fewest_connections_is_next() {
    let (sender, arrivals) = channel();
    let (a, b) = (held("a", &sender), held("b", &sender));
    let gateway = gateway(&json!({"algorithm": "least-connections"}), &[(&a, 100), (&b, 100)]);
    let arrival = || arrivals.recv_timeout(Duration::from_secs(20)).unwrap();
    std::thread::scope(|scope| {
        let ask = || scope.spawn(|| get(&gateway, "/", &[]).text);
        let first = ask();
        let (busy, release) = arrival();
        // As long as one target has a request, all others go to the other one.
        for _ in 0..4 {
            let next = ask();
            let (free, release) = arrival();
            assert_ne!(free, busy);
            release.send(()).unwrap();
            assert_eq!(next.join().unwrap(), free);
        }
        release.send(()).unwrap();
        assert_eq!(first.join().unwrap(), busy);
    });
}

#[test]
fn a_target_that_fails_is_left_out_until_it_is_said_to_be_healthy() {
    let (good, bad) = (target("good", 200), target("bad", 500));
    let checks =
        json!({"healthchecks": {"passive": {"unhealthy": {"http_failures": 2, "http_statuses": [500]}}}});
    let gateway = gateway(&checks, &[(&good, 100), (&bad, 100)]);
    let first = counted((0..4).map(|_| get(&gateway, "/", &[])));
    assert_eq!(first, counts(&[("bad", 2), ("good", 2)]));
    assert_eq!(counted((0..4).map(|_| get(&gateway, "/", &[]))), counts(&[("good", 4)]));
    let admin = |method: &str, path: &str| {
        http(method, &format!("{}/upstreams/shop.upstream/{path}", gateway.admin), &[], &Json::Null)
    };
    let health = |address: &str| {
        let all = admin("GET", "health").json();
        let all = all["data"].as_array().unwrap().clone();
        all.iter().find(|row| row["target"] == address).unwrap()["health"].clone()
    };
    assert_eq!((health(&good), health(&bad)), ("HEALTHY".into(), "UNHEALTHY".into()));
    assert_eq!(admin("PUT", &format!("targets/{bad}/{bad}/healthy")).status, 204);
    assert_eq!(health(&bad), "HEALTHY");
    assert_eq!(counted((0..2).map(|_| get(&gateway, "/", &[]))), counts(&[("bad", 1), ("good", 1)]));
    assert_eq!(admin("PUT", &format!("targets/{good}/unhealthy")).status, 204);
    assert_eq!(counted((0..1).map(|_| get(&gateway, "/", &[]))), counts(&[("bad", 1)]));
}
