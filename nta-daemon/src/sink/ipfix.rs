//! Flows to an IPFIX collector as they end, and those that go on from time to time with what came since.
//!
//! A thread of its own sends, behind a bounded queue: no collector holds up the capture. What it does not take is dropped and counted;
//! the database has it. Over UDP nobody says that a message arrived: the collector sees a gap in the sequence numbers.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nta_common::flow::Counts;

use super::counters::{Counters, Kind};
use super::outlet::Outlet;
use crate::config::IpfixConfig;
use crate::export::ipfix::{Encoder, Part, Reason, templates_before};
use crate::pipeline::{PipelineEvent, Sink};
use nta_core::domain::{FlowId, FlowRecord, Timestamp};

const KIND: Kind = Kind { name: "ipfix", unit: "records", about: "Flow records for the IPFIX collector" };
/// Messages that wait, of a dozen flows each.
const QUEUE: usize = 4096;
/// Flows that go on and of which a part was reported; further ones are reported at their end.
const MOST_ACTIVE: usize = 100_000;
/// How often the templates are sent again, for a collector that began later or lost them (RFC 7011, section 8.1).
const TEMPLATES_EVERY: Duration = Duration::from_secs(60);
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// What is queued: a message, and how many records are in it.
struct Message {
    bytes: Vec<u8>,
    records: u64,
}

/// Sends flows of a sensor.
#[derive(Debug)]
pub struct IpfixExporter {
    encoder: Encoder,
    active_ns: u64,
    /// What was reported of flows that go on, and up to when.
    reported: HashMap<FlowId, ([Counts; 2], Timestamp)>,
    records: u64,
    /// Gone at the end, which ends the thread.
    messages: Option<SyncSender<Message>>,
    counters: Arc<Counters>,
    sends: Option<JoinHandle<()>>,
}

impl IpfixExporter {
    /// Begins; `None` where no collector is configured.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(config: &IpfixConfig) -> io::Result<Option<Self>> {
        if config.to.is_empty() {
            return Ok(None);
        }
        let (messages, queue) = sync_channel(QUEUE);
        let counters = Arc::new(Counters::new(KIND, &config.to));
        let (outlet, is_tcp) = (Outlet::new(&config.to), config.to.scheme() == "tcp");
        let line = Line { outlet, is_tcp, templates: None, failed: None };
        let counted = Arc::clone(&counters);
        let sends = thread::Builder::new().name("ipfix".to_owned()).spawn(move || send(line, &queue, &counted))?;
        Ok(Some(Self {
            encoder: Encoder::new(u32::try_from(config.domain).unwrap_or(u32::MAX)),
            active_ns: config.active_s * 1_000_000_000,
            reported: HashMap::new(),
            records: 0,
            messages: Some(messages),
            counters,
            sends: Some(sends),
        }))
    }

    /// What became of the records; counts on while they are sent.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// A flow after a change: reported at its end, and after a while.
    fn flow(&mut self, flow: &FlowRecord) {
        let known = self.reported.get(&flow.id).copied();
        let (before, since) = known.unwrap_or(([Counts::default(); 2], flow.first));
        let sent = [flow.originator.sent, flow.responder.sent];
        if flow.ended.is_none() {
            let is_due = flow.last.as_nanos().saturating_sub(since.as_nanos()) >= self.active_ns;
            if !is_due || (known.is_none() && self.reported.len() >= MOST_ACTIVE) {
                return;
            }
            self.reported.insert(flow.id, (sent, flow.last));
        } else {
            self.reported.remove(&flow.id);
        }
        let less = |now: Counts, before: Counts| Counts {
            packets: now.packets.saturating_sub(before.packets),
            bytes: now.bytes.saturating_sub(before.bytes),
            ip_bytes: now.ip_bytes.saturating_sub(before.ip_bytes),
        };
        let sent = [less(sent[0], before[0]), less(sent[1], before[1])];
        let part = Part { flow, since, sent, reason: Reason::from(flow.ended) };
        let full = self.encoder.add(&part, flow.last);
        self.queue(full);
        self.records += 1;
    }

    fn queue(&mut self, message: Option<Vec<u8>>) {
        let (Some(bytes), Some(messages)) = (message, &self.messages) else { return };
        let records = std::mem::take(&mut self.records);
        if messages.try_send(Message { bytes, records }).is_err() {
            self.counters.dropped(records);
        }
    }
}

impl Sink for IpfixExporter {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Flow { flow, .. } | PipelineEvent::FlowGone(flow) => self.flow(flow),
            PipelineEvent::FlowEnded(update) => self.flow(&FlowRecord::of(update)),
            // What a window brought goes with it, full or not.
            PipelineEvent::Window(snapshot) if snapshot.span == nta_core::window::Span::Base => {
                let at = snapshot.window.end;
                let message = self.encoder.take(at);
                self.queue(message);
            }
            _ => {}
        }
    }
}

