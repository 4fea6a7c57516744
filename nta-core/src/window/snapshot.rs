//! A closed window with everything that judges it, and the longer windows made of shorter ones.

use super::{Both, Distinct, Flows, Hosts, Measured, NotWhole, Run, Seed, Window};
use crate::domain::{PacketEvent, Timestamp, Visibility};

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
    /// What the capture point shows, by this window and those before.
    pub visibility: Visibility,
    /// Each host.
    pub hosts: Hosts,
    /// Flows with at least one packet; only of a base window.
    pub flows: Flows,
    /// DNS messages and ARP packets, in the order in which they came; only of a base window.
    pub events: Vec<PacketEvent>,
    /// Flows met.
    pub(super) flow_ids: Distinct,
}

impl Snapshot {
    /// A window of which only the sums over the network are known.
    pub fn of_network(span: Span, window: Window) -> Self {
        let hosts = Hosts::new(Seed::fixed());
        Self {
            span,
            visibility: window.visibility,
            window,
            hosts,
            flows: Flows::default(),
            events: Vec::new(),
            flow_ids: Distinct::default(),
        }
    }

    /// The seconds for which it is judged.
    pub fn seconds(&self) -> f64 {
        self.window.judged_ns() as f64 / 1e9
    }

    /// The seconds by which a count of this window is divided to judge its rate: its length, but never less than windows
    /// of its kind have. A burst in a part of a window is no rate.
    pub fn rate_seconds(&self) -> f64 {
        self.window.judged_ns().max(self.window.span_ns()) as f64 / 1e9
    }

    /// The flows in runs; see [`Detector::take`](crate::detect::Detector::take).
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.flows.runs(&self.window, self.hosts.seed())
    }

    /// Computes what follows from the sums of a longer window.
    fn settle(&mut self, both: &impl Both) {
        self.window.settle(&self.hosts, both);
        self.window.flows = self.flow_ids.count();
    }
}

/// How long a longer window is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lengths {
    /// As long as from its start to its end but for gaps, in a replay; judged as whole.
    #[default]
    Nominal,
    /// As long as its parts and the silence between them, live.
    Measured,
}

/// Windows of one longer span, made by merging; packets are never read again.
#[derive(Debug)]
pub struct Cascade {
    span: Span,
    span_ns: u64,
    lengths: Lengths,
    /// End of the last part.
    until: Timestamp,
    open: Option<Snapshot>,
    next_id: u64,
}

impl Cascade {
    /// Windows of this span, aligned to the Unix epoch; `base_ns` is the length of the base window.
    pub const fn new(span: Span, base_ns: u64, lengths: Lengths) -> Self {
        let until = Timestamp::from_nanos(0);
        Self { span, span_ns: base_ns * span.factor(), lengths, until, open: None, next_id: 1 }
    }

    /// End of the open window, if one is open.
    pub fn end(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.window.end)
    }

    /// Adds a closed window of a shorter span, and hands out what this closes: the window before, when the new one lies
    /// beyond it, and the window that it completes.
    pub fn add(&mut self, shorter: &Snapshot, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        let (start, end) = (shorter.window.start, shorter.window.end);
        if self.open.as_ref().is_some_and(|open| start >= open.window.end || start < open.window.start) {
            self.pass(both, closed);
        }
        let open = self.open.get_or_insert_with(|| {
            let id = self.next_id;
            self.next_id += 1;
            let mut new = blank(self.span, id, start.floor(self.span_ns), self.span_ns, shorter);
            if self.until <= start {
                // A part that was closed late has a part of the time of this one.
                new.window.start = new.window.start.max(self.until);
            }
            if id == 1 {
                new.window.measured.gap_ns = start.since(new.window.start);
            }
            new
        });
        let part = &shorter.window;
        // Silence that a part of it covers, or that lies before this window, is none of this one.
        let silence_ns = part.measured.silence_ns.min(start.since(self.until.max(open.window.start)));
        let length_ns = part.length_ns().saturating_add(silence_ns);
        open.window.measured.length_ns = open.window.measured.length_ns.saturating_add(length_ns);
        self.until = end;
        open.window.merge(part);
        open.hosts.merge(&shorter.hosts, both);
        open.flow_ids.merge(&shorter.flow_ids);
        open.visibility = shorter.visibility;
        if end >= open.window.end {
            // A part that was closed late, or stands for several, ends behind it.
            open.window.end = end;
            self.flush(both, closed);
        }
    }

    /// Hands out the open window when time has passed it: what follows its last part was silence.
    pub fn pass(&mut self, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        if let Some(open) = &mut self.open {
            let silence_ns = open.window.end.since(self.until);
            open.window.measured.length_ns = open.window.measured.length_ns.saturating_add(silence_ns);
        }
        self.flush(both, closed);
    }

    /// Hands out the open window at the end of the run: it ends with its last part.
    pub fn finish(&mut self, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        let span_ns = self.span_ns;
        if let Some(open) = &mut self.open {
            let window = &mut open.window;
            window.measured.not_whole = window.measured.not_whole.max(Some(NotWhole::RunEnded));
            window.end = window.end.min(self.until);
            if self.lengths == Lengths::Nominal {
                nominal(window, span_ns);
            }
            open.settle(both);
        }
        if let Some(open) = self.open.take() {
            closed(open);
        }
    }

    fn flush(&mut self, both: &impl Both, closed: &mut dyn FnMut(Snapshot)) {
        if let Some(mut open) = self.open.take() {
            if self.lengths == Lengths::Nominal {
                nominal(&mut open.window, 0);
            }
            open.settle(both);
            closed(open);
        }
    }
}

