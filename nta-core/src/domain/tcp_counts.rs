//! Counts of TCP events.

use nta_common::tcp::TcpDirection;

/// TCP events of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// SYN without ACK, retries included.
    pub syn: u32,
    /// SYN-ACK, retries included.
    pub syn_ack: u32,
    /// SYN or SYN-ACK sent again.
    pub syn_retry: u32,
    /// FIN.
    pub fin: u32,
    /// RST.
    pub rst: u32,
    /// Segments sent again.
    pub retransmissions: u32,
    /// Segments that arrived late.
    pub out_of_order: u32,
    /// Duplicate ACKs sent.
    pub dup_acks: u32,
    /// Segments that announced a window of 0.
    pub zero_windows: u32,
}

impl std::ops::AddAssign for TcpCounts {
    fn add_assign(&mut self, other: Self) {
        self.syn += other.syn;
        self.syn_ack += other.syn_ack;
        self.syn_retry += other.syn_retry;
        self.fin += other.fin;
        self.rst += other.rst;
        self.retransmissions += other.retransmissions;
        self.out_of_order += other.out_of_order;
        self.dup_acks += other.dup_acks;
        self.zero_windows += other.zero_windows;
    }
}

impl TcpCounts {
    /// What a direction's counters are.
    pub const fn of(side: &TcpDirection) -> Self {
        Self {
            syn: side.syn,
            syn_ack: side.syn_ack,
            syn_retry: side.syn_retry,
            fin: side.fin,
            rst: side.rst,
            retransmissions: side.retransmissions,
            out_of_order: side.out_of_order,
            dup_acks: side.dup_acks,
            zero_windows: side.zero_windows,
        }
    }

    /// What happened since an earlier reading.
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            syn: self.syn.wrapping_sub(earlier.syn),
            syn_ack: self.syn_ack.wrapping_sub(earlier.syn_ack),
            syn_retry: self.syn_retry.wrapping_sub(earlier.syn_retry),
            fin: self.fin.wrapping_sub(earlier.fin),
            rst: self.rst.wrapping_sub(earlier.rst),
            retransmissions: self.retransmissions.wrapping_sub(earlier.retransmissions),
            out_of_order: self.out_of_order.wrapping_sub(earlier.out_of_order),
            dup_acks: self.dup_acks.wrapping_sub(earlier.dup_acks),
            zero_windows: self.zero_windows.wrapping_sub(earlier.zero_windows),
        }
    }
}
