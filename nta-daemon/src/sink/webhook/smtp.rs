//! E-mail.

use std::time::Duration;

use axum::http::Uri;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::Failure;
use super::http::{Client, PATIENCE};
use super::message::{Delivery, cut};

/// Bytes of a subject.
const MAX_SUBJECT: usize = 180;

/// Who writes to whom.
#[derive(Clone)]
pub(super) struct Mail {
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// Sends an event.
pub(super) async fn send(client: &Client, uri: &Uri, mail: &Mail, delivery: &Delivery) -> Result<(), Failure> {
    let late = |_| Failure::new(format!("not taken within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, exchange(client, uri, mail, delivery)).await.map_err(late)?
}

async fn exchange(client: &Client, uri: &Uri, mail: &Mail, delivery: &Delivery) -> Result<(), Failure> {
    let message = message(mail, delivery)?;
    let (host, is_secure) = (uri.host().unwrap_or_default(), uri.scheme_str() == Some("smtps"));
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if is_secure { 465 } else { 25 });
    let addresses = client.addresses(host, port).await?;
    let Some(address) = addresses.first() else { return Err(Failure::new(format!("{host} has no address"))) };
    let parameters = TlsParameters::new(bare).map_err(|error| Failure::for_good(error.to_string()))?;
    let tls = match (is_secure, mail.password.is_some()) {
        (true, _) => Tls::Wrapper(parameters),
        // A password goes over no wire in the open.
        (false, true) => Tls::Required(parameters),
        (false, false) => Tls::Opportunistic(parameters),
    };
    // The address that was looked at, and the certificate of the name.
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(port)
        .tls(tls)
        .timeout(Some(Duration::from_secs(8)));
    if let Some(password) = &mail.password {
        transport = transport.credentials(Credentials::new(mail.user.clone(), password.clone()));
    }
    match transport.build().send(message).await {
        Ok(_taken) => Ok(()),
        Err(error) if error.is_permanent() => Err(Failure::for_good(error.to_string())),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn message(mail: &Mail, delivery: &Delivery) -> Result<Message, Failure> {
    let mailbox = |text: &String| {
        text.parse::<Mailbox>().map_err(|error| Failure::for_good(format!("`{text}` is no address: {error}")))
    };
    let domain = mail.from.rsplit_once('@').map_or("nta", |(_, domain)| domain.trim_end_matches('>'));
    let mut message = Message::builder()
        .from(mailbox(&mail.from)?)
        .message_id(Some(format!("<{}@{domain}>", delivery.id)))
        .subject(cut(&format!("nta {}: {}", delivery.sensor(), delivery.summary()), MAX_SUBJECT))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        message = message.to(mailbox(to)?);
    }
    message.body(text(delivery)).map_err(|error| Failure::for_good(error.to_string()))
}

/// What the mail says: the line, and everything that is known.
fn text(delivery: &Delivery) -> String {
    let mut text =
        format!("{}\r\n\r\nsensor: {}\r\ntime: {}\r\n", delivery.summary(), delivery.sensor(), delivery.event.time);
    if let Some(data) = delivery.event.data.as_object() {
        for (name, value) in data.iter().filter(|(_, value)| !value.is_null()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!("{name}: {}\r\n", super::message::clean(&value)));
        }
    }
    text
}
