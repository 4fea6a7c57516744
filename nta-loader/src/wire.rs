//! What daemon and loader say to each other: a request and its answer as JSON behind its length, with descriptors beside it
//! (`SCM_RIGHTS`, unix(7)). Nothing of it is trusted by either side: both bound what they read, and rebuild it.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nta_common::{Counter, LedgerSlot, TunnelPorts};
use nta_core::domain::{Attachment, NicCounts, Readings};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::change::Assigned;
use crate::{Attach, Attached, EventSettings, LeftBehind, Pinned, SourceError, TcxOrder};

/// Bytes of the longest message: a filter of as many instructions as the kernel takes, in decimal.
const MOST_BYTES: u32 = 256 << 10;
/// Descriptors beside one message: every map, and a program.
const MOST_DESCRIPTORS: usize = 16;
/// What a process of another version refuses to answer.
pub const PROTOCOL: u32 = 1;

/// What the daemon asks for. The connection that attaches is the session: what it attached goes on counting when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Watch these interfaces from now on, in the place of those before.
    Attach(Box<AttachRequest>),
    /// End the session. With what was reported of the maps, the programs go on counting for the next one.
    Detach {
        /// What the ledger held, by place, and when the last window ended, by the kernel's clock.
        handover: Option<(Vec<Row>, u64)>,
    },
    /// A packet socket of an interface, with a compiled filter.
    PacketSocket {
        /// The interface.
        interface: String,
        /// The filter's instructions: code, jt, jf, k.
        filter: Vec<(u16, u8, u8, u32)>,
    },
    /// The kernel's table of connections, as it is now.
    Connections,
    /// What is attached.
    Status,
}

/// Which interfaces, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// The daemon's [`PROTOCOL`].
    pub protocol: u32,
    /// Names.
    pub interfaces: Vec<String>,
    /// Which hooks.
    pub mode: Attach,
    /// Where among other programs at TCX.
    pub tcx_order: TcxOrder,
    /// Memory for the flow maps in MiB.
    pub map_memory_mib: u64,
    /// Ports by which tunnels are known (VXLAN, Geneve), where they are opened.
    pub tunnels: Option<[[u16; TunnelPorts::EACH]; 2]>,
    /// Sampling and events.
    pub events: EventSettings,
    /// What a run before committed of the maps.
    pub readings: Option<CommittedReadings>,
}

/// [`Readings`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedReadings {
    maps: String,
    time_ns: u64,
    clock_offset_ns: u64,
    ledger: Vec<Row>,
}

/// A place of the ledger: bytes of overflow, bytes seen, packets by counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(u64, u64, Vec<u64>);

/// What the loader answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Attach`]: what is attached; descriptors by these names are beside it.
    Attached(Box<AttachedAnswer>),
    /// To [`Request::Status`].
    Status(LoaderStatus),
    /// Done; a descriptor may be beside it.
    Done,
    /// Refused.
    Refused(Refusal),
}

/// What is attached now, and what of it is new.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachedAnswer {
    attachments: Vec<AttachmentRow>,
    since_ns: u64,
    slots: Vec<String>,
    pinned: Option<PinnedRow>,
    /// Places in the ledger that another interface has from now on.
    assigned: Vec<(usize, String, Row)>,
    /// Interfaces that cannot be attached; the others are.
    pub refused: Vec<Refusal>,
    /// From when to when an interface that stays was not counted.
    pub uncounted_ns: Option<(u64, u64)>,
    /// Names of the descriptors.
    pub descriptors: Vec<String>,
}

/// Interface, index, hooks of both directions, what is counted, why.
type AttachmentRow = (String, u32, String, String, String, String);

/// [`Pinned`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PinnedRow {
    maps: String,
    path: String,
    base: Vec<Row>,
    handed_over_ns: Option<u64>,
    is_resumed: bool,
    left: Option<LeftRow>,
}

/// [`LeftBehind`]: maps, names, rows, and until when they were reported.
type LeftRow = (String, Vec<String>, Vec<Row>, Option<u64>);

/// How the loader is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderStatus {
    /// Its version.
    pub version: String,
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// Which interfaces it may attach to, as its configuration has them.
    pub allowed: Vec<String>,
    /// The most memory for flow maps in MiB.
    pub max_map_memory_mib: u64,
    /// Below which path it pins.
    pub pin_path: String,
    /// Interfaces that are attached, with their hooks.
    pub attached: Vec<(String, String, String)>,
    /// Whether a daemon has a session.
    pub has_session: bool,
    /// Requests that were answered, and those that were refused.
    pub answered: u64,
    /// Requests that were refused.
    pub refused: u64,
}

