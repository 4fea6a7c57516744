//! The table `alert_hosts`: whom an alert concerns beside its parties. Those who had a share in it, and the many whom `*` stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::StoreError;
use super::db::{Conn, Query, Value};
use super::rows::{AlertRow, address};
use super::unreadable::usable;
use nta_core::domain::{Alert, Party};

/// Hosts kept of an alert: those with a share first, then the lowest addresses. An alert is not found by more of them.
const MOST: usize = 1024;

/// Which side of an alert a host is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// It is not known.
    Either = 0,
    /// It does it.
    Source = 1,
    /// It suffers it.
    Destination = 2,
}

/// Whom an alert concerns beside its parties: address and side.
pub(super) fn concerned(alert: &Alert) -> Vec<([u8; 16], u8)> {
    let parties = [alert.key.source, alert.key.destination];
    // Who had a share belongs to the side that is many.
    let side = match parties {
        [Party::Many, Party::Many] => Side::Either,
        [Party::Many, _] => Side::Source,
        [_, Party::Many] => Side::Destination,
        _ => Side::Either,
    };
    let findings = [&alert.finding, &alert.latest];
    let shares = findings.into_iter().flat_map(|finding| &finding.contributors);
    let shares = shares.filter_map(|share| share.what.split_whitespace().next()?.parse::<IpAddr>().ok());
    let crowds = findings.into_iter().filter_map(|finding| finding.crowd.as_ref()).flat_map(|crowd| {
        let of = |hosts: &[IpAddr], side| hosts.iter().map(move |host| (*host, side)).collect::<Vec<_>>();
        [of(crowd.sources(), Side::Source), of(crowd.destinations(), Side::Destination)].concat()
    });
    let mut known = BTreeSet::new();
    let all = shares.map(|host| (host, side)).chain(crowds);
    all.filter(|(host, _)| !parties.iter().any(|party| party.host() == Some(*host)))
        .map(|(host, side)| (address(host), side as u8))
        .filter(|row| known.insert(*row))
        .take(MOST)
        .collect()
}

/// Adds them to what is stored of these alerts of a run.
pub(super) async fn insert(conn: &mut Conn, run: i64, alerts: &[&AlertRow]) -> Result<(), StoreError> {
    let wide: BTreeMap<&str, &AlertRow> =
        alerts.iter().filter(|alert| !alert.hosts.is_empty()).map(|alert| (alert.id.as_str(), *alert)).collect();
    if wide.is_empty() {
        return Ok(());
    }
    let mut query = Query::new("SELECT number, raised_ns, id FROM detected_alerts WHERE id IN (");
    query.push_table(conn, wide.keys().map(|id| vec![(*id).into()]));
    query.push(") AND run_id = ").push_bind(run);
    query.plan_anew(conn);
    let rows = conn.fetch_all(query).await.map_err(StoreError::query("detected_alerts"))?;
    let read = |row: &super::Row| Ok((row.int("number")?, row.int("raised_ns")?, row.text("id")?));
    for (number, raised_ns, id) in usable("detected_alerts", rows.iter().map(read)) {
        let Some(alert) = wide.get(id.as_str()) else { continue };
        for hosts in alert.hosts.chunks(conn.chunk_rows()) {
            let mut query = Query::new("INSERT INTO alert_hosts (alert, raised_ns, host, side) ");
            query.push_table(
                conn,
                hosts.iter().map(|(host, side)| {
                    vec![number.into(), raised_ns.into(), Value::from(host.to_vec()), i64::from(*side).into()]
                }),
            );
            query.push(" ON CONFLICT DO NOTHING");
            conn.execute(query).await.map_err(StoreError::query("alert_hosts"))?;
        }
    }
    Ok(())
}
