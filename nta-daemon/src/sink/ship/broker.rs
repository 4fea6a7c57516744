//! NATS as sensors and collectors use it: subjects, who is connected as, and which servers are taken.

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};

use crate::config::{Broker, Credentials};

/// Subjects of a stream that sensors publish to, each to its own.
pub const SHIP: &str = "nta.ship";
/// Subjects on which they hear how far the store is, each on its own. They are no stream's: an answer that is lost comes with the next heartbeat.
pub const ACK: &str = "nta.ack";
/// Header of a message that comes back with its answer: when the sensor sent it, as it counts time.
pub const SENT: &str = "Nta-Sent";
/// Up to the version before a kill of a server could lose a whole stream (nats-server #6888).
const LEAST_VERSION: [u64; 3] = [2, 10, 23];
/// Time to be connected.
const PATIENCE: Duration = Duration::from_secs(10);

/// The subject of a sensor.
///
/// # Errors
/// When its name cannot be a part of one.
pub fn subject(of: &str, sensor: &str) -> Result<String, String> {
    if sensor.split('.').any(str::is_empty) {
        return Err(format!(
            "`{sensor}` can be no subject of NATS: choose a `sensor.name` in which no dot begins, ends or follows a dot"
        ));
    }
    Ok(format!("{of}.{sensor}"))
}

/// Connects, and looks at the server's version.
///
/// # Errors
/// When no server lets this one in, or it is too old.
pub async fn connect(broker: &Broker, name: &str) -> Result<Client, String> {
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(PATIENCE)
        .require_tls(broker.url.demands_tls())
        .event_callback(|event| async move {
            match event {
                Event::Connected => tracing::info!("nats: connected"),
                Event::Disconnected => tracing::warn!("nats: disconnected; it is tried again"),
                other => tracing::debug!(event = %other, "nats"),
            }
        });
    if !broker.ca_file.as_os_str().is_empty() {
        options = options.add_root_certificates(broker.ca_file.clone());
    }
    options = match broker.credentials()? {
        None => options,
        Some(Credentials::Seed(seed)) => options.nkey(seed),
        Some(Credentials::Jwt(text)) => {
            options.credentials(&text).map_err(|error| format!("{}: {error}", broker.credentials_file.display()))?
        }
        Some(Credentials::User(user, password)) => options.user_and_password(user, password),
    };
    let client = options.connect(broker.url.servers()).await;
    let client = client.map_err(|error| format!("{}: {}", broker.url, chain(&error)))?;
    check_version(&client, broker)?;
    Ok(client)
}

/// Whether the server that is connected to now keeps what it acknowledges, as far as its version says.
///
/// # Errors
/// When it does not, and that was not allowed.
pub fn check_version(client: &Client, broker: &Broker) -> Result<(), String> {
    let version = client.server_info().version;
    if broker.allow_old || numbers(&version) >= LEAST_VERSION {
        return Ok(());
    }
    let [major, minor, patch] = LEAST_VERSION;
    Err(format!(
        "{}: NATS {} may lose a whole stream when it is killed: bring it to {major}.{minor}.{patch} or later \
         (`--allow-old-nats`, `allow_old_nats = true` take it as it is)",
        broker.url,
        version.escape_debug()
    ))
}

/// The numbers of a version, those that are missing as 0.
fn numbers(version: &str) -> [u64; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or_default());
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// An error with its causes, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, is_taken) in [
            ("2.9.10", false),
            ("2.10.22", false),
            ("2.10.23", true),
            ("2.11.0-RC.1", true),
            ("10.0.0", true),
            ("", false),
        ] {
            assert_eq!(numbers(version) >= LEAST_VERSION, is_taken, "{version}");
        }
    }

    #[test]
    fn a_name_with_dots_is_a_subject_where_each_part_is_one() {
        assert_eq!(subject(SHIP, "gw.paris-1").as_deref(), Ok("nta.ship.gw.paris-1"));
        for name in [".gw", "gw.", "gw..1", ""] {
            assert!(subject(SHIP, name).is_err(), "{name}");
        }
    }
}
