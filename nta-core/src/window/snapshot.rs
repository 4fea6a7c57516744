//! A closed window with everything that judges it, and the longer windows made of shorter ones.

use super::{Both, Distinct, Flows, Hosts, Run, Seed, Window};
use crate::domain::{Event, Timestamp};

/// Length of a window, as a multiple of the base window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Span {
    /// The base window: 5 s unless configured otherwise.
    #[default]
    Base,
    /// Six base windows: 30 s.
    Medium,
    /// Thirty-six: 180 s.
    Long,
}

impl Span {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Base, Self::Medium, Self::Long];

    /// How many base windows it has.
    pub const fn factor(self) -> u64 {
        match self {
            Self::Base => 1,
            Self::Medium => 6,
            Self::Long => 36,
        }
    }
}

/// What happened in a window: the network as a whole, each host, and in a base window each flow.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its length.
    pub span: Span,
    /// The network as a whole.
    pub window: Window,
    /// Each host.
    pub hosts: Hosts,
    /// Flows with at least one packet; only of a base window.
    pub flows: Flows,
    /// DNS messages and ARP packets, in the order in which they came; only of a base window.
    pub events: Vec<Event>,
    /// Flows met.
    pub(super) flow_ids: Distinct,
}

impl Snapshot {
    /// A window of which only the sums over the network are known.
    pub fn of_network(span: Span, window: Window) -> Self {
        let hosts = Hosts::new(Seed::fixed());
        Self { span, window, hosts, flows: Flows::default(), events: Vec::new(), flow_ids: Distinct::default() }
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.window.end.since(self.window.start) as f64 / 1e9
    }

    /// The flows in runs; see [`Detector::take`](crate::detect::Detector::take).
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.flows.runs(self.window.start, self.window.end, self.hosts.seed())
    }

    /// Computes what follows from the sums of a longer window.
    fn settle(&mut self, both: &impl Both) {
        self.window.settle(&self.hosts, both);
        self.window.flows = self.flow_ids.count();
    }
}

/// Windows of one longer span, made by merging; packets are never read again.
#[derive(Debug)]
pub struct Cascade {
    span: Span,
    span_ns: u64,
    open: Option<Snapshot>,
    next_id: u64,
}

impl Cascade {
    /// Windows of this span, aligned to the Unix epoch; `base_ns` is the length of the base window.
    pub const fn new(span: Span, base_ns: u64) -> Self {
        Self { span, span_ns: base_ns * span.factor(), open: None, next_id: 1 }
    }

    /// Adds a closed window of a shorter span, and hands out what this closes: the window before, when the new one lies
    /// beyond it, and the window that it completes.
    pub fn add(&mut self, shorter: &Snapshot, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        let (start, end) = (shorter.window.start, shorter.window.end);
        if self.open.as_ref().is_some_and(|open| start >= open.window.end || start < open.window.start) {
            self.flush(both, closed);
        }
        let open = self.open.get_or_insert_with(|| {
            let id = self.next_id;
            self.next_id += 1;
            blank(self.span, id, start.floor(self.span_ns), self.span_ns, shorter)
        });
        open.window.merge(&shorter.window);
        open.hosts.merge(&shorter.hosts, both);
        open.flow_ids.merge(&shorter.flow_ids);
        if end >= open.window.end {
            self.flush(both, closed);
        }
    }

    /// Hands out the open window as it is: at the end, or when time has passed it.
    pub fn flush(&mut self, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        if let Some(mut open) = self.open.take() {
            open.settle(both);
            closed(open);
        }
    }
}

fn blank(span: Span, id: u64, start: Timestamp, span_ns: u64, shorter: &Snapshot) -> Snapshot {
    Snapshot {
        span,
        window: Window { id, start, end: start.plus(span_ns), ..Window::default() },
        hosts: shorter.hosts.like(),
        flows: Flows::default(),
        events: Vec::new(),
        flow_ids: Distinct::default(),
    }
}
