//! LINKTYPE_IEEE802_11 and LINKTYPE_IEEE802_11_RADIOTAP: where the LLC header of a data frame is (IEEE 802.11-2020 section
//! 9.3.2.1, <https://www.radiotap.org>).

/// Bytes before the frame body without a fourth address, quality of service and high throughput.
const HEADER_LEN: usize = 24;
const ADDRESS_LEN: usize = 6;
const QOS_LEN: usize = 2;
const HT_LEN: usize = 4;

/// First byte: type and version of a data frame, and the subtype's bits for "no data" and "quality of service".
const TYPE: u8 = 0x0f;
const DATA: u8 = 0x08;
const NO_DATA: u8 = 0x40;
const QOS: u8 = 0x80;

/// Second byte.
const TO_DS: u8 = 0x01;
const FROM_DS: u8 = 0x02;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;

/// In the quality of service field: the body holds several frames.
const AGGREGATED: u8 = 0x80;

/// Bytes of the header that the capturing driver puts before a frame.
pub(super) fn radiotap_len(packet: &[u8]) -> Option<usize> {
    let [version, _, low, high] = *packet.first_chunk()?;
    (version == 0).then(|| usize::from(u16::from_le_bytes([low, high])))
}

/// Length of a data frame's header and who sent the data; `None` for frames without readable data of their own:
/// management, control, encrypted, aggregated, cut off.
pub(super) fn header(frame: &[u8]) -> Option<(usize, [u8; 6])> {
    let [kind, flags] = *frame.first_chunk()?;
    if kind & TYPE != DATA || kind & NO_DATA != 0 || flags & PROTECTED != 0 {
        return None;
    }
    let relayed = flags & (TO_DS | FROM_DS) == TO_DS | FROM_DS;
    let mut len = HEADER_LEN + if relayed { ADDRESS_LEN } else { 0 };
    if kind & QOS != 0 {
        if frame.get(len)? & AGGREGATED != 0 {
            return None;
        }
        len += QOS_LEN + if flags & ORDER != 0 { HT_LEN } else { 0 };
    }
    let source = match flags & (TO_DS | FROM_DS) {
        0 | TO_DS => 10,
        FROM_DS => 16,
        _ => HEADER_LEN,
    };
    Some((len, *frame.get(source..)?.first_chunk()?))
}
