//! `[collect]`: where a collector reads what sensors publish.

use std::path::PathBuf;

use nta_core::Bounds;

use super::api::Insecure;
use super::broker::{Broker, BrokerUrl, check_plain};
use super::problem::Refused;
use super::section::section;

section! {
    /// Where `nta-daemon collect` reads what sensors publish.
    CollectConfig in "collect" {
        /// URLs of NATS servers, separated by commas: nats:// or tls://.
        from: BrokerUrl = BrokerUrl::default(),
        /// File that shows NATS who asks: the seed of an nkey, a file of credentials, or a line USER:PASSWORD.
        credentials_file: PathBuf = PathBuf::new(),
        /// File with certificates (PEM) of authorities that the servers' may be signed by, in place of those that this machine trusts.
        ca_file: PathBuf = PathBuf::new(),
        /// Servers that keep each message of the stream, where this collector makes it: 1, 3 or 5 of a cluster.
        replicas: u64 = 1 => Bounds::new(1.0, 5.0),
        /// Bytes that the stream may take, where this collector makes it. Beyond it sensors keep what they have.
        max_bytes: u64 = 1_073_741_824 => Bounds::new(8_388_608.0, 1e15),
        /// Takes servers before 2.10.23 too, of which a kill could lose a whole stream.
        allow_old_nats: bool = false,
        /// "i understand" speaks to other machines without TLS; "" does not.
        insecure: Insecure = Insecure::default(),
    }
}

impl CollectConfig {
    pub(super) fn check_together(&self, refused: &mut Vec<Refused>) {
        check_plain("collect.from", &self.from, self.insecure.is_accepted(), refused);
    }

    /// The servers that are read from.
    pub fn broker(&self) -> Broker {
        Broker {
            url: self.from.clone(),
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            allow_old: self.allow_old_nats,
        }
    }
}
