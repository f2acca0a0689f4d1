//! How `gateway` commands connect: certificates on both sides, proxies, cookies, headers, and the variables for each.

use crate::support::{Folder, Output};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a server saw of a request.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Request line and headers, in lower case.
    head: String,
    /// The name that the client asked for in the handshake.
    server_name: Option<String>,
    /// The client's own certificate.
    certificate: Option<Vec<u8>>,
}

impl Seen {
    #[track_caller]
    fn has(&self, line: &str) {
        assert!(self.head.lines().any(|is| is == line), "no '{line}' in {self:#?}");
    }
}

/// A server that stands for an Admin API, for Konnect and for a proxy in front of either. It ends with the test.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// One that speaks TLS at once (`tls`), or only to those who ask for a tunnel (`tunnel`).
    fn start(tls: Option<ServerConfig>, tunnel: Option<ServerConfig>) -> Self {
        let (tls, tunnel) = (tls.map(Arc::new), tunnel.map(Arc::new));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                match &tls {
                    Some(config) => encrypted(stream, config, &kept),
                    None => {
                        let Some(head) = head(&mut stream) else { continue };
                        let connect = head.starts_with("connect ");
                        kept.lock().unwrap().push(Seen { head, ..Seen::default() });
                        match (&tunnel, connect) {
                            (Some(config), true) => {
                                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
                                encrypted(stream, config, &kept);
                            }
                            _ => answer(&mut stream, &kept),
                        }
                    }
                }
            }
        });
        Server { port, seen }
    }

    fn plain() -> Self {
        Server::start(None, None)
    }

    /// What was seen since the last time.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    #[track_caller]
    fn last(&self) -> Seen {
        self.seen().pop().expect("the server was asked")
    }
}

fn head(stream: &mut impl Read) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap().to_lowercase())
}

fn encrypted(stream: TcpStream, config: &Arc<ServerConfig>, kept: &Mutex<Vec<Seen>>) {
    let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream);
    let Some(head) = head(&mut stream) else { return };
    let server_name = stream.conn.server_name().map(str::to_owned);
    let certificate = stream.conn.peer_certificates().map(|chain| chain[0].to_vec());
    kept.lock().unwrap().push(Seen { head, server_name, certificate });
    answer(&mut stream, kept);
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

