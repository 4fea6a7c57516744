//! The parties of alerts that a list is asked for. An alert names a host, a network, a MAC address or many; a network that is asked for
//! finds the hosts and networks within it: their names are looked up first, by the index of the column.

use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{Addresses, Sought};
use super::db::{Query, Value};
use super::{Store, StoreError};
use nta_core::detect::network;

/// Names of a column that are looked through for those within a network.
const MOST_NAMES: u64 = 20_000;
/// Names within the networks of one filter.
const MOST_FOUND: usize = 1000;

/// Parties of which an alert is to have one; all where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartyFilter {
    /// As alerts write them; nobody in particular is the empty text.
    names: Vec<String>,
    /// Networks whose names are not looked up yet.
    networks: Vec<IpNet>,
}

impl From<IpAddr> for PartyFilter {
    fn from(host: IpAddr) -> Self {
        Self { names: vec![host.to_canonical().to_string()], networks: Vec::new() }
    }
}

impl PartyFilter {
    /// Parties as alerts write them, with `-` for nobody in particular, and networks. A network of one address is that host.
    pub fn new(names: Vec<String>, networks: Vec<IpNet>) -> Self {
        let (hosts, networks): (Vec<_>, Vec<_>) =
            networks.into_iter().partition(|network| network.prefix_len() == network.max_prefix_len());
        let hosts = hosts.into_iter().map(|host| host.addr().to_canonical().to_string());
        let nobody = |name: String| if name == "-" { String::new() } else { name };
        let mut names: Vec<String> = names.into_iter().map(nobody).chain(hosts).collect();
        names.sort_unstable();
        names.dedup();
        Self { names, networks }
    }

    /// Whether no networks are among them any more.
    pub(super) const fn is_named(&self) -> bool {
        self.networks.is_empty()
    }

    /// As who asks writes them.
    pub fn shown(&self) -> Vec<String> {
        let name = |name: &String| if name.is_empty() { "-".to_owned() } else { name.clone() };
        self.names.iter().map(name).chain(self.networks.iter().map(IpNet::to_string)).collect()
    }

    /// Their names as values of a column in which NULL is the empty text.
    pub(super) fn sought(&self) -> Sought {
        Sought::values(self.names.iter().map(|name| Value::from(name.as_str())))
    }

    /// The same where they are few and the index of the column finds each.
    pub(super) fn few(&self) -> Option<Sought> {
        let are_few = (1..=MOST_LED).contains(&self.names.len()) && !self.names.iter().any(String::is_empty);
        are_few.then(|| self.sought())
    }
}

/// Parties that are read each by the index.
const MOST_LED: usize = 20;

impl Store {
    /// The same filter with the names of what is within its networks, in these columns; `None` where nothing is.
    pub(super) async fn named(
        &self,
        filter: &PartyFilter,
        columns: &[&'static str],
    ) -> Result<Option<PartyFilter>, StoreError> {
        if filter.is_named() {
            return Ok(Some(filter.clone()));
        }
        let mut names = filter.names.clone();
        let networks: Addresses = filter.networks.iter().copied().collect();
        for column in columns {
            let found = self.read("detected_alerts", names_of(column), |row| Ok(row.text("party")?)).await?;
            if found.len() as u64 > MOST_NAMES {
                return Err(StoreError::TooMuch { table: "detected_alerts", most: MOST_NAMES });
            }
            names.extend(found.into_iter().filter(|name| is_within(name, &networks)));
        }
        names.sort_unstable();
        names.dedup();
        if names.len() > MOST_FOUND {
            return Err(StoreError::TooMuch { table: "detected_alerts", most: MOST_FOUND as u64 });
        }
        Ok((!names.is_empty()).then_some(PartyFilter { names, networks: Vec::new() }))
    }
}

/// Each name of a column once, from one to the next by its index.
fn names_of(column: &str) -> Query {
    let least = |from: &str| format!("(SELECT min({column}) FROM detected_alerts WHERE {column} > {from})");
    Query::new(format!(
        "WITH RECURSIVE names (party) AS (SELECT {} UNION ALL SELECT {} FROM names WHERE party IS NOT NULL) \
         SELECT party FROM names WHERE party IS NOT NULL LIMIT $1",
        least("''"),
        least("names.party")
    ))
    .bind(i64::try_from(MOST_NAMES).unwrap_or(i64::MAX).saturating_add(1))
}

fn is_within(name: &str, networks: &Addresses) -> bool {
    network(name).is_ok_and(|network| networks.contain([network.network(), network.broadcast()]))
}
