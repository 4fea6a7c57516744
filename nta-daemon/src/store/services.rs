//! The table `services`: what each service had of the traffic, in steps of five minutes, kept as flows grow.
//!
//! What grew counts in the step of the flow's last packet, under the name that the flow had then. There are no more names than the table of
//! registered ports, what content is recognised, and protocols: a scan of all ports makes no more rows than one of none.

use std::collections::BTreeMap;

use super::db::{Conn, Dialect, Query, Row, Value};
use super::sums::{are_natural, sum};
use super::unreadable::Unreadable;
use super::{Range, Store, StoreError, Whose, to_sql};
use nta_core::domain::Timestamp;

/// Length of a step in nanoseconds.
const SERVICE_STEP_NS: u64 = 300_000_000_000;
const TABLE: &str = "services";
/// Names that an answer has at most; there are some hundred.
const MOST_NAMES: i64 = 1000;

/// A service in a step: the begin of the step, the name, and the protocol where there is no name.
pub(super) type Key = (i64, &'static str, u8);
/// What grew of each: flows, packets, bytes.
pub(super) type Growth = BTreeMap<Key, [i64; 3]>;

/// What grows of a flow whose last packet came at this time.
pub(super) fn key(last_ns: i64, name: Option<&'static str>, proto: u8) -> Key {
    let start_ns = last_ns - last_ns.rem_euclid(to_sql(SERVICE_STEP_NS));
    name.map_or((start_ns, "", proto), |name| (start_ns, name, 0))
}

/// Adds what grew, as this sensor saw it.
pub(super) async fn add(conn: &mut Conn, sensor: &str, grown: &Growth) -> Result<(), StoreError> {
    if grown.is_empty() {
        return Ok(());
    }
    let error = StoreError::query(TABLE);
    let rows = |of: &dyn Fn(&[i64; 3]) -> [i64; 3]| -> Vec<Vec<Value>> {
        let row = |(&(start_ns, name, proto), grew): (&Key, &[i64; 3])| {
            let mut row: Vec<Value> = vec![sensor.into(), start_ns.into(), name.into(), i64::from(proto).into()];
            row.extend(of(grew).map(Value::from));
            row
        };
        grown.iter().map(row).collect()
    };
    // An upsert would take a number of the sequence for each row that is there already, and retention goes by these.
    let columns = "sensor, start_ns, name, proto, flows, packets, bytes";
    let new = rows(&|_| [0; 3]);
    for chunk in new.chunks(conn.chunk_rows()) {
        let mut insert = Query::new(String::new());
        insert.push(format_args!("INSERT INTO services ({columns}) SELECT * FROM ("));
        insert.push_table(conn, chunk.iter().cloned());
        insert.push(
            ") AS made WHERE NOT EXISTS (SELECT 1 FROM services s WHERE s.sensor = column1 AND s.start_ns = column2 \
             AND s.name = column3 AND s.proto = column4)",
        );
        conn.execute(insert).await.map_err(&error)?;
    }
    let grew = rows(&|grew| *grew);
    for chunk in grew.chunks(conn.chunk_rows()) {
        let [flows, packets, bytes] = ["flows", "packets", "bytes"].map(sound);
        let mut update = Query::new(format!(
            "UPDATE services SET flows = {flows} + column5, packets = {packets} + column6, bytes = {bytes} + column7 FROM ("
        ));
        update.push_table(conn, chunk.iter().cloned());
        update.push(") AS grew WHERE sensor = column1 AND start_ns = column2 AND name = column3 AND proto = column4");
        conn.execute(update).await.map_err(&error)?;
    }
    Ok(())
}

/// A sum that can be added to: one that is no number, or can be none, counts from 0 again.
fn sound(column: &str) -> String {
    format!("CASE WHEN {column} BETWEEN 0 AND 4611686018427387904 THEN {column} ELSE 0 END")
}

/// What a service had of the traffic of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Its name; empty where nothing names it.
    pub name: String,
    /// Number of the protocol where there is no name, else 0.
    pub proto: u8,
    /// Flows that began.
    pub flows: i64,
    /// Packets of both directions.
    pub packets: i64,
    /// Frame bytes of both directions.
    pub bytes: i64,
}

impl Store {
    /// What services had of the traffic, those with the most bytes first: in the steps of five minutes that a time touches.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn services(&self, range: Range, whose: &Whose) -> Result<Vec<ServiceTotals>, StoreError> {
        self.read(TABLE, services_of(self.database.dialect(), range, whose), read).await
    }
}

fn services_of(dialect: Dialect, range: Range, whose: &Whose) -> Query {
    let numbers = ["flows", "packets", "bytes"];
    let [flows, packets, bytes] = numbers.map(|column| sum(dialect, column));
    let mut query = Query::new(format!(
        "SELECT name, CAST(proto AS BIGINT) AS proto, {flows} AS flows, {packets} AS packets, {bytes} AS bytes FROM services \
         WHERE {}",
        are_natural(dialect, &numbers)
    ));
    // The index begins with the sensor.
    whose.named("sensor").iter().for_each(|named| named.push(&mut query));
    if let Some(from) = range.from {
        query.push(" AND start_ns >= ").push_bind(to_sql(from.floor(SERVICE_STEP_NS).as_nanos()));
    }
    if let Some(to) = range.to {
        query.push(" AND start_ns < ").push_bind(to_sql(to.as_nanos()));
    }
    query.push(" GROUP BY name, proto ORDER BY 5 DESC, name, proto LIMIT ").push_bind(MOST_NAMES);
    query
}

fn read(row: &Row) -> Result<ServiceTotals, Unreadable> {
    Ok(ServiceTotals {
        name: row.text("name")?,
        proto: row.small("proto")?,
        flows: row.natural("flows")?,
        packets: row.natural("packets")?,
        bytes: row.natural("bytes")?,
    })
}

/// The steps that a time touches: from the begin of the first to the end of the last.
pub fn service_steps(range: Range) -> Range {
    let last = |to: Timestamp| match to.as_nanos() % SERVICE_STEP_NS {
        0 => to,
        _ => to.floor(SERVICE_STEP_NS).plus(SERVICE_STEP_NS),
    };
    Range { from: range.from.map(|from| from.floor(SERVICE_STEP_NS)), to: range.to.map(last) }
}
