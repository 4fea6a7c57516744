//! What `tests/fuzz` feeds with arbitrary bytes and is nobody else's: compiled for that alone, by `--cfg fuzzing`.

use nta_core::domain::Timestamp;

use super::body::{AlertBody, AnomalyBody, WindowBody};
use super::rows::BatchRows;
use super::{Shipment, shipment, spool};

/// The document of a row: of a window, of a window with histograms of before, of an alert, of an anomaly. What is read can be written, and that
/// is read again.
pub fn row(kind: u8, text: &str) {
    match kind {
        b'w' => {
            let Ok(body) = WindowBody::read(1, text) else { return };
            let written = serde_json::to_string(&body).expect("it was read");
            WindowBody::read(1, &written).expect("it was written");
            assert!(WindowBody::without_near(1, text).is_some());
            let times = [Timestamp::from_nanos(1), Timestamp::from_nanos(2)];
            let window = body.clone().window(1, times, None).expect("there are no histograms of before");
            let _written = WindowBody::from(&window);
        }
        b'h' => {
            let times = [Timestamp::from_nanos(1), Timestamp::from_nanos(2)];
            let _refused = WindowBody::default().window(1, times, Some(text));
        }
        b'a' => again(AlertBody::read(1, text), |text| AlertBody::read(1, text)),
        b'n' => again(AnomalyBody::read(1, text), |text| AnomalyBody::read(1, text)),
        _ => {}
    }
}

fn again<T: serde::Serialize, E: std::fmt::Debug>(read: Result<T, E>, reads: impl Fn(&str) -> Result<T, E>) {
    if let Ok(body) = read {
        reads(&serde_json::to_string(&body).expect("it was read")).expect("it was written");
    }
}

/// A segment of the spool: as it lies on disk, or what its checksum is of. What is read is the same once it is written and read again.
pub fn segment(bytes: &[u8], is_payload: bool) {
    let sealed = if is_payload { spool::sealed(bytes) } else { bytes.to_vec() };
    let Some(rows) = spool::decode(&sealed) else { return };
    let written = postcard::to_stdvec(&rows).expect("it was read");
    let again: BatchRows = spool::decode(&spool::sealed(&written)).expect("it was written");
    assert_eq!(postcard::to_stdvec(&again).expect("it was read"), written);
}

/// What a sensor ships: as it comes over the wire, or what is compressed in it. What is taken is the same when it is sent on.
pub fn shipment(bytes: &[u8], is_plain: bool) {
    let sealed = if is_plain { shipment::sealed(bytes) } else { bytes.to_vec() };
    let Ok(shipment) = Shipment::decode(&sealed) else { return };
    let (_range, _bytes) = (shipment.range(), shipment.bytes());
    let sent = shipment.encode().expect("it was taken");
    let again = Shipment::decode(&sent).expect("it was sent");
    assert_eq!(again.encode().expect("it was taken"), sent);
}
