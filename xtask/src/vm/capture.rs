//! A small capture of our own for the parity check: a TCP connection, VLAN, UDP over IPv6, ARP, and frames cut short.

/// A pcap file with Ethernet frames, a millisecond apart.
pub(super) fn pcap() -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65535_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (number, frame) in frames().iter().enumerate() {
        file.extend(START_S.to_le_bytes());
        file.extend((number as u32 * 1000).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend(frame);
    }
    file
}

const START_S: u32 = 1_700_000_000;
const IPV4: u16 = 0x0800;
const SYN: u8 = 2;
const ACK: u8 = 16;
const FIN: u8 = 1;

fn frames() -> Vec<Vec<u8>> {
    let there = |flags, seq, ack, len| ethernet(&[], IPV4, &ipv4(6, [1, 2], &tcp(40_000, 80, seq, ack, flags, len)));
    let back = |flags, seq, ack, len| ethernet(&[], IPV4, &ipv4(6, [2, 1], &tcp(80, 40_000, seq, ack, flags, len)));
    let tagged = ethernet(&[0x81, 0, 0, 7], IPV4, &ipv4(17, [3, 4], &udp(5353, 53, 31)));
    let whole = there(ACK, 1, 1, 200);
    vec![
        there(SYN, 0, 0, 0),
        back(SYN | ACK, 0, 1, 0),
        there(ACK, 1, 1, 0),
        there(ACK, 1, 1, 120),
        back(ACK, 1, 121, 900),
        there(ACK, 1, 901, 120), // sent again
        back(ACK, 901, 121, 900),
        there(FIN | ACK, 121, 1801, 0),
        back(FIN | ACK, 1801, 122, 0),
        there(ACK, 122, 1802, 0),
        tagged,
        ethernet(&[], 0x86dd, &ipv6(17, &udp(546, 547, 64))),
        ethernet(&[], IPV4, &ipv4(1, [1, 2], &[8, 0, 0, 0, 0, 1, 0, 1])),
        ethernet(&[], 0x0806, &[0; 28]),
        ethernet(&[], 0x88cc, &[0; 40]),
        whole[..30].to_vec(),
        whole[..13].to_vec(),
    ]
}

fn ethernet(tags: &[u8], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(tags);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4(protocol: u8, [source, destination]: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    packet.extend([10, 0, 0, source, 10, 0, 0, destination]);
    packet.extend(payload);
    packet
}

fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, high, low, protocol, 64];
    for last in [1, 2] {
        packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(payload);
    packet
}

fn tcp(from: u16, to: u16, seq: u32, ack: u32, flags: u8, len: usize) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    segment.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    segment.resize(20 + len, b'x');
    segment
}

fn udp(from: u16, to: u16, len: usize) -> Vec<u8> {
    let length = (8 + len) as u16;
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    datagram.resize(8 + len, b'y');
    datagram
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_records_fill_the_file() {
        let file = super::pcap();
        let (mut at, mut records) = (24, 0);
        while at < file.len() {
            let length = u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap());
            at += 16 + length as usize;
            records += 1;
        }
        assert_eq!((at, records), (file.len(), super::frames().len()));
    }
}
