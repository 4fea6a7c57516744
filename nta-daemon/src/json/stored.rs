//! Back from JSON: a window that was stored, to be judged or joined again.

use nta_common::tcp::RTT_BUCKETS;

use super::{TalkerJson, WindowJson, protocol_number};
use nta_core::domain::{EventCounts, TcpCounts, Timestamp};
use nta_core::window::{Measured, NotWhole, Overflow, Protocol, Rtt, Talker, Window};

impl WindowJson {
    /// The window that this is the JSON of. Times and the histogram of round trips come from elsewhere: the document has
    /// the ones rounded and not the other.
    pub fn to_window(&self, start: Timestamp, end: Timestamp, histogram: Option<[u32; RTT_BUCKETS]>) -> Window {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let sum_us = self.rtt.mean_ms.unwrap_or_default() * self.rtt.samples as f64 * 1000.0;
        let overflow = |json: &super::OverflowJson| Overflow {
            destination: json.destination.as_deref().and_then(|address| address.parse().ok()),
            port: json.port,
            proto: protocol_number(&json.protocol).unwrap_or_default(),
            syn: json.syn,
            packets: json.packets,
            bytes: json.bytes,
        };
        Window {
            id: self.id,
            start,
            end,
            packets: self.packets,
            bytes: self.bytes,
            ip_bytes: self.ip_bytes,
            flows: self.flows,
            new_flows: self.new_flows,
            tcp: TcpCounts {
                syn: small(self.syn),
                syn_ack: small(self.syn_ack),
                syn_retry: small(self.syn_retries),
                fin: small(self.fin),
                rst: small(self.rst),
                retransmissions: small(self.retransmissions),
                out_of_order: small(self.out_of_order),
                dup_acks: small(self.duplicate_acks),
                zero_windows: small(self.zero_windows),
            },
            tcp_packets: self.tcp_packets,
            rtt_samples: self.rtt.samples,
            rtt: Rtt {
                count: self.rtt.samples,
                sum_us: sum_us.round() as u64,
                histogram: histogram.unwrap_or([0; RTT_BUCKETS]),
            },
            rtt_mean_ms: self.rtt.mean_ms,
            rtt_quantiles_ms: [self.rtt.p50_ms, self.rtt.p95_ms, self.rtt.p99_ms],
            rtt_max_ms: self.rtt.max_ms,
            protocols: self
                .protocols
                .iter()
                .map(|json| Protocol {
                    number: json.number,
                    packets: json.packets,
                    bytes: json.bytes,
                    flows: json.flows,
                })
                .collect(),
            top_talkers: self.top_talkers.iter().map(talker).collect(),
            others: self.others.as_ref().map(talker),
            overflow: self.overflow.iter().map(overflow).collect(),
            overflow_others: self.overflow_others.as_ref().map(overflow),
            late_packets: self.late_packets,
            events: EventCounts::from(&self.events),
            ledger: self.ledger.0,
            measured: self.measured(),
        }
    }

    fn measured(&self) -> Measured {
        let ns = |seconds: f64| (seconds * 1e9).round() as u64;
        Measured {
            span_ns: 0,
            length_ns: ns(self.span_s),
            not_whole: self.not_whole.as_deref().and_then(NotWhole::named),
            silence_ns: ns(self.silence_s),
            gap_ns: ns(self.gap_s),
            wall_ahead_ns: (self.wall_ahead_s * 1e9).round() as i64,
            clock_step_ns: (self.clock_step_s * 1e9).round() as i64,
            folded: self.folded,
        }
    }
}

fn talker(json: &TalkerJson) -> Talker {
    Talker {
        address: json.address.as_deref().and_then(|address| address.parse().ok()),
        packets_sent: json.packets_sent,
        packets_received: json.packets_received,
        bytes_sent: json.bytes_sent,
        bytes_received: json.bytes_received,
        flows: json.flows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_survives_the_way_to_json_and_back() {
        let mut histogram = [0; RTT_BUCKETS];
        histogram[3] = 2;
        let window = Window {
            id: 3,
            start: Timestamp::from_nanos(5),
            end: Timestamp::from_nanos(10),
            packets: 9,
            tcp: TcpCounts { syn: 4, retransmissions: 2, ..TcpCounts::default() },
            tcp_packets: 8,
            rtt_samples: 2,
            rtt: Rtt { count: 2, sum_us: 1500, histogram },
            rtt_mean_ms: Some(0.75),
            rtt_quantiles_ms: [Some(0.7), Some(0.9), Some(1.0)],
            rtt_max_ms: Some(1.0),
            protocols: vec![Protocol { number: 6, packets: 8, bytes: 800, flows: 1 }],
            top_talkers: vec![Talker { address: Some([10, 0, 0, 1].into()), bytes_sent: 8, ..Talker::default() }],
            overflow: vec![Overflow {
                destination: Some([10, 0, 0, 2].into()),
                proto: 17,
                packets: 1,
                ..Overflow::default()
            }],
            measured: Measured {
                length_ns: 5,
                not_whole: Some(NotWhole::RunEnded),
                silence_ns: 7,
                ..Measured::default()
            },
            ..Window::default()
        };
        let back = WindowJson::from(&window).to_window(window.start, window.end, Some(histogram));
        assert_eq!(back, window);
    }
}