impl Drop for IpfixExporter {
    /// Sends what waits.
    fn drop(&mut self) {
        self.messages = None;
        if let Some(sends) = self.sends.take() {
            let _ = sends.join(); // a panic was logged
        }
    }
}

/// The way to the collector.
struct Line {
    outlet: Outlet,
    is_tcp: bool,
    /// When the templates were sent over it.
    templates: Option<Instant>,
    /// When it failed last.
    failed: Option<Instant>,
}

impl Line {
    fn send(&mut self, message: &Message) -> io::Result<()> {
        if self.failed.is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(io::Error::other("it failed a moment ago"));
        }
        let sent = self.try_send(&message.bytes);
        self.failed = sent.is_err().then(Instant::now);
        sent
    }

    fn try_send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.outlet.open()? {
            self.templates = None;
        }
        // By TCP they hold as long as the connection (RFC 7011, section 10.4.3).
        let is_due = match self.templates {
            None => true,
            Some(at) => !self.is_tcp && at.elapsed() >= TEMPLATES_EVERY,
        };
        if is_due {
            self.outlet.write(&templates_before(message))?;
            self.templates = Some(Instant::now());
        }
        self.outlet.write(message)
    }
}

/// Sends messages until nobody makes any more.
fn send(mut line: Line, queue: &Receiver<Message>, counters: &Counters) {
    while let Ok(message) = queue.recv() {
        let was_resting = line.failed.is_some_and(|at| at.elapsed() < PAUSE);
        match line.send(&message) {
            Ok(()) => counters.sent(message.records),
            Err(error) => {
                counters.dropped(message.records);
                if !was_resting {
                    counters.failed(&error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::store::tests::flow;
    use nta_core::domain::EndReason;

    /// Bytes in front of a message's first record, and the numbers of a record behind its identity: from, to, bytes, packets.
    const BEFORE: usize = 20;

    /// Packets of the originator in the only record of a message, and where its part of the flow begins, in seconds.
    fn part(message: &[u8]) -> [u64; 2] {
        let number = |at: usize| u64::from_be_bytes(message[BEFORE + at..BEFORE + at + 8].try_into().expect("eight"));
        [number(32), number(8) / 1000]
    }

    #[test]
    fn a_flow_that_goes_on_is_reported_with_what_came_since() {
        let collector = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        collector.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let to = format!("udp://{}", collector.local_addr().expect("an address")).parse().expect("a collector");
        let config = IpfixConfig { to, active_s: 10, ..IpfixConfig::default() };
        let mut exporter = IpfixExporter::start(&config).expect("a thread").expect("configured");
        let mut next = |flow: &FlowRecord| {
            exporter.flow(flow);
            let message = exporter.encoder.take(flow.last);
            let is_reported = message.is_some();
            exporter.queue(message);
            let mut bytes = [0; 2000];
            let mut read = || collector.recv(&mut bytes).map(|length| bytes[..length].to_vec()).expect("a message");
            is_reported.then(|| {
                let mut templates = None;
                loop {
                    let message = read();
                    let sequence = message[8..12].to_vec();
                    // The templates come first, and count as no records.
                    if message[16..18] != [0, 2] {
                        assert!(templates.is_none_or(|before| before == sequence));
                        break part(&message);
                    }
                    templates = Some(sequence);
                }
            })
        };
        // It began in second 1.
        assert_eq!(next(&flow(1, 5, 3)), None);
        assert_eq!(next(&flow(1, 12, 10)), Some([10, 1]));
        assert_eq!(next(&flow(1, 15, 12)), None);
        assert_eq!(next(&flow(1, 30, 17)), Some([7, 12]));
        let ended = FlowRecord { ended: Some(EndReason::Closed), ..flow(1, 31, 20) };
        assert_eq!(next(&ended), Some([3, 30]));
        assert_eq!(
            next(&FlowRecord { ended: Some(EndReason::Idle), ..flow(2, 3, 4) }),
            Some([4, 1]),
            "a short one, once"
        );
        assert!(exporter.reported.is_empty());
        assert_eq!(exporter.counters().counts()[1], 0);
    }

    #[test]
    fn what_no_collector_takes_is_counted() {
        // Nobody listens on a port that was just given back.
        let place = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let to = format!("tcp://{}", place.expect("an address")).parse().expect("a collector");
        let mut exporter =
            IpfixExporter::start(&IpfixConfig { to, ..IpfixConfig::default() }).expect("a thread").expect("configured");
        let counters = exporter.counters();
        for id in 1..=3 {
            exporter.flow(&FlowRecord { ended: Some(EndReason::Closed), ..flow(id, 3, 4) });
            let message = exporter.encoder.take(Timestamp::default());
            exporter.queue(message);
        }
        drop(exporter);
        assert_eq!((counters.counts(), counters.is_failing()), ([0, 3], true));
    }
}