/// Why not: what the daemon acts upon apart, everything else as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// [`SourceError::NoInterface`].
    NoInterface(String),
    /// [`SourceError::Watched`].
    Watched(String, String),
    /// [`SourceError::Attach`].
    Attach(String, String, String),
    /// [`SourceError::Permission`].
    Permission(String),
    /// Anything else.
    Other(String),
}

impl From<&SourceError> for Refusal {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::NoInterface(name) => Self::NoInterface(name.clone()),
            SourceError::Watched { interface, by } => Self::Watched(interface.clone(), by.clone()),
            SourceError::Attach { interface, mode, reason } => {
                Self::Attach(interface.clone(), mode.clone(), reason.clone())
            }
            SourceError::Permission { action } => Self::Permission(action.clone()),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<Refusal> for SourceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoInterface(name) => Self::NoInterface(name),
            Refusal::Watched(interface, by) => Self::Watched { interface, by },
            Refusal::Attach(interface, mode, reason) => Self::Attach { interface, mode, reason },
            Refusal::Permission(action) => Self::Permission { action },
            Refusal::Other(text) => Self::Unsupported(text),
        }
    }
}

impl From<&LedgerSlot> for Row {
    fn from(slot: &LedgerSlot) -> Self {
        Self(slot.overflow_bytes, slot.seen_bytes, slot.packets.to_vec())
    }
}

impl From<&Row> for LedgerSlot {
    /// Counters that this version does not know are left out; those that the other does not know are 0.
    fn from(Row(overflow_bytes, seen_bytes, packets): &Row) -> Self {
        let mut slot = Self { overflow_bytes: *overflow_bytes, seen_bytes: *seen_bytes, packets: [0; Counter::COUNT] };
        slot.packets.iter_mut().zip(packets).for_each(|(place, count)| *place = *count);
        slot
    }
}

/// A ledger's rows, as they are sent.
pub fn rows(slots: &[LedgerSlot]) -> Vec<Row> {
    slots.iter().map(Row::from).collect()
}

impl From<&Readings> for CommittedReadings {
    fn from(readings: &Readings) -> Self {
        let Readings { maps, time_ns, clock_offset_ns, ledger } = readings;
        Self { maps: maps.clone(), time_ns: *time_ns, clock_offset_ns: *clock_offset_ns, ledger: rows(ledger) }
    }
}

impl From<&CommittedReadings> for Readings {
    fn from(sent: &CommittedReadings) -> Self {
        let CommittedReadings { maps, time_ns, clock_offset_ns, ledger } = sent;
        let ledger = ledger.iter().map(LedgerSlot::from).collect();
        Self { maps: maps.clone(), time_ns: *time_ns, clock_offset_ns: *clock_offset_ns, ledger }
    }
}

impl AttachedAnswer {
    /// What is attached, and of a change what came of it.
    pub fn of(attached: &Attached, change: Option<crate::Change>, descriptors: Vec<String>) -> Self {
        let change = change.unwrap_or_default();
        let row = |a: &Attachment| {
            let (hooks, why) = ((a.ingress.clone(), a.egress.clone()), (a.count_basis.clone(), a.reason.clone()));
            (a.interface.clone(), a.index, hooks.0, hooks.1, why.0, why.1)
        };
        let pinned = attached.pinned.as_ref().map(|pinned| PinnedRow {
            maps: pinned.maps.clone(),
            path: pinned.path.clone(),
            base: rows(&pinned.base),
            handed_over_ns: pinned.handed_over_ns,
            is_resumed: pinned.is_resumed,
            left: pinned
                .left
                .as_ref()
                .map(|left| (left.maps.clone(), left.slots.clone(), rows(&left.base), left.until_ns)),
        });
        Self {
            attachments: attached.attachments.iter().map(row).collect(),
            since_ns: attached.since_ns,
            slots: attached.slots.clone(),
            pinned,
            assigned: change.assigned.iter().map(|a| (a.slot, a.name.clone(), Row::from(&a.held))).collect(),
            refused: change.refused.iter().map(Refusal::from).collect(),
            uncounted_ns: change.uncounted_ns,
            descriptors,
        }
    }

