//! A webhook's target: its kind with all that it needs to send.

use axum::http::Uri;

use super::Failure;
use super::http::{Client, trusted};
use super::message::Delivery;
use super::smtp::Mail;
use super::{alertmanager, generic, pagerduty, slack, smtp, syslog};
use crate::config::{Secret, WebhookConfig, WebhookKind, webhook_key};

pub(super) struct Target {
    client: Client,
    uri: Uri,
    kind: Kind,
}

enum Kind {
    Generic(Vec<Vec<u8>>),
    Slack(Option<String>),
    PagerDuty(String),
    Alertmanager(Option<String>),
    Syslog,
    Smtp(Mail),
}

impl Target {
    /// What a configuration leads to, with these secrets.
    ///
    /// # Errors
    /// When one is missing.
    pub(super) fn of(config: &WebhookConfig, secrets: &[Secret]) -> Result<Self, String> {
        let first = secrets.first().map(|secret| secret.reveal().to_owned());
        let kind = match config.kind {
            WebhookKind::Generic => Kind::Generic(secrets.iter().filter_map(webhook_key).collect()),
            WebhookKind::Slack => Kind::Slack(first),
            WebhookKind::PagerDuty => Kind::PagerDuty(first.ok_or("a routing key is needed")?),
            WebhookKind::Alertmanager => Kind::Alertmanager(first),
            WebhookKind::Syslog => Kind::Syslog,
            WebhookKind::Smtp => Kind::Smtp(Mail {
                user: config.user.clone(),
                password: first,
                from: config.from.clone(),
                to: config.to.clone(),
            }),
        };
        Ok(Self { client: Client::new(trusted(&[]), config.allow_local), uri: config.url.uri().clone(), kind })
    }

    pub(super) async fn send(&self, delivery: &Delivery) -> Result<(), Failure> {
        let Self { client, uri, kind } = self;
        match kind {
            Kind::Generic(keys) => generic::send(client, uri, keys, delivery).await,
            Kind::Slack(token) => slack::send(client, uri, token.as_deref(), delivery).await,
            Kind::PagerDuty(key) => pagerduty::send(client, uri, key, delivery).await,
            Kind::Alertmanager(token) => alertmanager::send(client, uri, token.as_deref(), delivery).await,
            Kind::Syslog => syslog::send(client, uri, delivery).await,
            Kind::Smtp(mail) => smtp::send(client, uri, mail, delivery).await,
        }
    }
}
