//! Suricata's EVE JSON as a sink: an event a line, to a file or over a socket, for what reads Suricata's.
//!
//! A thread of its own makes the events and writes them, behind a bounded queue: nobody holds up the capture. What is not taken waits and is
//! tried again; what finds the queue full is dropped and counted, alerts last. The database has it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::counters::{Counters, Kind};
use super::line_file::LineFile;
use super::outlet::Outlet;
use crate::config::{EveConfig, EveType};
use crate::export::eve;
use crate::json::{AlertJson, DnsJson, FlowJson, WindowJson};
use crate::pipeline::{PipelineEvent, Sink};
use nta_core::domain::{Alert, AlertChange, DnsMessage, FlowRecord, PacketEvent};
use nta_core::window::Span;

const KIND: Kind = Kind { name: "eve", unit: "events", about: "Events as Suricata writes them" };
/// Events that wait: the flows that end at once where there are many, and minutes of a reader's absence where there are few.
const QUEUE: usize = 131_072;
/// Places of it for alerts and windows alone.
const RESERVED: usize = 4096;
/// Bytes that are written at once.
const BATCH: usize = 64 << 10;
/// How long nothing is tried after a failure, and after many.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
pub enum EveError {
    /// The file cannot be used.
    #[error("eve.to: {} cannot be written: {source}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no thread for it.
    #[error("eve.to: there is no thread to write events: {0}")]
    Thread(io::Error),
}

/// What becomes an event, or several.
enum Item {
    Alert(Box<Alert>),
    Flow(Box<FlowRecord>),
    Dns(Box<DnsMessage>),
    Window(Box<WindowJson>),
}

/// Writes events of a sensor.
#[derive(Debug)]
pub struct EveOutput {
    types: Vec<EveType>,
    /// Gone at the end, which ends the thread.
    items: Option<SyncSender<Item>>,
    shared: Arc<Shared>,
    writes: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    counters: Arc<Counters>,
    waiting: AtomicUsize,
    /// Nothing is tried again.
    ends: AtomicBool,
}

impl EveOutput {
    /// Begins; `None` where no place is configured. A socket is opened with the first event.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn start(config: &EveConfig, sensor: &str) -> Result<Option<Self>, EveError> {
        if config.to.is_empty() {
            return Ok(None);
        }
        let to = if config.to.scheme() == "file" {
            let path = Path::new(config.to.place());
            let file = LineFile::open(path, config.max_bytes, config.keep);
            Target::File(file.map_err(|source| EveError::Unusable { path: path.to_owned(), source })?)
        } else {
            Target::Socket(Outlet::new(&config.to))
        };
        let counters = Arc::new(Counters::new(KIND, &config.to));
        let shared = Arc::new(Shared { counters, waiting: AtomicUsize::new(0), ends: AtomicBool::new(false) });
        let (items, queue) = sync_channel(QUEUE);
        let writer = Writer {
            to,
            sensor: sensor.to_owned(),
            stats: eve::Writer::default(),
            shared: Arc::clone(&shared),
            lines: Vec::new(),
            events: 0,
            has_given_up: false,
        };
        let thread = thread::Builder::new().name("eve".to_owned());
        let writes = thread.spawn(move || writer.run(&queue)).map_err(EveError::Thread)?;
        Ok(Some(Self { types: config.types.clone(), items: Some(items), shared, writes: Some(writes) }))
    }

    /// What became of the events; counts on while they are written.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    fn is_written(&self, kind: EveType) -> bool {
        self.types.contains(&kind)
    }

    fn send(&self, item: Item) {
        let places = if matches!(item, Item::Alert(_) | Item::Window(_)) { QUEUE } else { QUEUE - RESERVED };
        let has_room = self.shared.waiting.load(Ordering::Relaxed) < places;
        let Some(items) = self.items.as_ref().filter(|_| has_room) else { return self.shared.counters.dropped(1) };
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        if items.try_send(item).is_err() {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.counters.dropped(1);
        }
    }
}

impl Sink for EveOutput {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Alert(AlertChange::Raised, alert) if self.is_written(EveType::Alert) => {
                self.send(Item::Alert(Box::new(alert.clone())));
            }
            PipelineEvent::Flow { update, flow } if update.ended.is_some() && self.is_written(EveType::Flow) => {
                self.send(Item::Flow(Box::new(*flow)));
            }
            PipelineEvent::FlowEnded(update) if self.is_written(EveType::Flow) => {
                self.send(Item::Flow(Box::new(FlowRecord::of(update))));
            }
            PipelineEvent::FlowGone(flow) if self.is_written(EveType::Flow) => self.send(Item::Flow(Box::new(*flow))),
            PipelineEvent::Packet(PacketEvent::Dns(message)) if self.is_written(EveType::Dns) => {
                self.send(Item::Dns(Box::new(message.clone())));
            }
            PipelineEvent::Window(snapshot) if snapshot.span == Span::Base && self.is_written(EveType::Stats) => {
                self.send(Item::Window(Box::new(WindowJson::from(&snapshot.window))));
            }
            _ => {}
        }
    }
}

impl Drop for EveOutput {
    /// Writes what waits, unless nobody takes it.
    fn drop(&mut self) {
        self.items = None;
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(writes) = self.writes.take() {
            writes.thread().unpark();
            let _ = writes.join(); // a panic was logged
        }
    }
}

enum Target {
    File(LineFile),
    Socket(Outlet),
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(lines),
            Self::Socket(outlet) => outlet.open().and_then(|_is_new| outlet.write(lines)),
        }
    }
}