    /// What is attached.
    pub fn attached(&self) -> Attached {
        let attachment = |row: &AttachmentRow| {
            let (interface, index, ingress, egress, count_basis, reason) = row.clone();
            Attachment { interface, index, ingress, egress, count_basis, reason, nic: NicCounts::default() }
        };
        let pinned = self.pinned.as_ref().map(|row| Pinned {
            maps: row.maps.clone(),
            path: row.path.clone(),
            base: row.base.iter().map(LedgerSlot::from).collect(),
            handed_over_ns: row.handed_over_ns,
            is_resumed: row.is_resumed,
            left: row.left.clone().map(|(maps, slots, base, until_ns)| LeftBehind {
                maps,
                slots,
                base: base.iter().map(LedgerSlot::from).collect(),
                until_ns,
            }),
        });
        let (attachments, slots) = (self.attachments.iter().map(attachment).collect(), self.slots.clone());
        Attached { attachments, since_ns: self.since_ns, slots, pinned }
    }

    /// Places in the ledger that another interface has from now on.
    pub fn assigned(&self) -> Vec<Assigned> {
        let assigned = self.assigned.iter();
        assigned.map(|(slot, name, held)| Assigned { slot: *slot, name: name.clone(), held: held.into() }).collect()
    }
}

/// Sends a message, with descriptors beside its first byte.
///
/// # Errors
/// When the other side is gone, or the message too long.
pub fn send(socket: &UnixStream, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= MOST_BYTES);
    let length = length.ok_or_else(|| io::Error::other("the message is too long"))?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL)?;
    let mut socket = socket;
    socket.write_all(&length[sent..])?;
    socket.write_all(&text)
}

/// Receives a message and what is beside it; `None` where the other side has ended the connection.
///
/// # Errors
/// When nothing comes in time, or it is no such message.
pub fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut length)], &mut beside, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let descriptors = beside.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    let descriptors = descriptors.collect();
    if got == 0 {
        return Ok(None);
    }
    let mut socket = socket;
    socket.read_exact(&mut length[got..])?;
    let length = u32::from_be_bytes(length);
    if length > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    let message = serde_json::from_slice(&text);
    message.map(|message| Some((message, descriptors))).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_message_and_its_descriptors_arrive() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (reads, mut writes) = io::pipe().expect("a pipe");
        let handover = Some((rows(&[LedgerSlot { seen_bytes: u64::MAX, ..LedgerSlot::default() }; 16]), u64::MAX));
        let request = Request::Detach { handover };
        send(&here, &request, &[reads.as_fd()]).expect("sent");
        let (received, mut descriptors) = receive::<Request>(&there).expect("received").expect("a message");
        assert_eq!(received, request);
        writes.write_all(b"x").expect("written");
        let mut byte = [0];
        std::fs::File::from(descriptors.pop().expect("a descriptor")).read_exact(&mut byte).expect("read");
        assert_eq!((&byte, descriptors.len()), (b"x", 0));
        drop(here);
        assert!(receive::<Request>(&there).expect("the end").is_none());
    }

    #[test]
    fn the_longest_filter_fits_and_nothing_longer() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let filter = |instructions| Request::PacketSocket {
            interface: "eth0".to_owned(),
            filter: vec![(u16::MAX, u8::MAX, u8::MAX, u32::MAX); instructions],
        };
        let sender = std::thread::spawn(move || {
            let longest = send(&here, &filter(crate::packet_socket::MOST_INSTRUCTIONS), &[]);
            longest.and_then(|()| send(&here, &filter(20_000), &[]))
        });
        let received = receive::<Request>(&there).expect("received").expect("a message").0;
        assert!(matches!(received, Request::PacketSocket { filter, .. } if filter.len() == 4096));
        assert!(sender.join().expect("sent").is_err(), "longer than a message may be");
    }

    #[test]
    fn what_is_no_message_is_an_error_and_holds_nobody_up() {
        for bytes in [
            &b"\xff\xff\xff\xff{}"[..],
            b"\0\0\0\x02{}",
            b"\0\0\0\x04null",
            b"\0\0\0\x10{\"attach\":null}x",
            b"\0\0\0\x64short",
            b"\0",
        ] {
            let (mut here, there) = UnixStream::pair().expect("a pair");
            there.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
            here.write_all(bytes).expect("written");
            assert!(receive::<Request>(&there).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn counters_of_another_version_are_left_out_or_nothing() {
        for counters in [0, 3, Counter::COUNT + 5] {
            let slot = LedgerSlot::from(&Row(1, 2, vec![7; counters]));
            let sum: u64 = slot.packets.iter().sum();
            assert_eq!((slot.overflow_bytes, slot.seen_bytes, sum), (1, 2, 7 * counters.min(Counter::COUNT) as u64));
        }
    }
}
