//! The captures in the JSON document of a replay.

use serde::Serialize;

use crate::replay::{FileSummary, Selected};
use nta_capture::End;

/// A capture, and what it says about itself.
#[derive(Serialize)]
pub(super) struct CaptureJson<'a> {
    path: &'a str,
    format: &'a str,
    packets: u64,
    /// Of them those whose length on the wire is damaged: more than 1 GiB, as which they count.
    lengths_clamped: u64,
    /// `complete`, `cut_off`, `corrupt`, or `stopped` where the analysis was stopped before it.
    end: &'static str,
    /// Its size; null of a pipe.
    file_bytes: Option<u64>,
    /// Its SHA-256; null of a pipe, and of large captures without `--hash`.
    sha256: Option<&'a str>,
    /// Interfaces of a pcapng capture, the one of another.
    interfaces: Vec<InterfaceJson<'a>>,
    /// What made it.
    application: Option<&'a str>,
    system: Option<&'a str>,
    hardware: Option<&'a str>,
    comment: Option<&'a str>,
    /// Packets that were dropped while it was made, by its own statistics.
    dropped: Option<u64>,
    /// What is wrong with the end, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

#[derive(Serialize)]
struct InterfaceJson<'a> {
    name: Option<&'a str>,
    link_type: u32,
    link: String,
    /// The most bytes of a packet that were captured; null for no limit.
    snap_length: Option<u32>,
    /// Digits behind the second; null where the clock counts in powers of two.
    time_digits: Option<u8>,
}

/// The shape of one.
pub(super) fn capture(file: &FileSummary) -> CaptureJson<'_> {
    let (state, detail) = end(&file.end);
    let about = &file.about;
    CaptureJson {
        path: &file.name,
        format: &file.format,
        packets: file.frames,
        lengths_clamped: file.lengths_clamped,
        end: state,
        file_bytes: file.bytes,
        sha256: file.sha256.as_deref(),
        interfaces: about.interfaces.iter().map(interface).collect(),
        application: about.application.as_deref(),
        system: about.system.as_deref(),
        hardware: about.hardware.as_deref(),
        comment: about.comment.as_deref(),
        dropped: about.dropped,
        detail,
    }
}

fn interface(interface: &nta_capture::Interface) -> InterfaceJson<'_> {
    InterfaceJson {
        name: interface.name.as_deref(),
        link_type: interface.link_type.number(),
        link: interface.link_type.to_string(),
        snap_length: interface.snap_length,
        time_digits: interface.digits,
    }
}

/// How it ended, and what is wrong with that.
pub(super) fn end(end: &End) -> (&'static str, Option<String>) {
    match end {
        End::Complete => ("complete", None),
        End::Stopped => ("stopped", Some("the analysis was stopped before the end".to_owned())),
        End::CutOff { at_byte, detail } => ("cut_off", Some(format!("at byte {at_byte}: {detail}"))),
        End::Corrupt { at_byte, detail } => ("corrupt", Some(format!("at byte {at_byte}: {detail}"))),
    }
}

/// What was selected of the captures.
#[derive(Serialize)]
pub(super) struct SelectionJson<'a> {
    filter: Option<&'a str>,
    /// The first instant.
    from: Option<String>,
    /// The first instant behind it.
    to: Option<String>,
    /// Packets that the filter did not take.
    filtered: u64,
    /// Packets that it took, and which were not within the time.
    outside: u64,
}

/// The shape of a selection.
pub(super) fn selection(selected: &Selected) -> SelectionJson<'_> {
    let Selected { filter, from, to, filtered, outside } = selected;
    let [from, to] = [from, to].map(|time| time.map(|time| time.to_string()));
    SelectionJson { filter: filter.as_deref(), from, to, filtered: *filtered, outside: *outside }
}