/// Makes events and writes them, on the thread.
struct Writer {
    to: Target,
    sensor: String,
    stats: eve::Writer,
    shared: Arc<Shared>,
    /// Events to be written next, and how many these are.
    lines: Vec<u8>,
    events: u64,
    /// It did not take what waited at the end.
    has_given_up: bool,
}

impl Writer {
    /// Until nobody sends any more.
    fn run(mut self, queue: &Receiver<Item>) {
        while let Ok(item) = queue.recv() {
            self.add(&item);
            while self.lines.len() < BATCH
                && let Ok(item) = queue.try_recv()
            {
                self.add(&item);
            }
            self.deliver();
        }
    }

    fn add(&mut self, item: &Item) {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        match item {
            Item::Alert(alert) => self.line(eve::alert(&value(&AlertJson::from(alert.as_ref())))),
            Item::Flow(flow) => self.line(eve::flow(&value(&FlowJson::from(flow.as_ref())))),
            Item::Dns(message) => {
                eve::dns(&DnsJson::from(message.as_ref())).into_iter().for_each(|event| self.line(event));
            }
            Item::Window(window) => {
                let event = self.stats.stats(&value(window));
                event.into_iter().for_each(|event| self.line(event));
            }
        }
    }

    fn line(&mut self, mut event: Value) {
        event["host"] = self.sensor.as_str().into();
        // What is a value already is written, into memory.
        let _ = serde_json::to_writer(&mut self.lines, &event);
        self.lines.push(b'\n');
        self.events += 1;
    }

    /// Writes what was added, trying as often as it takes; at the end until that fails.
    fn deliver(&mut self) {
        let Shared { counters, ends, .. } = self.shared.as_ref();
        let [mut pause, longest] = PAUSE;
        while !self.lines.is_empty() && !self.has_given_up {
            match self.to.write(&self.lines) {
                Ok(()) => {
                    counters.sent(std::mem::take(&mut self.events));
                    self.lines.clear();
                }
                Err(error) => {
                    counters.failed(&error);
                    self.has_given_up = ends.load(Ordering::Relaxed);
                    if !self.has_given_up {
                        thread::park_timeout(pause);
                        pause = longest.min(pause * 2);
                    }
                }
            }
        }
        self.lines.clear();
        counters.dropped(std::mem::take(&mut self.events));
    }
}

fn value(item: &impl Serialize) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read};
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::store::tests::flow;
    use nta_core::window::Window;

    fn output(to: &str) -> EveOutput {
        let config = EveConfig { to: to.parse().expect("a place"), ..EveConfig::default() };
        EveOutput::start(&config, "gateway-1").expect("started").expect("configured")
    }

    fn send(output: &EveOutput, packets: std::ops::Range<u64>) {
        packets.for_each(|packets| output.send(Item::Flow(Box::new(flow(packets, 9, packets)))));
    }

    /// Packets to the server of each event that comes, and who saw it.
    fn read(stream: impl Read, count: usize) -> Vec<(u64, String)> {
        let lines = BufReader::new(stream).lines().take(count);
        let events = lines.map(|line| serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON"));
        let of = |event: Value| Some((event["flow"]["pkts_toserver"].as_u64()?, event["host"].as_str()?.to_owned()));
        events.map(|event| of(event).expect("a flow")).collect()
    }

    fn expected(packets: std::ops::Range<u64>) -> Vec<(u64, String)> {
        packets.map(|packets| (packets, "gateway-1".to_owned())).collect()
    }

    #[test]
    fn events_wait_for_a_reader_and_go_to_the_next_one_once_it_is_gone() {
        // Nobody listens on a port that was just given back.
        let place = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
        let output = output(&format!("tcp://{place}"));
        let counters = output.counters();
        send(&output, 0..3);
        while !counters.last_error().is_some_and(|error| error.contains("refused")) {
            thread::yield_now();
        }
        let listener = TcpListener::bind(place).expect("the same port");
        let accept = || listener.accept().expect("a connection").0;
        assert_eq!(read(accept(), 3), expected(0..3));
        send(&output, 3..5);
        assert_eq!(read(accept(), 2), expected(3..5), "what was read before is closed");
        drop(output);
        assert_eq!((counters.counts(), counters.is_failing()), ([5, 0], false));
    }

    #[test]
    fn a_socket_of_this_machine_gets_events() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("eve.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let output = output(&format!("unix://{}", path.display()));
        send(&output, 0..2);
        assert_eq!(read(listener.accept().expect("a connection").0, 2), expected(0..2));
    }

    #[test]
    fn where_flows_wait_for_a_full_disk_windows_have_room_and_what_is_lost_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("eve.json");
        symlink("/dev/full", &path).expect("a link");
        let output = output(&format!("file:{}", path.display()));
        let counters = output.counters();
        assert!(QUEUE * size_of::<FlowRecord>() < 70 << 20, "{} bytes each", size_of::<FlowRecord>());
        // Those that the thread took before its first attempt are more room.
        let flows = (QUEUE + 10_000) as u64;
        send(&output, 0..flows);
        let [_, dropped] = counters.counts();
        assert!(dropped > 0 && dropped <= 10_000 + RESERVED as u64, "{dropped}");
        output.send(Item::Window(Box::new(WindowJson::from(&Window::default()))));
        assert_eq!(counters.counts(), [0, dropped], "it waits");
        drop(output);
        assert!(counters.is_failing());
        assert_eq!(counters.counts(), [0, flows + 1]);
    }
}
