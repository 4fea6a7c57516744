//! Who may ask: the request's `Host` must be one that is listened on, and a page of another site may not write.
//!
//! Without this, any page that a person on this machine opens could read the API: its name is made to point to the
//! loopback (DNS rebinding), and the browser takes our answers for that page's own. A browser always says which name it
//! asked for, so a name that is not ours is refused. `/health` and `/metrics` are open: load balancers and Prometheus
//! ask under any name, and there is nothing about the network in them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpStream;

use super::ApiError;
use super::access::Access;

/// Paths that answer under any `Host`.
const OPEN: [&str; 2] = ["/health", "/metrics"];
/// The stream of events that needs no upgrade.
const EVENTS: &str = "/api/events";

/// Whether this path answers under any `Host`.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path)
}

/// Which hosts and origins there are beside those that are always allowed.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    /// Names and addresses without port that the server is reached by.
    pub hosts: Vec<String>,
    /// Origins (`scheme://host[:port]`) of pages that may write.
    pub origins: Vec<String>,
}

/// Both ends of a connection: the address that a client reached, and its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    is_tls: bool,
}

impl Ends {
    pub(super) fn of(stream: &TcpStream, is_tls: bool) -> Self {
        Self { local: stream.local_addr().ok(), peer: stream.peer_addr().ok(), is_tls }
    }

    /// Whether TLS is spoken between them.
    pub(super) const fn is_tls(self) -> bool {
        self.is_tls
    }

    /// The address of the client, as the socket knows it.
    pub(super) fn peer_ip(self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }
}

/// Refuses requests for other hosts, and writes, upgrades and streams that pages of other sites ask for.
pub(super) async fn check(
    State((allowed, access)): State<(Arc<AllowedHosts>, Arc<Access>)>,
    request: Request,
    next: Next,
) -> Response {
    let ends = request.extensions().get::<ConnectInfo<Ends>>().map(|ConnectInfo(ends)| *ends);
    let (local, is_tls) = (ends.and_then(|ends| ends.local), ends.is_some_and(Ends::is_tls));
    let checked = if is_open(request.uri().path()) {
        Ok(None)
    } else {
        allowed.host(request.uri(), request.headers(), local.map(|local| local.ip())).map(Some)
    };
    // A page may open a stream without asking for leave; it reads nothing, but takes a reader's place.
    let lasts = request.headers().contains_key(header::UPGRADE) || request.uri().path() == EVENTS;
    let checked = checked.and_then(|host| match lasts || !request.method().is_safe() {
        true => allowed.origin(request.headers(), host.as_ref(), is_tls),
        false => Ok(()),
    });
    match checked {
        Ok(()) => next.run(request).await,
        Err(refused) => {
            let response = refused.into_response();
            if matches!(response.status(), StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST) {
                access.note_foreign(&request, ends.and_then(Ends::peer_ip), response.status());
            }
            response
        }
    }
}

impl AllowedHosts {
    /// The host that a request is for, if it is one of ours.
    fn host(&self, uri: &Uri, headers: &HeaderMap, local: Option<IpAddr>) -> Result<Authority, ApiError> {
        let wrong = |detail: &str| ApiError::invalid("Host", detail);
        let named = match single(headers, &header::HOST)? {
            Some(value) => {
                let text = value.to_str().ok().filter(|text| !text.contains('@'));
                Some(
                    text.and_then(|text| text.parse::<Authority>().ok())
                        .ok_or_else(|| wrong("expected `name:port`"))?,
                )
            }
            None => None,
        };
        // The authority of an absolute target, or of HTTP/2, stands above the header, and may not differ from it.
        let host = match (uri.authority(), named) {
            (Some(target), Some(named)) if *target != named => return Err(wrong("differs from the request's target")),
            (Some(target), _) => target.clone(),
            (None, Some(named)) => named,
            (None, None) => return Err(wrong("is missing")),
        };
        if !has_valid_port(&host) {
            return Err(wrong("expected a port up to 65535"));
        }
        if self.is_ours(host.host(), local) {
            return Ok(host);
        }
        let mut ours = vec!["localhost".to_owned(), "a loopback address".to_owned()];
        ours.extend(local.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()));
        ours.extend(self.hosts.iter().cloned());
        let given: String = host.host().chars().take(MAX_SHOWN).collect();
        let detail = format!("`{given}`: expected one of {}; `[api] hosts` names others", ours.join(", "));
        Err(ApiError::Misdirected { detail })
    }

    /// A name that only we can give, or an address: an address cannot be made to point elsewhere.
    fn is_ours(&self, host: &str, local: Option<IpAddr>) -> bool {
        let bare = host.strip_suffix('.').unwrap_or(host);
        let address = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(ip) if ip.to_canonical().is_loopback() => true,
            Ok(ip) if local.is_some_and(|local| local.to_canonical() == ip.to_canonical()) => true,
            Ok(ip) => self.hosts.iter().any(|ours| ours.parse().is_ok_and(|ours: IpAddr| ours == ip)),
            Err(_) => bare.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|o| o.eq_ignore_ascii_case(bare)),
        }
    }

    /// A browser says where a page comes from that writes; other clients say nothing.
    fn origin(&self, headers: &HeaderMap, host: Option<&Authority>, is_tls: bool) -> Result<(), ApiError> {
        let Some(origin) = single(headers, &header::ORIGIN)? else {
            // Fetch Metadata (W3C): where it says that another site asks, a missing origin is no excuse.
            let foreign = headers.get_all(FETCH_SITE).iter().any(|site| site != "same-origin" && site != "none");
            let detail = "only pages of this server may write, or say their `Origin`".to_owned();
            let refused = || ApiError::Forbidden { field: "Sec-Fetch-Site".to_owned(), detail };
            return if foreign { Err(refused()) } else { Ok(()) };
        };
        let text = origin.to_str().unwrap_or_default();
        let is_same = host.is_some_and(|host| is_same_origin(text, host, is_tls));
        if is_same || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
            return Ok(());
        }
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        let detail = format!("`{shown}`: only pages of this server may write; `[api] origins` names others");
        Err(ApiError::Forbidden { field: "Origin".to_owned(), detail })
    }
}