/// As long as its labels say but for its gap, and judged as if it were that long at least.
fn nominal(window: &mut Window, judged_ns: u64) {
    let whole_ns = window.end.since(window.start);
    let length_ns = whole_ns.saturating_sub(window.measured.gap_ns).max(1);
    let outside_ns = whole_ns.max(judged_ns).saturating_sub(length_ns);
    window.measured = Measured { length_ns, outside_ns, ..window.measured };
}

fn blank(span: Span, id: u64, start: Timestamp, span_ns: u64, shorter: &Snapshot) -> Snapshot {
    Snapshot {
        span,
        window: Window {
            id,
            start,
            end: start.plus(span_ns),
            measured: Measured { span_ns, wall_ahead_ns: shorter.window.measured.wall_ahead_ns, ..Measured::default() },
            ..Window::default()
        },
        visibility: shorter.visibility,
        hosts: shorter.hosts.like(),
        flows: Flows::default(),
        events: Vec::new(),
        flow_ids: Distinct::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::InTurn;

    const S: u64 = 1_000_000_000;

    /// A base window of 5 s that is so long and comes after so much silence.
    fn part(start_s: u64, end_s: u64, length_s: u64, silence_s: u64) -> Snapshot {
        let time = |seconds: u64| Timestamp::from_nanos(seconds * S);
        let measured = Measured { length_ns: length_s * S, silence_ns: silence_s * S, ..Measured::default() };
        Snapshot::of_network(
            Span::Base,
            Window { start: time(start_s), end: time(end_s), bytes: 100, measured, ..Window::default() },
        )
    }

    /// Lengths in seconds and ends of the windows of 30 s made of these parts.
    fn longer(lengths: Lengths, parts: &[Snapshot]) -> Vec<(f64, u64, Option<NotWhole>)> {
        let mut cascade = Cascade::new(Span::Medium, 5 * S, lengths);
        let mut closed = Vec::new();
        parts.iter().for_each(|part| cascade.add(part, &InTurn, &mut |window| closed.push(window)));
        cascade.finish(&InTurn, &mut |window| closed.push(window));
        let reported =
            |window: Snapshot| (window.seconds(), window.window.end.as_nanos() / S, window.window.measured.not_whole);
        closed.into_iter().map(reported).collect()
    }

    #[test]
    fn a_longer_window_is_as_long_as_its_parts_and_the_silence_between_them() {
        // From 10 s on, the last part was closed 2 s late; then one after 15 s of silence, and the end of the run.
        let parts = [part(10, 15, 5, 0), part(15, 20, 5, 0), part(20, 32, 12, 0), part(45, 50, 4, 13)];
        let ended = Some(NotWhole::RunEnded);
        assert_eq!(longer(Lengths::Measured, &parts), [(22.0, 32, None), (17.0, 50, ended)]);
        // Of a capture, what is before its first frame and behind its last one is silence.
        assert_eq!(longer(Lengths::Nominal, &parts), [(32.0, 32, None), (30.0, 50, ended)]);
        // Time has passed the window: what follows its last part was silence.
        assert_eq!(longer(Lengths::Measured, &[part(0, 5, 5, 0), part(60, 65, 5, 55)])[0], (30.0, 30, None));
    }

    #[test]
    fn a_window_much_shorter_or_longer_than_its_kind_is_not_compared() {
        let window = |length_s| Window {
            measured: Measured { span_ns: 30 * S, length_ns: length_s * S, ..Measured::default() },
            ..Window::default()
        };
        assert!([15, 30, 37, 60].into_iter().all(|seconds| window(seconds).is_comparable()));
        assert!([1, 14, 61].into_iter().all(|seconds| !window(seconds).is_comparable()));
    }
}
