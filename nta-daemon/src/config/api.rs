//! `[api]`: the HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};

use super::section::section;

section! {
    /// The HTTP interface.
    ApiConfig in "api" {
        /// Address and port of REST; without tokens, keep it on the loopback.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
    }
}