/// An authority may be parsed with any digits behind its colon, or none.
fn has_valid_port(host: &Authority) -> bool {
    let port = host.as_str().rsplit_once(host.host()).map_or("", |(_, rest)| rest);
    port.strip_prefix(':').is_none_or(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// A page of this server came by what the connection speaks, http or https. Where TLS ends at a proxy in front of it, the origin that
/// browsers see is another one, and `[api] origins` names it.
fn is_same_origin(origin: &str, host: &Authority, is_tls: bool) -> bool {
    let (scheme, own_port) = if is_tls { ("https://", HTTPS_PORT) } else { ("http://", HTTP_PORT) };
    let Some(authority) = origin.strip_prefix(scheme) else { return false };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(own_port);
    authority.host().eq_ignore_ascii_case(host.host()) && port(&authority) == port(host)
}

/// The one value of a header that may stand there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ApiError::invalid(if *name == header::HOST { "Host" } else { "Origin" }, "given more than once")),
    }
}

const MAX_SHOWN: usize = 100;
const FETCH_SITE: &str = "sec-fetch-site";
/// Where nothing else is written.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_ours_by_loopback_local_end_or_configuration() {
        let allowed =
            AllowedHosts { hosts: vec!["nta.example.org".to_owned(), "192.0.2.9".to_owned()], origins: vec![] };
        let local = Some("192.0.2.1".parse().expect("address"));
        for host in
            ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "[::1]", "192.0.2.1", "192.0.2.9", "NTA.example.org."]
        {
            assert!(allowed.is_ours(host, local), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.0.2.2", "[2001:db8::1]", "127.0.0.1.nip.io", ""] {
            assert!(!allowed.is_ours(host, local), "{host}");
        }
    }

    #[test]
    fn a_port_is_a_number_up_to_65535() {
        let is_valid = |text: &str| has_valid_port(&text.parse().expect("an authority"));
        for good in ["localhost", "localhost:", "localhost:5000", "[::1]", "[::1]:65535", "50:50"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["localhost:99999", "localhost:65536", "[::1]:70000"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_the_same_by_name_and_port() {
        let host: Authority = "localhost:5000".parse().expect("host");
        assert!(is_same_origin("http://localhost:5000", &host, false));
        for other in ["http://localhost:5001", "http://localhost", "null", "http://127.0.0.1:5000", "file://", ""] {
            assert!(!is_same_origin(other, &host, false), "{other}");
        }
        let bare: Authority = "nta.example".parse().expect("host");
        assert!(
            is_same_origin("http://nta.example", &bare, false) && is_same_origin("http://nta.example:80", &bare, false)
        );
        assert!(
            !is_same_origin("https://nta.example", &bare, false)
                && !is_same_origin("https://localhost:5000", &host, false)
        );
        // By TLS it is the other way round.
        assert!(
            is_same_origin("https://nta.example:443", &bare, true)
                && !is_same_origin("http://nta.example", &bare, true)
        );
    }
}