/// The answer to the last request that was seen.
fn answer(stream: &mut impl Write, kept: &Mutex<Vec<Seen>>) {
    let head = kept.lock().unwrap().last().unwrap().head.clone();
    let body = if head.contains("/control-planes") {
        json!({"data": [{"id": "5a1b1c4e-6a55-4d4b-9d6c-0d7f6a1c2b3d", "name": "default"}]})
    } else if head.contains("/organizations/me") {
        json!({"id": "6b2c2d5f-7b66-4e5c-8e7d-1e806b2d3c4e", "name": "Harbour"})
    } else {
        json!({"version": "3.10.0", "configuration": {"database": "postgres"}})
    };
    let body = body.to_string();
    let text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes());
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a name, and its key, as PEM.
fn certificate(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (signed.pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A server's settings: its certificate, and the authority that clients must have one of.
fn config((cert, key): &(String, String), clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => config.with_no_client_auth(),
    };
    config.with_single_cert(vec![der(cert)], key).unwrap()
}

/// Pings an address.
fn ping(folder: &Folder, address: &str, flags: &[&str], env: &[(&str, &str)]) -> Output {
    let arguments = [&["gateway", "ping", "--kong-addr", address], flags].concat();
    folder.run(&arguments, env)
}

#[track_caller]
fn refused(output: Output, words: &[&str]) {
    let output = output.expect(1);
    for word in words {
        assert!(output.stderr.contains(word), "no '{word}' in {output:#?}");
    }
}

#[test]
fn the_gateways_certificate_is_checked() {
    let (own, stranger) = (authority("own"), authority("stranger"));
    let server = Server::start(Some(config(&certificate(&own, "kong.test"), None)), None);
    let address = format!("https://127.0.0.1:{}", server.port);
    let folder = Folder::with("ca.pem", &own.pem());
    let (own, stranger) = (own.pem(), stranger.pem());
    let ask = |flags: &[&str], env: &[(&str, &str)]| ping(&folder, &address, flags, env);
    let name = ["--tls-server-name", "kong.test"];

    refused(ask(&name, &[]), &["error[E0501]", "UnknownIssuer", "--ca-cert"]);
    refused(ask(&["--ca-cert", &stranger, name[0], name[1]], &[]), &["UnknownIssuer", "--ca-cert"]);
    refused(ask(&["--ca-cert-file", "ca.pem"], &[]), &["not valid for", "kong.test", "--tls-server-name"]);
    refused(ask(&["--ca-cert", "no certificate"], &[]), &["CA certificate holds no PEM certificate"]);
    refused(ask(&["--ca-cert-file", "none.pem"], &[]), &["--ca-cert-file: none.pem cannot be read"]);
    let through = [("HTTPS_PROXY", "http://127.0.0.1:9")];
    refused(ask(&["--ca-cert-file", "ca.pem", name[0], name[1]], &through), &["through a proxy", "NO_PROXY"]);
    assert_eq!(server.seen().len(), 0, "nothing is sent to a server that is not trusted");

    for (flags, env) in [
        (vec!["--ca-cert-file", "ca.pem", name[0], name[1]], vec![]),
        (vec!["--ca-cert", &own], vec![("DECK_TLS_SERVER_NAME", "kong.test")]),
        (vec![], vec![("DECK_CA_CERT", own.as_str()), ("DECK_TLS_SERVER_NAME", "kong.test")]),
        (vec![name[0], name[1]], vec![("DECK_CA_CERT_FILE", "ca.pem")]),
    ] {
        ask(&flags, &env).expect(0);
        let seen = server.last();
        assert_eq!(seen.server_name.as_deref(), Some("kong.test"));
        // The name is the certificate's; the request is for the address.
        seen.has(&format!("host: 127.0.0.1:{}", server.port));
    }
    ask(&["--tls-skip-verify"], &[]).expect(0);
    ask(&[], &[("DECK_TLS_SKIP_VERIFY", "true")]).expect(0);
    refused(ask(&["--tls-skip-verify=false"], &[("DECK_TLS_SKIP_VERIFY", "true")]), &["--ca-cert"]);
    folder.write("deck.yaml", "ca-cert-file: ca.pem\ntls-server-name: kong.test\n");
    ask(&["--config", "deck.yaml"], &[]).expect(0);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn an_authority_may_be_the_gateways_own_certificate() {
    let folder = Folder::new();
    let ask = |last_year: i32, name: &str, flags: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["kong.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let own = params.self_signed(&key).unwrap().pem();
        let server = Server::start(Some(config(&(own.clone(), key.serialize_pem()), None)), None);
        let address = format!("https://127.0.0.1:{}", server.port);
        ping(&folder, &address, &[&["--ca-cert", &own, "--tls-server-name", name], flags].concat(), &[])
    };
    ask(4096, "kong.test", &[]).expect(0);
    refused(ask(4096, "other.test", &[]), &["not valid for", "other.test"]);
    refused(ask(2020, "kong.test", &[]), &["error[E0501]", "expired"]);
    let stranger = authority("stranger").pem();
    refused(ask(4096, "kong.test", &["--ca-cert", &stranger]), &["error[E0501]"]);
}

#[test]
fn the_client_shows_its_own_certificate() {
    let (own, stranger) = (authority("own"), authority("stranger"));
    let server = Server::start(Some(config(&certificate(&own, "localhost"), Some(&own))), None);
    let address = format!("https://localhost:{}", server.port);
    let (cert, key) = certificate(&own, "client.test");
    let (other_cert, other_key) = certificate(&stranger, "client.test");
    let folder = Folder::with("ca.pem", &own.pem());
    folder.write("client.pem", &cert);
    folder.write("client.key", &key);
    let ask = |flags: &[&str], env: &[(&str, &str)]| {
        ping(&folder, &address, &[&["--ca-cert-file", "ca.pem"], flags].concat(), env)
    };

    refused(ask(&[], &[]), &["CertificateRequired", "--tls-client-cert"]);
    let strange = ["--tls-client-cert", &other_cert, "--tls-client-key", &other_key];
    refused(ask(&strange, &[]), &["--tls-client-cert"]);
    let mixed = ["--tls-client-cert", &cert, "--tls-client-key", &other_key];
    refused(ask(&mixed, &[]), &["certificate and key"]);
    refused(ask(&["--tls-client-cert-file", "client.pem"], &[]), &["without --tls-client-key"]);
    refused(ask(&["--tls-client-cert", &cert, "--tls-client-key", "x"], &[]), &["certificate and key"]);
    assert_eq!(server.seen().len(), 0);

    for (flags, env) in [
        (vec!["--tls-client-cert-file", "client.pem", "--tls-client-key-file", "client.key"], vec![]),
        (vec!["--tls-client-cert", &cert, "--tls-client-key", &key], vec![]),
        (vec![], vec![("DECK_TLS_CLIENT_CERT", cert.as_str()), ("DECK_TLS_CLIENT_KEY", key.as_str())]),
        (
            vec![],
            vec![("DECK_TLS_CLIENT_CERT_FILE", "client.pem"), ("DECK_TLS_CLIENT_KEY_FILE", "client.key")],
        ),
    ] {
        ask(&flags, &env).expect(0);
        assert_eq!(server.last().certificate.as_deref(), Some(&*der(&cert)));
    }
}

#[test]
fn proxies_of_the_environment_are_used() {
    let own = authority("own");
    let proxy = Server::start(None, Some(config(&certificate(&own, "kong.test"), None)));
    let there = format!("http://127.0.0.1:{}", proxy.port);
    let folder = Folder::with("ca.pem", &own.pem());

    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        ping(&folder, "http://kong.test:8001", &[], &[(variable, &there)]).expect(0);
        proxy.last().has("get http://kong.test:8001/ http/1.1");
    }
    let tls = ["--ca-cert-file", "ca.pem"];
    ping(&folder, "https://kong.test:8444", &tls, &[("HTTPS_PROXY", &there)]).expect(0);
    let seen = proxy.seen();
    seen[0].has("connect kong.test:8444 http/1.1");
    seen[1].has("get / http/1.1");
    assert_eq!(seen[1].server_name.as_deref(), Some("kong.test"));
    // What the proxy may not read is not sent to it.
    let token = ["--ca-cert-file", "ca.pem", "--kong-admin-token", "t0ken"];
    ping(&folder, "https://kong.test:8444", &token, &[("HTTPS_PROXY", &there)]).expect(0);
    let seen = proxy.seen();
    assert!(!seen[0].head.contains("t0ken") && seen[1].head.contains("kong-admin-token: t0ken"), "{seen:#?}");

    let login = there.replace("//", "//ann:s3cret@");
    ping(&folder, "http://kong.test:8001", &[], &[("HTTP_PROXY", &login)]).expect(0);
    proxy.last().has("proxy-authorization: basic yw5uonmzy3jlda==");

    for excluded in ["kong.test", ".test", "*"] {
        let env = [("HTTP_PROXY", there.as_str()), ("NO_PROXY", excluded)];
        refused(ping(&folder, "http://kong.test:8001", &[], &env), &["cannot reach http://kong.test:8001"]);
    }
    // The gateway of this machine is reached without a proxy.
    let here = Server::plain();
    ping(&folder, &format!("http://127.0.0.1:{}", here.port), &[], &[("HTTP_PROXY", &there)]).expect(0);
    assert_eq!((proxy.seen().len(), here.seen().len()), (0, 1));
}

#[test]
fn cookies_headers_and_tokens_are_sent() {
    let server = Server::plain();
    let address = format!("http://localhost:{}", server.port);
    let jar = "# Netscape HTTP Cookie File\n\nlocalhost\tFALSE\t/\tFALSE\t0\tsession\tabc\n\
               elsewhere.test\tFALSE\t/\tFALSE\t0\tother\txyz\n";
    let folder = Folder::with("jar", jar);
    let ask = |flags: &[&str], env: &[(&str, &str)]| {
        ping(&folder, &address, flags, env).expect(0);
        server.last()
    };
    ask(&["--kong-cookie-jar-path", "jar"], &[]).has("cookie: session=abc");
    ask(&[], &[("DECK_KONG_COOKIE_JAR_PATH", "jar")]).has("cookie: session=abc");
    folder.write("bad", "localhost FALSE / FALSE 0 session abc\n");
    refused(ping(&folder, &address, &["--kong-cookie-jar-path", "bad"], &[]), &["line 1 of the cookie file"]);
    refused(ping(&folder, &address, &["--kong-cookie-jar-path", "none"], &[]), &["none cannot be read"]);

    let seen = ask(&["--headers", "X-One:1,X-Two: a:b", "--headers", "Host:admin.test"], &[]);
    ["x-one: 1", "x-two: a:b", "host: admin.test"].iter().for_each(|line| seen.has(line));
    let seen = ask(&[], &[("DECK_HEADERS", "X-One:1,X-Two:2")]);
    ["x-one: 1", "x-two: 2"].iter().for_each(|line| seen.has(line));
    folder.write("deck.yaml", "headers: ['X-One:1', 'X-Two:2']\nkong-admin-token: filed\n");
    let seen = ask(&["--config", "deck.yaml"], &[]);
    ["x-one: 1", "x-two: 2", "kong-admin-token: filed"].iter().for_each(|line| seen.has(line));

    ask(&["--kong-admin-token", "t0ken"], &[]).has("kong-admin-token: t0ken");
    ask(&[], &[("DECK_KONG_ADMIN_TOKEN", "t0ken")]).has("kong-admin-token: t0ken");
}

#[test]
fn a_cookie_goes_to_the_address_whatever_name_the_certificate_has() {
    let own = authority("own");
    let server = Server::start(Some(config(&certificate(&own, "kong.test"), None)), None);
    let folder = Folder::with("ca.pem", &own.pem());
    folder.write(
        "jar",
        "localhost\tFALSE\t/\tTRUE\t0\tsession\tabc\nkong.test\tFALSE\t/\tTRUE\t0\tother\txyz\n",
    );
    let flags =
        ["--ca-cert-file", "ca.pem", "--tls-server-name", "kong.test", "--kong-cookie-jar-path", "jar"];
    ping(&folder, &format!("https://localhost:{}", server.port), &flags, &[]).expect(0);
    server.last().has("cookie: session=abc");
}

#[test]
fn konnect_is_asked_with_the_same_settings() {
    let own = authority("own");
    let server = Server::start(Some(config(&certificate(&own, "localhost"), None)), None);
    let address = format!("https://localhost:{}", server.port);
    let folder = Folder::with("ca.pem", &own.pem());
    folder.write("token", "kpat_filed\n");
    let env = [("DECK_CA_CERT_FILE", "ca.pem"), ("DECK_KONNECT_ADDR", address.as_str())];
    let ask = |flags: &[&str], more: &[(&str, &str)]| {
        let output = folder.run(&[&["gateway", "ping"], flags].concat(), &[&env, more].concat()).expect(0);
        assert!(output.stdout.contains("Harbour"), "{output:#?}");
        server.last()
    };
    let seen = ask(&["--konnect-token", "kpat_flag", "--headers", "X-One:1"], &[]);
    ["authorization: bearer kpat_flag", "x-one: 1"].iter().for_each(|line| seen.has(line));
    ask(&[], &[("DECK_KONNECT_TOKEN", "kpat_env")]).has("authorization: bearer kpat_env");
    ask(&["--konnect-token-file", "token"], &[]).has("authorization: bearer kpat_filed");
    ask(&[], &[("DECK_KONNECT_TOKEN_FILE", "token")]).has("authorization: bearer kpat_filed");
}
