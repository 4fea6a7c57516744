//! `[api]`: the HTTP interface.

use std::net::{Ipv4Addr, SocketAddr};

use super::section::section;

section! {
    /// The HTTP interface.
    ApiConfig in "api" {
        /// Address and port of REST; without tokens, keep it on the loopback.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
        /// Names and addresses, without port, that clients reach the server by; localhost and the address listened on are
        /// always among them.
        hosts: Vec<String> = Vec::new(),
        /// Origins such as "https://console.example.org" whose pages may write; the server's own always may.
        origins: Vec<String> = Vec::new(),
    }
}
