//! The proxy between other protocols than plain HTTP/1.1: TLS on both sides, and gRPC.

use crate::proxy::{OK, Upstream, gateway, put};
use crate::support::{Gateway, http};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

/// An authority of the test's own.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for a name, and its key, as PEM.
fn certificate(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    (signed.pem(), key.serialize_pem())
}

fn der((cert, key): &(String, String)) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    use rustls::pki_types::pem::PemObject;
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    (vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(authority: &CertifiedIssuer<'_, KeyPair>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    roots
}

#[test]
fn certificates_of_listeners_go_by_name() {
    let upstream = Upstream::answering(OK);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::with(&["--proxy-tls-listen", &port.to_string()]);
    put(&gateway, "/services/s", &json!({"url": upstream.url}));
    let route = json!({"service": {"name": "s"}, "snis": ["one.test"], "protocols": ["https"]});
    put(&gateway, "/routes/r", &route);
    let authority = authority();
    for name in ["one.test", "two.test"] {
        let (cert, key) = certificate(&authority, name);
        let body = json!({"cert": cert, "key": key, "snis": [name]});
        let made = http("POST", &format!("{}/certificates", gateway.admin), &[], &body);
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let config =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots(&authority)).with_no_client_auth());
    let ask = |name: &'static str| -> std::io::Result<String> {
        let name = ServerName::try_from(name).unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, std::net::TcpStream::connect(port)?);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    // The route asks for the first name; the second has a certificate, the third has none that is trusted.
    assert!(ask("one.test").unwrap().starts_with("HTTP/1.1 200 "));
    assert!(ask("two.test").unwrap().starts_with("HTTP/1.1 404 "));
    assert!(ask("three.test").is_err());
    assert!(upstream.last().contains("x-forwarded-proto: https"), "{}", upstream.last());
}

#[test]
fn services_check_upstreams_and_show_their_own_certificate() {
    let (authority, stranger) = (authority(), authority());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&authority)), provider());
    let (chain, key) = der(&certificate(&authority, "localhost"));
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap()).with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(OK);
            }
        }
    });
    let url = format!("https://localhost:{port}");
    let gateway = gateway(&Upstream { url: url.clone(), seen: Arc::default() }, json!({}));
    let made = |path: &str, body: &Json| {
        let answer = http("POST", &format!("{}{path}", gateway.admin), &[], body);
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let (cert, key) = certificate(&authority, "client.test");
    let own = made("/certificates", &json!({"cert": cert, "key": key}));
    let trusted = made("/ca_certificates", &json!({"cert": authority.pem()}));
    let other = made("/ca_certificates", &json!({"cert": stranger.pem()}));
    let get = || http("GET", &format!("{}/r", gateway.proxy), &[], &Json::Null).status;
    assert_eq!(get(), 502, "without a certificate");
    let service = |roots: &str| {
        json!({
            "url": url, "retries": 0, "tls_verify": true, "ca_certificates": [roots],
            "client_certificate": {"id": own},
        })
    };
    put(&gateway, "/services/s", &service(&other));
    assert_eq!(get(), 502, "signed by a stranger");
    put(&gateway, "/services/s", &service(&trusted));
    assert_eq!(get(), 200);
}

#[test]
fn grpc_passes_with_its_trailers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(echo);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    let gateway = Gateway::start();
    put(&gateway, "/services/s", &json!({"url": url}));
    let route =
        json!({"service": {"name": "s"}, "paths": ["/pkg.Echo"], "protocols": ["grpc"], "strip_path": false});
    put(&gateway, "/routes/r", &route);
    let proxy = gateway.proxy.trim_start_matches("http://").to_owned();
    let (status, message, end) = runtime.block_on(async move {
        let stream = tokio::net::TcpStream::connect(proxy).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("http://h.test/pkg.Echo/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(b"\0\0\0\0\x02hi")))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let whole = answer.into_body().collect().await.unwrap();
        let end = whole.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
        (status, whole.to_bytes(), end)
    });
    assert_eq!((status.as_u16(), &*message), (200, &b"\0\0\0\0\x02hi"[..]));
    assert_eq!(end.unwrap(), "0");
    // Whoever does not speak gRPC is told so.
    let answer = http("POST", &format!("{}/pkg.Echo/Say", gateway.proxy), &[], &json!({}));
    assert_eq!(answer.status, 415);
}

/// A gRPC server's answer: the request's message, and the status in the trailers.
async fn echo(
    request: Request<Incoming>,
) -> Result<
    Response<StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>>>>,
    Infallible,
> {
    assert_eq!(request.uri().path(), "/pkg.Echo/Say");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let mut answer = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
    answer.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
    Ok(answer)
}
