//! What HTTP is answered with: the address, bound before anything is touched, the database, and what of the settings the API goes by.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{AppError, refusal};
use crate::api::{AllowedHosts, AnalysisAccess, ApiState, Rules, Tls};
use crate::capture::clock;
use crate::config::{Config, FleetConfig, MetricsAccess};
use crate::service;
use crate::store::{Correlation, Retention, Store};
use nta_core::domain::Status;

/// An address that is listened on, and what TLS is spoken with there.
pub struct Served {
    /// The address.
    pub address: SocketAddr,
    /// Where clients come in.
    pub listener: TcpListener,
    /// Of https.
    pub tls: Option<Arc<Tls>>,
}

impl Served {
    /// Binds the address, if one is given, and opens the database.
    ///
    /// # Errors
    /// Names the address, the certificate or the database that cannot be used; refuses others' access where nobody has a token.
    pub async fn begin(config: &Config, listen: Option<SocketAddr>) -> Result<(Option<Self>, Store), AppError> {
        let served = match listen {
            Some(address) => Some(Self::bind(config, address).await?),
            None => None,
        };
        let url = config.store.database.as_str();
        let store = service::extended(Store::open(url)).await.map_err(|error| refusal::unusable(url, error))?;
        if let Some(Self { address, .. }) = served.as_ref().filter(|_| config.api.is_exposed()) {
            let now = clock::now();
            if !store.tokens().await?.0.iter().any(|token| token.holds(now)) {
                store.close().await;
                return Err(AppError::NoToken { address: *address });
            }
        }
        let FleetConfig { correlate_within_s, shared_networks } = config.fleet.clone();
        let apart_ns = correlate_within_s * 1_000_000_000;
        let correlation = Correlation { apart_ns, shared: shared_networks, ..Correlation::default() };
        Ok((served, store.with_retention(Retention::of(&config.store)).with_correlation(correlation)))
    }

    async fn bind(config: &Config, address: SocketAddr) -> Result<Self, AppError> {
        let refused = |source| AppError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let tls = config.api.tls().map(|(cert, key)| Tls::load(cert, key)).transpose()?.map(Arc::new);
        Ok(Self { address, listener, tls })
    }

    /// Serves this store by the settings.
    pub fn state(
        &self,
        config: &Config,
        store: Store,
        status: watch::Receiver<Status>,
        access: AnalysisAccess,
    ) -> ApiState {
        let api = &config.api;
        let hosts = AllowedHosts {
            hosts: api.hosts.iter().map(ToString::to_string).collect(),
            origins: api.origins.iter().map(ToString::to_string).collect(),
        };
        let state = ApiState::new(store, status).with_analysis(access).with_hosts(hosts);
        let state = state.with_rules(Rules {
            opens: !api.is_exposed(),
            metrics_open: api.metrics == MetricsAccess::Open,
            requests_per_s: NonZeroU32::new(api.requests_per_s),
            trusted_proxies: api.trusted_proxies.configured().to_vec(),
        });
        let state = match &self.tls {
            Some(tls) => state.with_tls(Arc::clone(tls)),
            None => state,
        };
        let state = state.with_connections(api.connections).with_readers(api.stream_readers);
        state.with_config(config.clone())
    }
}
