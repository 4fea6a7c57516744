//! The parties of alerts that a list is asked for, and whom an alert concerns. An alert names a host, a network, a MAC address or many. It
//! concerns a host that it names, the network around which it names, or that is among its hosts beside these (`alert_hosts`). A network that
//! is asked for finds the hosts and networks within it: their names are looked up first, by the index of the column.

use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{Addresses, Sought};
use super::concerned::Side;
use super::db::{Query, Value};
use super::list::Condition;
use super::{Store, StoreError};
use nta_core::detect::network;
use nta_core::domain::{Party, around};

/// Names of a column that are looked through for those within a network.
const MOST_NAMES: u64 = 20_000;
/// Names within the networks of one filter.
const MOST_FOUND: usize = 1000;

/// Parties of which an alert is to have one; all where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartyFilter {
    /// As alerts write them; nobody in particular is the empty text.
    names: Vec<String>,
    /// Networks.
    networks: Vec<IpNet>,
    /// Names of what is within these, once they were looked up.
    found: Option<Vec<String>>,
}

impl From<IpAddr> for PartyFilter {
    fn from(host: IpAddr) -> Self {
        Self { names: vec![host.to_canonical().to_string()], ..Self::default() }
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
        Self { names, networks, found: None }
    }

    /// Whether no networks are to be looked up any more.
    pub(super) const fn is_named(&self) -> bool {
        self.networks.is_empty() || self.found.is_some()
    }

    /// As who asks writes them.
    pub fn shown(&self) -> Vec<String> {
        let name = |name: &String| if name.is_empty() { "-".to_owned() } else { name.clone() };
        self.names.iter().map(name).chain(self.networks.iter().map(IpNet::to_string)).collect()
    }

    /// Their names as values of a column in which NULL is the empty text: with a host the network around it.
    fn sought(&self) -> Sought {
        let around = |host: IpAddr| {
            let (network, prefix) = around(host);
            Party::Network(network, prefix).to_string()
        };
        let mut names: Vec<String> = self.hosts().map(around).collect();
        names.extend(self.names.iter().chain(self.found.iter().flatten()).cloned());
        names.sort_unstable();
        names.dedup();
        Sought::values(names.into_iter().map(Value::from))
    }

    /// The same where they are few and the index of the column finds each.
    pub(super) fn few(&self) -> Option<Sought> {
        let are_few = (1..=MOST_LED).contains(&self.names.len()) && !self.names.iter().any(String::is_empty);
        (are_few && self.networks.is_empty()).then(|| self.sought())
    }

    /// That an alert concerns one of them, by these columns and on this side; `None` where any will do. No index is used for it.
    pub(super) fn condition(&self, columns: &[&str], side: Option<Side>) -> Option<Condition> {
        let hosts = self.addresses().map(|hosts| {
            hosts
                .within(&format!("EXISTS (SELECT 1 FROM alert_hosts h WHERE h.alert = number{} AND (", of(side)))
                .closed()
        });
        let all: Vec<Condition> = self.sought().in_one_of(columns).into_iter().chain(hosts).collect();
        (!all.is_empty()).then(|| Condition::any(all.into_iter()))
    }

    /// That one of the hosts is among those of an alert beside its parties, by the index; `None` where there is none.
    pub(super) fn beside(&self, side: Option<Side>) -> Option<Condition> {
        let hosts = self.addresses()?;
        Some(
            hosts
                .within(&format!("number IN (SELECT h.alert FROM alert_hosts h WHERE 1 = 1{} AND (", of(side)))
                .closed(),
        )
    }

    /// The hosts among them.
    fn hosts(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.names.iter().filter_map(|name| name.parse().ok())
    }

    fn addresses(&self) -> Option<Condition> {
        let hosts: Addresses = self.hosts().map(IpNet::from).chain(self.networks.iter().copied()).collect();
        hosts.sought().in_one_of(&["h.host"])
    }
}

fn of(side: Option<Side>) -> String {
    side.map(|side| format!(" AND h.side = {}", side as u8)).unwrap_or_default()
}

/// Parties that are read each by the index.
const MOST_LED: usize = 20;

impl Store {
    /// The same filter with the names of what is within its networks, in these columns.
    pub(super) async fn named(
        &self,
        filter: &PartyFilter,
        columns: &[&'static str],
    ) -> Result<PartyFilter, StoreError> {
        if filter.is_named() {
            return Ok(filter.clone());
        }
        let mut names = Vec::new();
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
        if names.len() + filter.names.len() > MOST_FOUND {
            return Err(StoreError::TooMuch { table: "detected_alerts", most: MOST_FOUND as u64 });
        }
        Ok(PartyFilter { found: Some(names), ..filter.clone() })
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
