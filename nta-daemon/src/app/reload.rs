//! What a reload takes up while everything goes on: interfaces, detection, how much is kept, webhooks, what is logged, the certificate.

use super::App;
use crate::api::Tls;
use crate::config::{Config, ConfigError, ReloadAnswer, ReloadError, Reloaded, Reread};
use crate::service;
use crate::store::Retention;
use crate::telemetry::{self, RECORDS};

/// Reads the configuration again, as the command line of this daemon says.
pub type Hangup<'a> = dyn FnMut() -> Result<Reread, ReloadError> + 'a;

/// The setting that says which interfaces are captured.
const INTERFACES: &str = "capture.interfaces";

impl App {
    /// Reads the configuration again, takes up what can be, and says so in the log and to the service manager. One that cannot be used
    /// changes nothing.
    pub(super) async fn read_again(&mut self, by: &str, read: &mut Hangup<'_>) -> ReloadAnswer {
        service::reloading();
        let answer = match read() {
            Ok(reread) => self.take_up(reread, by).await.map_err(|error| ReloadError::Invalid(error.to_string())),
            Err(error) => Err(error),
        };
        match &answer {
            Ok(reloaded) => {
                tracing::info!(by, "reload: {}", reloaded.said());
                match &reloaded.certificate {
                    Some(Ok(())) => tracing::info!(by, "new connections get the certificate that is there now"),
                    Some(Err(error)) => tracing::warn!(by, "{error}: the certificate stays as it was"),
                    None => {}
                }
            }
            Err(ReloadError::Once(said)) => tracing::info!(by, "{said}"),
            Err(error) => tracing::warn!(by, "{}", error.to_string().replace('\n', "; ")),
        }
        service::ready(&service::line(&self.status.borrow()));
        answer
    }

    async fn take_up(&self, Reread { config, patterns }: Reread, by: &str) -> Result<Reloaded, ConfigError> {
        let before = self.current.now();
        let found = before.differences(&config)?;
        let (mut taken, mut failed) = (found.reloadable, Vec::new());
        if let (Some(capture), Some(at)) = (&self.orders, taken.iter().position(|key| key == INTERFACES))
            && let Err(error) = capture.select(patterns, by.to_owned()).await
        {
            failed.push((taken.remove(at), error.to_string()));
        }
        let now = before.with_settings_of(&config, &taken)?;
        self.apply(&before, now).await;
        let certificate = self.tls.as_deref().map(|tls| Tls::reload(tls).map_err(|error| error.to_string()));
        Ok(Reloaded { taken, restart: found.fixed, failed, unchanged: found.same, certificate })
    }

    /// These settings are in effect from now on.
    async fn apply(&self, before: &Config, now: Config) {
        if now.log != before.log {
            telemetry::change_filter(&now.log.filter.directives());
        }
        RECORDS.hide(now.secrets());
        if let Some(webhooks) = &self.webhooks {
            webhooks.replace(&now.webhooks).await; // also the same ones: files of secrets are read anew
        }
        if now.detect != before.detect {
            self.detect.set(now.detect.clone());
        }
        if now.store != before.store {
            self.store.keep(Retention::of(&now.store));
        }
        self.current.set(now);
    }
}
