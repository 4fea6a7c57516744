//! TLS of the listener: who speaks it, who does not, and a certificate that is replaced while a connection is open.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nta_daemon::api::{ApiState, Tls, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::access::make;
use crate::app::App;

/// Makes a certificate for `localhost`, and its key, by openssl; false where there is none.
pub(crate) fn certificate(folder: &Path) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    command.args(["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Connects as a client that trusts the certificate that is in the folder now.
async fn connect(address: SocketAddr, folder: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    roots.add(trusted).expect("an anchor");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config.with_no_client_auth())).connect(name, stream).await
}

/// Sends a request and reads an answer that has a length.
async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or_default() {
                return text;
            }
        }
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "cut: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_new_certificate_is_taken_up_without_dropping_a_connection() {
    let folder = tempfile::tempdir().expect("folder");
    if !certificate(folder.path()) {
        eprintln!(
            "not run: tls_is_spoken_and_a_new_certificate_is_taken_up_without_dropping_a_connection: openssl makes no certificate \
             (Debian's package openssl)"
        );
        return;
    }
    let app = App::with(1, 1).await;
    let token = make(&app.store, "viewer", |_| ()).await;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let tls = Arc::new(Tls::load(&cert, &key).expect("usable"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_tls(Arc::clone(&tls));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));

    let mut first = connect(address, folder.path()).await.expect("agreed");
    let status = format!("GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n");
    let answer = ask(&mut first, &status).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"tls\":true"), "{answer}");
    assert!(answer.to_lowercase().contains("strict-transport-security: max-age="), "{answer}");
    // The origin of this server is by https; one by http is another's.
    for (scheme, expected) in [("https", "201"), ("http", "403")] {
        let session = format!(
            "POST /api/session HTTP/1.1\r\nHost: localhost\r\nOrigin: {scheme}://localhost\r\nAuthorization: {token}\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = ask(&mut first, &session).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{scheme}: {answer}");
        assert_eq!(answer.contains("; Secure"), expected == "201", "{answer}");
    }
    // Who does not speak TLS gets nothing of what is behind it.
    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _reset = plain.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1 200"), "{answer:?}");

    // What cannot be used is refused by name, and nothing changes.
    std::fs::write(&key, "no key").expect("a file");
    let refused = tls.reload().expect_err("no key").to_string();
    assert!(refused.contains("api.tls_key") && refused.contains("key.pem"), "{refused}");
    assert!(connect(address, folder.path()).await.is_ok(), "the one of before goes on");
    let old = tempfile::tempdir().expect("folder");
    std::fs::copy(&cert, old.path().join("cert.pem")).expect("a copy");
    assert!(certificate(folder.path()));
    tls.reload().expect("the new one");
    assert!(connect(address, folder.path()).await.is_ok(), "new connections get the new one");
    assert!(connect(address, old.path()).await.is_err(), "and no longer the old one");
    let answer = ask(&mut first, &status).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "the open connection goes on: {answer}");

    drop(first);
    drop(stop);
    server.await.expect("task").expect("server");
}

#[test]
fn files_that_are_no_certificate_and_no_key_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let refused = Tls::load(&cert, &key).expect_err("not there").to_string();
    assert!(refused.starts_with("api.tls_cert") && refused.contains("cert.pem"), "{refused}");
    std::fs::write(&cert, "").expect("a file");
    let refused = Tls::load(&cert, &key).expect_err("empty").to_string();
    assert!(refused.starts_with("api.tls_cert") && refused.contains("no certificate"), "{refused}");
}
