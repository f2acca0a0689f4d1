//! `foredeck serve` from outside: where it listens, what it refuses, how it ends.

use crate::support::{Folder, Gateway, http, run};
use serde_json::{Value as Json, json};

#[test]
fn every_listener_answers_where_the_port_file_says() {
    let gateway = Gateway::start();
    assert_eq!(http("GET", &format!("{}/status", gateway.admin), &[], &Json::Null).status, 200);
    assert_eq!(
        http(
            "GET",
            &format!("{}/v2/control-planes", gateway.konnect),
            &[("authorization", "Bearer x")],
            &Json::Null
        )
        .status,
        200
    );
    assert_eq!(http("GET", &format!("{}/nothing", gateway.proxy), &[], &Json::Null).status, 404);
    let log = gateway.log();
    for address in [&gateway.admin, &gateway.konnect, &gateway.proxy] {
        assert!(log.contains(address), "{address} is not in\n{log}");
    }
}

#[test]
fn a_taken_port_is_named_with_its_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, what) in
        [("--admin-listen", "Admin API"), ("--proxy-listen", "proxy"), ("--konnect-listen", "Konnect API")]
    {
        let mut arguments = vec!["serve"];
        for other in ["--admin-listen", "--proxy-listen", "--konnect-listen"] {
            arguments.extend([other, if other == flag { &address } else { "0" }]);
        }
        let output = run(&arguments).expect(1);
        assert!(output.stderr.contains(what) && output.stderr.contains(&address), "{output:?}");
    }
}

#[test]
fn beyond_loopback_needs_a_word() {
    let output =
        run(&["serve", "--admin-listen", "0.0.0.0:0", "--proxy-listen", "0", "--konnect-listen", "0"])
            .expect(1);
    assert!(output.stderr.contains("--allow-unauthenticated"), "{output:?}");
}

#[test]
fn unknown_flavors_and_bad_addresses_are_refused() {
    let output = run(&["serve", "--flavor", "kong-2.8"]).expect(1);
    assert!(output.stderr.contains("kong-3.14"), "{output:?}");
    let output = run(&["serve", "--admin-listen", "gateway:8001"]).expect(1);
    assert!(output.stderr.contains("--admin-listen"), "{output:?}");
}

#[cfg(unix)]
#[test]
fn it_ends_within_a_second_on_sigterm() {
    let mut gateway = Gateway::start();
    let begin = std::time::Instant::now();
    let sent =
        std::process::Command::new("kill").arg("-TERM").arg(gateway.pid().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(gateway.end(), Some(0));
    assert!(begin.elapsed() < std::time::Duration::from_millis(1500), "{:?}", begin.elapsed());
}

#[cfg(unix)]
#[test]
fn open_requests_finish_when_it_ends() {
    let mut gateway = Gateway::with(&["--fault", "GET /services: latency=300ms"]);
    let url = format!("{}/services", gateway.admin);
    let asked = std::thread::spawn(move || http("GET", &url, &[], &Json::Null).status);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let begin = std::time::Instant::now();
    let sent =
        std::process::Command::new("kill").arg("-TERM").arg(gateway.pid().to_string()).status().unwrap();
    assert!(sent.success());
    assert_eq!(asked.join().unwrap(), 200);
    assert_eq!(gateway.end(), Some(0));
    assert!(begin.elapsed() < std::time::Duration::from_millis(1500), "{:?}", begin.elapsed());
}

#[test]
fn slow_clients_hold_nobody_up() {
    use std::io::Write;
    let gateway = Gateway::start();
    let address = gateway.admin.trim_start_matches("http://");
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"POST /services HTTP/1.1\r\nHost: localhost\r\nContent-Le").unwrap();
            stream
        })
        .collect();
    let begin = std::time::Instant::now();
    assert_eq!(http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).status, 200);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
    drop(slow);
}

#[test]
fn connections_break_where_rules_say_so() {
    let gateway = Gateway::with(&[
        "--fault",
        "POST /consumers: lose x1",
        "--fault",
        "PUT /consumers/*: drop x1",
        "--fault",
        "GET /consumers: truncate x1",
    ]);
    let url = |path: &str| format!("{}{path}", gateway.admin);
    let put = |name: &str| {
        let body = json!({}).to_string();
        crate::support::agent()
            .put(url(&format!("/consumers/{name}")))
            .content_type("application/json")
            .send(body)
    };
    let lost = crate::support::agent()
        .post(url("/consumers"))
        .content_type("application/json")
        .send(json!({"username": "lost"}).to_string());
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(http("GET", &url("/consumers/lost"), &[], &Json::Null).status, 200, "it was done");
    assert!(put("dropped").is_err());
    assert_eq!(http("GET", &url("/consumers/dropped"), &[], &Json::Null).status, 404, "nothing was done");
    assert!(put("dropped").is_ok());
    let mut cut = crate::support::agent().get(url("/consumers")).call().unwrap();
    assert!(cut.body_mut().read_to_vec().is_err());
    assert_eq!(http("GET", &url("/consumers"), &[], &Json::Null).json()["data"].as_array().unwrap().len(), 2);
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let folder = Folder::new();
    let file = folder.path().join("kong.db");
    let arguments = ["--data", file.to_str().unwrap()];
    let mut gateway = Gateway::with(&arguments);
    for number in 0..20 {
        let url = format!("{}/services", gateway.admin);
        assert_eq!(http("POST", &url, &[], &json!({"name": format!("s{number}"), "host": "h"})).status, 201);
    }
    gateway.kill();
    let gateway = Gateway::with(&arguments);
    let list = http("GET", &format!("{}/services", gateway.admin), &[], &Json::Null).json();
    assert_eq!(list["data"].as_array().unwrap().len(), 20, "{list}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_proxy_has_as_many_threads_as_it_is_told() {
    let gateway = Gateway::with(&["--proxy-threads", "3"]);
    assert_eq!(http("GET", &format!("{}/", gateway.proxy), &[], &Json::Null).status, 404);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let names =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    assert_eq!(names.filter(|name| name.starts_with("proxy-")).count(), 3);
    let refused = run(&["serve", "--proxy-threads", "0"]).expect(1);
    assert!(refused.stderr.contains("--proxy-threads"), "{}", refused.stderr);
}
