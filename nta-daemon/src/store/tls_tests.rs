//! PostgreSQL by TLS: with a server whose certificate an authority of our own has signed, and with one that has no TLS.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Store;
use super::db::Query;
use super::server_tests::Server;

/// Makes an authority (`ca.crt`) and a certificate for `localhost` (`server.crt`, `server.key`); false without openssl.
fn certificates(folder: &Path) -> bool {
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(args.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").expect("a file");
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )) && openssl(&format!("req -new {key} -keyout server.key -out server.csr -subj /CN=localhost"))
        && openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names",
        )
}

/// What a server shows of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// It has no TLS.
    Nothing,
    /// A certificate that `ca.crt` has signed.
    Signed,
    /// The certificate `ca.crt`, which has signed itself.
    Itself,
}

/// A server on a port of the loopback, and its port.
fn start(test: &str, shows: Shows) -> Option<(Server, u16)> {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let server = Server::start_with(test, |folder| {
        let mut settings = vec!["listen_addresses=127.0.0.1".to_owned(), format!("port={port}")];
        if shows != Shows::Nothing {
            if !certificates(folder) {
                eprintln!("not run: {test}: openssl makes no certificate (Debian's package openssl)");
                return None;
            }
            let file = |name: &str| folder.join(name).display().to_string();
            let name = if shows == Shows::Signed { "server" } else { "ca" };
            settings.extend(["ssl=on".to_owned(), format!("ssl_cert_file={}", file(&format!("{name}.crt")))]);
            settings.push(format!("ssl_key_file={}", file(&format!("{name}.key"))));
        }
        Some(settings)
    })?;
    Some((server, port))
}

/// Whether the server sees this store's connection encrypted.
async fn is_encrypted(store: &Store) -> bool {
    let mut conn = store.database.connect().await.expect("a connection");
    let seen = Query::new(
        "SELECT CAST(ssl AS BIGINT) FROM (SELECT CAST(ssl AS INTEGER) AS ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS own",
    );
    conn.number(seen).await.expect("a row") == 1
}

#[tokio::test]
async fn a_server_is_reached_by_tls_and_its_certificate_is_looked_at() {
    let Some((server, port)) = start("a_server_is_reached_by_tls_and_its_certificate_is_looked_at", Shows::Signed)
    else {
        return;
    };
    let url = |host: &str, options: &str| format!("postgres://nta@{host}:{port}/postgres?{options}");
    let authority = server.file("ca.crt");
    // Waits until it answers.
    let store = Server::open_at(&url("localhost", "sslmode=require")).await;
    assert!(is_encrypted(&store).await);
    store.close().await;
    for (host, options, is_tls) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={authority}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={authority}"), true),
        ("127.0.0.1", "sslmode=prefer".to_owned(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
    ] {
        let store =
            Store::open(&url(host, &options)).await.unwrap_or_else(|error| panic!("{options}: {}", error.chain()));
        assert_eq!(is_encrypted(&store).await, is_tls, "{options}");
        store.close().await;
    }
    for (host, options) in [
        // Nobody on this machine knows the authority; and the certificate is for a name, not for this address.
        ("localhost", "sslmode=verify-full".to_owned()),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={authority}")),
    ] {
        let error = Store::open(&url(host, &options)).await.expect_err(&options).chain();
        assert!(error.contains("certificate"), "{options}: {error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_demanded() {
    let Some((_server, port)) = start("a_server_without_tls_is_refused_where_it_is_demanded", Shows::Nothing) else {
        return;
    };
    let url = |mode: &str| format!("postgres://nta:hunter2@127.0.0.1:{port}/postgres?sslmode={mode}");
    let store = Server::open_at(&url("prefer")).await;
    assert!(!is_encrypted(&store).await);
    store.close().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = Store::open(&url(mode)).await.expect_err(mode).chain();
        assert!(
            error.contains("TLS") && error.contains(&port.to_string()) && !error.contains("hunter2"),
            "{mode}: {error}"
        );
    }
    let error = Store::open(&url("always")).await.expect_err("no such mode").chain();
    assert!(error.contains("always") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_signed_itself_encrypts_and_proves_nothing() {
    let test = "a_certificate_that_signed_itself_encrypts_and_proves_nothing";
    let Some((server, port)) = start(test, Shows::Itself) else { return };
    let url = |options: &str| format!("postgres://nta@localhost:{port}/postgres?{options}");
    let store = Server::open_at(&url("sslmode=require")).await;
    assert!(is_encrypted(&store).await);
    store.close().await;
    for options in
        ["sslmode=verify-full".to_owned(), format!("sslmode=verify-full&sslrootcert={}", server.file("ca.crt"))]
    {
        let error = Store::open(&url(&options)).await.expect_err(&options).chain();
        assert!(error.contains("certificate"), "{options}: {error}");
    }
}
