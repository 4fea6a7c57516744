//! Syslog as RFC 5424 has it: by UDP a datagram (RFC 5426), by TCP or TLS with its length in front (RFC 6587, RFC 5425).

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Uri;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UdpSocket;

use super::Failure;
use super::http::{Client, PATIENCE};
use super::message::{Delivery, clean, cut};
use nta_core::domain::Severity;

/// Local use 0.
const FACILITY: u8 = 16;
/// Bytes that every receiver should take.
const MAX_BYTES: usize = 2048;
/// Of names and of the message, as the RFC and the whole bound them.
const MAX_HOST: usize = 255;
const MAX_VALUE: usize = 200;

/// Sends an event. That a receiver has it is not said by this protocol: a success is that it could be sent.
pub(super) async fn send(client: &Client, uri: &Uri, delivery: &Delivery) -> Result<(), Failure> {
    let late = |_| Failure::new(format!("not sent within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, exchange(client, uri, &line(delivery))).await.map_err(late)?
}

async fn exchange(client: &Client, uri: &Uri, line: &str) -> Result<(), Failure> {
    let (host, scheme) = (uri.host().unwrap_or_default(), uri.scheme_str().unwrap_or_default());
    let failed = |error: std::io::Error| Failure::new(format!("{host}: {error}"));
    if scheme == "udp" {
        let addresses = client.addresses(host, uri.port_u16().unwrap_or(514)).await?;
        let Some(address) = addresses.first() else { return Err(Failure::new(format!("{host} has no address"))) };
        let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        socket.send(line.as_bytes()).await.map_err(failed)?;
        // A receiver that is not there says so by ICMP, if at all.
        let mut nothing = [0; 1];
        return match tokio::time::timeout(ICMP_WAIT, socket.recv(&mut nothing)).await {
            Ok(Err(error)) => Err(failed(error)),
            Ok(Ok(_)) | Err(_) => Ok(()),
        };
    }
    let is_secure = scheme == "tls";
    let port = uri.port_u16().unwrap_or(if is_secure { 6514 } else { 601 });
    let mut stream = client.connect(host, port, is_secure).await?;
    stream.write_all(format!("{} {line}", line.len()).as_bytes()).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)
}

const ICMP_WAIT: Duration = Duration::from_millis(200);

fn line(delivery: &Delivery) -> String {
    let severity = match delivery.severity() {
        Some(Severity::Critical) => 2,
        Some(Severity::High) => 3,
        Some(Severity::Medium) => 4,
        Some(Severity::Low) => 5,
        None => 6,
    };
    let host: String = delivery.sensor().chars().filter(char::is_ascii_graphic).take(MAX_HOST).collect();
    let host = if host.is_empty() { "-".to_owned() } else { host };
    let mut data = format!("[nta@32473 event=\"{}\"", delivery.event.id);
    for name in ["id", "type", "severity", "source", "destination", "detector"] {
        if let Some(value) = delivery.text(name) {
            data.push_str(&format!(" {name}=\"{}\"", escape(cut(&clean(value), MAX_VALUE))));
        }
    }
    data.push(']');
    let head = format!(
        "<{}>1 {} {host} nta {} {} {data} ",
        FACILITY * 8 + severity,
        delivery.event.time,
        std::process::id(),
        delivery.event.kind
    );
    // The mark says that it is UTF-8.
    let text = format!("{head}\u{feff}{}", delivery.summary());
    cut(&text, MAX_BYTES).to_owned()
}

/// As values of structured data need it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_within_its_bounds() {
        let mut delivery = Delivery::test(0, "gate way");
        delivery.event.severity = Some("critical".to_owned());
        delivery.event.data["source"] = "a\"b]c\\d".into();
        delivery.event.data["summary"] = "one\n<13>1 - - - - - - two".into();
        let text = line(&delivery);
        assert!(text.starts_with("<130>1 1970-01-01T00:00:00.000000Z gateway nta "), "{text}");
        assert!(text.contains(" alert_raised [nta@32473 event=\"0\" id=\"0000000000000000\" type=\"test\""), "{text}");
        assert!(text.contains(r#"source="a\"b\]c\\d""#) && !text.contains('\n'), "{text}");
        assert!(text.contains("] \u{feff}[critical] test: one <13>1"), "{text}");
        delivery.event.data["summary"] = "é".repeat(5000).into();
        assert!((MAX_BYTES - 1..=MAX_BYTES).contains(&line(&delivery).len()));
    }
}
