//! Tests of the module above.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use serde_json::{Value as Json, json};

fn router(routes: &[Json]) -> Router {
    let routes: Vec<Compiled> = (1..)
        .zip(routes)
        .map(|(n, row)| Compiled::new(Uuid::from_u128(n), &Value::from(row.clone()), "", 0))
        .collect();
    let (router, problems) = Router::new(&routes.iter().collect::<Vec<_>>());
    assert!(problems.is_empty(), "{problems:?}");
    router
}

struct Ask {
    method: Method,
    host: &'static str,
    path: &'static str,
    sni: Option<&'static str>,
    scheme: &'static str,
    headers: HeaderMap,
}

fn ask(method: &str, host: &'static str, path: &'static str) -> Ask {
    Ask { method: method.parse().unwrap(), host, path, sni: None, scheme: "http", headers: HeaderMap::new() }
}

impl Ask {
    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }
    fn of(&self, router: &Router) -> Option<(usize, Option<String>)> {
        let question = Question {
            method: &self.method,
            path: self.path,
            query: Some("v=1&v=2"),
            host: self.host,
            scheme: self.scheme,
            sni: self.sni,
            headers: &self.headers,
            source: "10.1.2.3:999".parse().unwrap(),
            destination: "127.0.0.1:8000".parse().unwrap(),
        };
        router.find(&question).map(|found| (found.route, found.prefix.map(Cow::into_owned)))
    }
    fn route(&self, router: &Router) -> Option<usize> {
        self.of(router).map(|(route, _)| route)
    }
}

#[test]
fn the_longest_prefix_wins_and_regular_expressions_come_first() {
    let router = router(&[
        json!({"paths": ["/"]}),
        json!({"paths": ["/a", "/a/long"]}),
        json!({"paths": ["/a/l"]}),
        json!({"paths": ["~/a/(?<n>\\d+)$"]}),
        json!({"paths": ["~/a/1"], "regex_priority": 2}),
    ]);
    let prefix = |path| ask("GET", "h", path).of(&router);
    assert_eq!(prefix("/b"), Some((0, Some("/".into()))));
    assert_eq!(prefix("/ax"), Some((1, Some("/a".into()))));
    assert_eq!(prefix("/a/l"), Some((2, Some("/a/l".into()))));
    assert_eq!(prefix("/a/long/x"), Some((1, Some("/a/long".into()))));
    assert_eq!(prefix("/a/22"), Some((3, Some("/a/22".into()))));
    assert_eq!(prefix("/a/12"), Some((4, Some("/a/1".into()))));
}

#[test]
fn captures_are_numbered_and_named() {
    let router = router(&[json!({"paths": ["~/u/(?<id>\\d+)/(.*)"]})]);
    let headers = HeaderMap::new();
    let question = Question {
        method: &Method::GET,
        path: "/u/7/x",
        query: None,
        host: "h",
        scheme: "http",
        sni: None,
        headers: &headers,
        source: "127.0.0.1:1".parse().unwrap(),
        destination: "127.0.0.1:2".parse().unwrap(),
    };
    let captures = router.find(&question).unwrap().captures;
    let captures: Vec<(&str, &str)> = captures.iter().map(|(n, t)| (&**n, &**t)).collect();
    assert_eq!(captures, [("1", "7"), ("id", "7"), ("2", "x")]);
}

#[test]
fn hosts_match_whole_or_by_wildcard_and_port() {
    let router = router(&[
        json!({"hosts": ["a.test"]}),
        json!({"hosts": ["*.a.test"]}),
        json!({"hosts": ["b.*"]}),
        json!({"hosts": ["c.test:81"]}),
        json!({"hosts": ["a.test"], "paths": ["/in"]}),
    ]);
    let route = |host, path| ask("GET", host, path).route(&router);
    assert_eq!(route("a.test", "/x"), Some(0));
    assert_eq!(route("a.test:99", "/x"), Some(0));
    assert_eq!(route("A.TEST", "/x"), None);
    assert_eq!(route("s.a.test", "/"), Some(1));
    assert_eq!(route("b.example", "/"), Some(2));
    assert_eq!(route("c.test:81", "/"), Some(3));
    assert_eq!(route("c.test", "/"), None);
    assert_eq!(route("a.test", "/in/x"), Some(4));
    assert_eq!(route("", "/"), None);
}

