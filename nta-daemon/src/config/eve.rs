//! `[eve]`: events as Suricata writes them, to a file or a socket.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Refused;
use super::jsonl::{BYTES, FILES};
use super::section::section;
use super::url::{Names, Url, UrlKind};

section! {
    /// Events of `run` as Suricata's EVE JSON, an event a line, for what reads Suricata's.
    EveConfig in "eve" {
        /// Where they go: file:///var/log/nta/eve.json, unix:///run/x.sock or tcp://HOST:PORT, whose reader listens; empty writes none. The folder
        /// of a file is there already.
        to: EveUrl = EveUrl::default(),
        /// Which are written, of alert, flow, dns and stats.
        types: Vec<EveType> = EveType::ALL.to_vec(),
        /// Bytes of a file; one that a line would make larger becomes eve.json.1, that one .2, and so on.
        max_bytes: u64 = 104_857_600 => BYTES,
        /// How many of those are kept.
        keep: u32 = 4 => FILES,
    }
}

/// A type of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EveType {
    /// Alerts as they are raised.
    Alert,
    /// Flows as they end.
    Flow,
    /// DNS messages.
    Dns,
    /// Base windows.
    Stats,
}

impl EveType {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Flow, Self::Dns, Self::Stats];
}

/// Where events go; empty for nowhere.
pub type EveUrl = Url<Eve>;

/// What [`EveUrl`] may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eve;

impl UrlKind for Eve {
    const EXPECTED: &'static str = "file:///PATH, unix:///PATH or tcp://HOST:PORT";
    const SCHEMES: &'static [(&'static str, Names)] =
        &[("file", Names::Path), ("unix", Names::Path), ("tcp", Names::HostAndPort)];
}

impl EveConfig {
    pub(super) fn check(&self, refused: &mut Vec<Refused>) {
        if self.types.is_empty() && !self.to.is_empty() {
            refused.push(Refused::new("eve.types", "empty", "some of alert, flow, dns and stats"));
        }
        if self.to.scheme() == "file" && Path::new(self.to.place()).is_dir() {
            refused.push(Refused::new("eve.to", &self.to, "the path of a file, not of a folder"));
        }
    }
}
