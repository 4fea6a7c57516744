//! Counts of TCP events.

use nta_common::tcp::TcpDirection;

use super::counts::counts;

counts! {
    /// TCP events of one direction.
    TcpCounts of u32 {
        /// SYN without ACK, retries included.
        syn,
        /// SYN-ACK, retries included.
        syn_ack,
        /// SYN or SYN-ACK sent again.
        syn_retry,
        /// FIN.
        fin,
        /// RST.
        rst,
        /// Segments sent again.
        retransmissions,
        /// Segments that arrived late.
        out_of_order,
        /// Duplicate ACKs sent.
        dup_acks,
        /// Segments that announced a window of 0.
        zero_windows,
        /// Segments that passed twice, as mirror ports deliver them; of these the second counts as nothing else.
        duplicates,
    }
}

impl TcpCounts {
    /// What a direction's counters are.
    pub const fn of(side: &TcpDirection) -> Self {
        let &TcpDirection {
            syn,
            syn_ack,
            syn_retry,
            fin,
            rst,
            retransmissions,
            out_of_order,
            dup_acks,
            zero_windows,
            duplicates,
            ..
        } = side;
        Self { syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows, duplicates }
    }

    /// What happened since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        self.zip(earlier, u32::wrapping_sub)
    }

    /// What is left of the events of so many connections that are alike, without those of one.
    #[must_use]
    pub fn without_one_of(&self, alike: u32) -> Self {
        self.zip(self, |all, _| all - all / alike.max(1))
    }
}