#[test]
fn more_sorts_of_rules_win_and_headers_compare_without_case() {
    let router = router(&[
        json!({"paths": ["/t/very/long"]}),
        json!({"paths": ["/t"], "headers": {"x-tier": ["gold", "~*^sil"]}}),
        json!({"methods": ["PUT"]}),
        json!({"paths": ["/t"], "methods": ["PUT"], "headers": {"x-tier": ["gold"]}}),
    ]);
    assert_eq!(ask("GET", "h", "/t/very/long").header("x-tier", "GOLD").route(&router), Some(1));
    assert_eq!(ask("GET", "h", "/t/very/long").header("x-tier", "silver").route(&router), Some(1));
    assert_eq!(ask("GET", "h", "/t/very/long").header("x-tier", "tin").route(&router), Some(0));
    assert_eq!(
        ask("PUT", "h", "/t").header("x-tier", "tin").header("x-tier", "gold").route(&router),
        Some(3)
    );
    assert_eq!(ask("PUT", "h", "/q").route(&router), Some(2));
    assert_eq!(ask("GET", "h", "/q").route(&router), None);
}

#[test]
fn server_names_count_for_https_only_and_addresses_always() {
    let router = router(&[
        json!({"paths": ["/"], "snis": ["one.test."]}),
        json!({"paths": ["/n"], "sources": [{"ip": "10.1.0.0/16"}, {"port": 7}], "destinations": [{"port": 8000}]}),
        json!({"paths": ["/m"], "sources": [{"ip": "10.2.0.1"}]}),
    ]);
    assert_eq!(ask("GET", "h", "/").route(&router), Some(0));
    let tls = |sni| Ask { scheme: "https", sni, ..ask("GET", "h", "/") };
    assert_eq!(tls(Some("one.test")).route(&router), Some(0));
    assert_eq!(tls(Some("two.test")).route(&router), None);
    assert_eq!(tls(None).route(&router), None);
    assert_eq!(ask("GET", "h", "/n").route(&router), Some(1));
    assert_eq!(ask("GET", "h", "/m").route(&router), Some(0));
}

#[test]
fn expressions_come_before_all_others_by_their_priority() {
    let router = router(&[
        json!({"paths": ["/e"], "hosts": ["h"], "methods": ["GET"]}),
        json!({"expression": "http.path ^= \"/e\"", "priority": 1}),
        json!({"expression": "http.path ~ \"^/e/(?P<n>[0-9]+)\" && any(http.queries.v) == \"2\"", "priority": 9}),
        json!({"expression": "any(lower(http.headers.x_app)) == \"one\" && http.path.segments.1 == \"b\""}),
    ]);
    assert_eq!(ask("GET", "h", "/e").of(&router), Some((1, Some("/e".into()))));
    assert_eq!(ask("GET", "h", "/e/5").route(&router), Some(2));
    assert_eq!(ask("GET", "h", "/a/b").header("x-app", "One").route(&router), Some(3));
    assert_eq!(ask("GET", "h", "/a/c").header("x-app", "One").route(&router), None);
}

#[test]
fn what_cannot_be_matched_is_told() {
    let bad = [
        json!({"paths": ["~/("], "id": "a"}),
        json!({"expression": "nothing is", "id": "b"}),
        json!({"paths": ["/ok"], "id": "c"}),
    ];
    let routes: Vec<Compiled> =
        (1..).zip(bad).map(|(n, row)| Compiled::new(Uuid::from_u128(n), &Value::from(row), "", 0)).collect();
    let (router, problems) = Router::new(&routes.iter().collect::<Vec<_>>());
    assert_eq!(
        problems.iter().map(|(route, e)| (&*route.id, &*e.field)).collect::<Vec<_>>(),
        [("a", "paths"), ("b", "expression")]
    );
    assert_eq!(ask("GET", "h", "/ok").route(&router), Some(2));
}
