//! One request over a connection of its own: no pool, no redirects, a bounded answer, and the address that is connected to is the one
//! that was looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{HOST, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Failure;
use super::local::refusal;

/// Time for the whole of a delivery.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Time to connect to one of several addresses.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 16 << 10;
/// Characters of an answer that are kept of a refusal.
const MAX_SHOWN: usize = 200;
/// A server may ask for so much patience, in seconds.
const MAX_RETRY_AFTER_S: u64 = 3600;

/// How webhooks reach their targets.
#[derive(Clone)]
pub(in crate::sink) struct Client {
    tls: TlsConnector,
    allow_local: bool,
}

/// A connection, with or without TLS.
pub(in crate::sink) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The certificates of the authorities that this machine trusts, and of these (PEM).
pub(in crate::sink) fn trusted(further: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "webhooks: certificates of authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(further).flatten());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|config| config.with_root_certificates(roots).with_no_client_auth());
    match config {
        Ok(config) => TlsConnector::from(Arc::new(config)),
        // The provider has the default versions: this does not happen.
        Err(error) => unreachable!("TLS: {error}"),
    }
}

impl Client {
    pub(in crate::sink) const fn new(tls: TlsConnector, allow_local: bool) -> Self {
        Self { tls, allow_local }
    }

    /// The addresses of a target that may be connected to.
    ///
    /// # Errors
    /// For good, where there are only others.
    pub(super) async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await;
        let found = found.map_err(|error| Failure::new(format!("{bare} cannot be resolved: {error}")))?;
        let (mut addresses, mut refused) = (Vec::new(), None);
        for address in found.take(MAX_ADDRESSES) {
            match refusal(address.ip()).filter(|_| !self.allow_local) {
                None => addresses.push(address),
                Some(why) => {
                    refused = Some(format!("{bare} is {}, {why}: `allow_local = true` allows it", address.ip()));
                }
            }
        }
        match (addresses.is_empty(), refused) {
            (false, _) => Ok(addresses),
            (true, Some(refused)) => Err(Failure::for_good(refused)),
            (true, None) => Err(Failure::new(format!("{bare} has no address"))),
        }
    }

    /// A connection to a target, with TLS if it is to have it.
    pub(super) async fn connect(&self, host: &str, port: u16, with_tls: bool) -> Result<Box<dyn Stream>, Failure> {
        let mut last = None;
        for address in self.addresses(host, port).await? {
            let connected = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await;
            match connected {
                Ok(Ok(stream)) if with_tls => return self.secure(stream, host).await,
                Ok(Ok(stream)) => return Ok(Box::new(stream)),
                Ok(Err(error)) => last = Some(format!("{address}: {error}")),
                Err(_) => last = Some(format!("{address} does not answer")),
            }
        }
        Err(Failure::new(last.unwrap_or_default()))
    }

    async fn secure(&self, stream: TcpStream, host: &str) -> Result<Box<dyn Stream>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| Failure::for_good(format!("{host}: {error}")))?;
        let secured = self.tls.connect(name, stream).await;
        Ok(Box::new(secured.map_err(|error| Failure::new(format!("TLS with {host}: {error}")))?))
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// Whatever else came back; for good where the server will say the same next time.
    pub(super) async fn post(&self, uri: &Uri, headers: &[(&str, String)], body: String) -> Result<(), Failure> {
        let headers = [&[("content-type", "application/json".to_owned())], headers].concat();
        self.exchange_within((PATIENCE, MAX_ANSWER), uri, &headers, body.into_bytes()).await.map(drop)
    }

    /// Posts bytes and answers the body that came back, so many bytes at most, where that is a success.
    ///
    /// # Errors
    /// Whatever else came back; for good where the server will say the same next time.
    pub(in crate::sink) async fn exchange_within(
        &self,
        (patience, most): (Duration, usize),
        uri: &Uri,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Bytes, Failure> {
        let late = |_| Failure::new(format!("no answer within {} s", patience.as_secs()));
        tokio::time::timeout(patience, self.exchange(most, uri, headers, body)).await.map_err(late)?
    }

    async fn exchange(
        &self,
        most: usize,
        uri: &Uri,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Bytes, Failure> {
        let (host, is_secure) = (uri.host().unwrap_or_default(), uri.scheme_str() == Some("https"));
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let stream = self.connect(host, port, is_secure).await?;
        let broken = |error: hyper::Error| Failure::new(format!("{host}: {error}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = request(uri, host, headers, body)?;
        let exchange = async move {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let (parts, body) = answer.into_parts();
            let text = Limited::new(body, most).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            judge(parts.status, &parts.headers, &text).map(|()| text)
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            judged = &mut exchange => judged,
            // It ends before the answer is read where the server closes at once.
            _ended = connection => exchange.await,
        }
    }
}

fn request(uri: &Uri, host: &str, headers: &[(&str, String)], body: Vec<u8>) -> Result<Request<Full<Bytes>>, Failure> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let named = uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, named)
        .header(USER_AGENT, concat!("nta/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        // What cannot stand in a header would be refused with the secret in it.
        let (Ok(field), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(value)) else {
            return Err(Failure::for_good(format!("{name} cannot be sent")));
        };
        request = request.header(field, value);
    }
    request.body(Full::from(Bytes::from(body))).map_err(|error| Failure::for_good(error.to_string()))
}

/// Whether an answer is a success.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
    let said = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    if status.is_redirection() {
        let refused = Failure::for_good(format!("{status}: redirects are not followed, name the target itself"));
        return Err(Failure { status: Some(status), ..refused });
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let retry_after = after.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER_S)));
    // Of 4xx these say that the next attempt may succeed.
    let may_pass = matches!(status.as_u16(), 408 | 409 | 423 | 425 | 429 | 401 | 403 | 404) || status.is_server_error();
    let is_too_large = status == StatusCode::PAYLOAD_TOO_LARGE;
    Err(Failure { reason: said, status: Some(status), is_for_good: !may_pass, is_too_large, retry_after })
}
