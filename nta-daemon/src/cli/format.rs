//! What `replay` can print.

use clap::ValueEnum;

/// Formats of `replay`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A summary to read.
    Text,
    /// One JSON document.
    Json,
    /// One JSON object a line: flows as they end, windows as they close, a summary.
    Jsonl,
    /// Zeek's conn.log: connections as they end.
    Zeek,
    /// Comma-separated values: flows as they end; with --output windows and alerts too, a file each.
    Csv,
    /// Suricata's EVE JSON: flows, DNS messages, statistics and alerts, an event a line.
    Eve,
    /// IPFIX (RFC 7011) as a file of messages: flows as they end. Binary.
    Ipfix,
}

impl Format {
    /// Whether it is a log for another program, which has no place for a summary.
    pub(super) const fn is_of_files(self) -> bool {
        matches!(self, Self::Zeek | Self::Csv | Self::Eve | Self::Ipfix)
    }
}

/// When the text has a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Plot {
    /// In a terminal.
    Auto,
    /// Wherever it goes.
    Always,
    /// Nowhere.
    Never,
}
