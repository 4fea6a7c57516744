//! `[api]`: the HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The HTTP interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Address and port to listen on. Default: `127.0.0.1:5000`.
    pub listen: SocketAddr,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)) }
    }
}

impl ApiConfig {
    pub(super) fn to_toml(&self) -> String {
        format!(
            "[api]\n# Address and port of REST; without tokens, keep it on the loopback.\nlisten = \"{}\"\n",
            self.listen
        )
    }
}
