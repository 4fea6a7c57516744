//! The WAN link: a TUN device in the gateway, one in the WAN, and threads that carry packets with delay and loss.
//!
//! A kernel need not have netem; reading and writing packets is all that this takes of it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use super::site::Link;
use crate::process;

/// Packets under way in one direction; more are dropped, as a router's queue does.
const UNDER_WAY: usize = 2_000;
/// How long a packet may wait for the ones before it, at the link's rate.
const QUEUE: Duration = Duration::from_millis(200);
const MTU: u16 = 1_500;

/// A link that carries packets until its devices go, which is when their namespaces do.
pub(crate) struct Forwarder;

impl Forwarder {
    /// Makes the device `wan0` in both namespaces, and carries packets from each to the other.
    pub(crate) fn start(link: &Link, number: usize, namespaces: [&str; 2]) -> Result<Self> {
        let [near, far] = [device(number, 'a', namespaces[0])?, device(number, 'b', namespaces[1])?];
        carry(link, &near, &far);
        carry(link, &far, &near);
        Ok(Self)
    }
}

/// Made here and moved: the open file stays this process's, so that no process has to enter the namespace.
fn device(number: usize, side: char, namespace: &str) -> Result<Arc<SyncDevice>> {
    let name = format!("nl{}x{number}{side}", std::process::id());
    let device = DeviceBuilder::new().name(&name).layer(Layer::L3).mtu(MTU).enable(false).build_sync();
    let device = device.with_context(|| format!("cannot make the TUN device {name}"))?;
    process::output(Command::new("ip").args(["link", "set", &name, "netns", namespace, "name", "wan0"]))?;
    Ok(Arc::new(device))
}

fn carry(link: &Link, from: &Arc<SyncDevice>, to: &Arc<SyncDevice>) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let (link, from, to) = (link.clone(), Arc::clone(from), Arc::clone(to));
    thread::spawn(move || take(&link, &from, &sender));
    thread::spawn(move || hand_over(&receiver, &to));
}

/// A packet, and when it arrives.
type Due = (Instant, Vec<u8>);

/// Reads until the device is gone.
fn take(link: &Link, from: &SyncDevice, sender: &SyncSender<Due>) {
    let mut course = Course::new(link);
    let mut buffer = vec![0; usize::from(MTU) + 64];
    while let Ok(length) = from.recv(&mut buffer) {
        let Some(due) = course.arrival(Instant::now(), length) else { continue };
        // Full means that the other end is slow: dropped.
        let _full = sender.try_send((due, buffer[..length].to_vec()));
    }
}

fn hand_over(receiver: &Receiver<Due>, to: &SyncDevice) {
    for (due, packet) in receiver {
        sleep(due.saturating_duration_since(Instant::now()));
        // The device is gone, or down for a moment; `take` ends both.
        let _lost = to.send(&packet);
    }
}

/// One direction of a link.
struct Course {
    link: Link,
    /// Loss and jitter are not part of the plan: packets do not come in the same order twice anyway.
    rng: Rng,
    free: Option<Instant>,
    last: Option<Instant>,
}

impl Course {
    fn new(link: &Link) -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self { link: link.clone(), rng: Rng::with_seed(seed), free: None, last: None }
    }

    /// When a packet of `length` bytes that came at `now` is at the other end; `None` when it is lost.
    fn arrival(&mut self, now: Instant, length: usize) -> Option<Instant> {
        if self.rng.u32(0..10_000) < self.link.loss {
            return None;
        }
        let start = self.free.map_or(now, |free| free.max(now));
        if start.saturating_duration_since(now) > QUEUE {
            return None;
        }
        let bits = u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(8);
        let sent = start + Duration::from_micros(bits / u64::from(self.link.mbit_s.max(1)));
        self.free = Some(sent);
        let jitter = Duration::from_micros(self.rng.u64(0..=u64::from(self.link.jitter_ms) * 1_000));
        let due = sent + Duration::from_millis(u64::from(self.link.delay_ms)) + jitter;
        let due = self.last.map_or(due, |last| last.max(due));
        self.last = Some(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link { delay_ms: 20, jitter_ms: 0, loss: 0, mbit_s: 8 }
    }

    #[test]
    fn a_packet_takes_its_time_on_the_wire_and_the_delay() {
        let now = Instant::now();
        let mut course = Course::new(&link());
        // 1,000 bytes at 8 Mbit/s are a millisecond; the second waits for the first.
        assert_eq!(course.arrival(now, 1_000), Some(now + Duration::from_millis(21)));
        assert_eq!(course.arrival(now, 1_000), Some(now + Duration::from_millis(22)));
    }

    #[test]
    fn what_waits_too_long_is_dropped() {
        let now = Instant::now();
        let mut course = Course::new(&link());
        let arrived = (0..1_000).filter(|_| course.arrival(now, 1_000).is_some()).count();
        // 200 ms of queue at a packet a millisecond, and the one that is on its way.
        assert_eq!(arrived, 201);
    }

    #[test]
    fn order_is_kept_with_jitter_and_loss_is_about_what_was_asked_for() {
        let mut now = Instant::now();
        let mut course = Course::new(&Link { jitter_ms: 10, loss: 1_000, mbit_s: 1_000, ..link() });
        let mut last = now;
        let mut arrived = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            if let Some(due) = course.arrival(now, 100) {
                assert!(due >= last);
                (last, arrived) = (due, arrived + 1);
            }
        }
        assert!((8_800..9_200).contains(&arrived), "{arrived}");
    }
}
