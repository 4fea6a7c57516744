//! Made traffic of a small network: its level follows the hours of the day, each second has noise of its own, and what
//! is drawn is the same every time.

use std::f64::consts::TAU;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

pub(crate) const HOUR_S: u64 = 3600;
pub(crate) const DAY_S: u64 = 24 * HOUR_S;
pub(crate) const WEEK_S: u64 = 7 * DAY_S;

/// Exchanges a second at the busiest hour, each of one or two packets.
const PEAK_RATE: f64 = 9.0;
/// The busiest hour; twelve hours from it there is a fifth of its traffic.
const PEAK_HOUR: f64 = 14.0;
const NIGHT_SHARE: f64 = 0.2;
/// Stations of the network, each with a connection to a server and a call now and then.
const HOSTS: u64 = 12;
/// Share of the exchanges that are TCP.
const TCP_SHARE: f64 = 0.8;
/// How long a connection stays open, at least and at most.
const CONNECTION_S: [u64; 2] = [300, 2700];
/// Captured bytes of each frame.
const SNAPLEN: usize = 60;
const SEED: u64 = 0x0dd0_5eed;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) start_s: u64,
    pub(crate) seconds: u64,
    pub(crate) spikes: Vec<Spike>,
}

/// A stretch with more traffic.
pub(crate) struct Spike {
    pub(crate) start_s: u64,
    seconds: u64,
    factor: f64,
}

impl Spike {
    /// Six minutes of three times as much.
    pub(crate) const fn at(start_s: u64) -> Self {
        Self { start_s, seconds: 360, factor: 3.0 }
    }
}

/// Writes a pcap file.
pub(crate) fn write(plan: &Plan, path: &Path) {
    let mut made = Made::new(File::create(path).expect("a file"), plan.start_s);
    for second in plan.start_s..plan.start_s + plan.seconds {
        let hour = (second % DAY_S) as f64 / HOUR_S as f64;
        let cosine = f64::midpoint(1.0, ((hour - PEAK_HOUR) / 24.0 * TAU).cos());
        let within = |spike: &&Spike| (spike.start_s..spike.start_s + spike.seconds).contains(&second);
        let factor = plan.spikes.iter().find(within).map_or(1.0, |spike| spike.factor);
        let exchanges = made.draw.poisson(PEAK_RATE * (NIGHT_SHARE + (1.0 - NIGHT_SHARE) * cosine) * factor);
        let mut times: Vec<u64> = (0..exchanges).map(|_| made.draw.below(1_000_000)).collect();
        times.sort_unstable();
        for micros in times {
            made.exchange(second * 1_000_000 + micros);
        }
    }
    made.file.flush().expect("written");
}

struct Made {
    file: BufWriter<File>,
    draw: Draw,
    connections: Vec<Connection>,
    last_us: u64,
}

/// A station's connection: its port and the next sequence numbers.
#[derive(Clone, Copy)]
struct Connection {
    port: u16,
    open: bool,
    until_us: u64,
    client: u32,
    server: u32,
}

/// One frame's addresses, from the station's side.
struct Segment {
    host: u8,
    proto: u8,
    ports: [u16; 2],
    outbound: bool,
    payload: u16,
}

impl Made {
    fn new(file: File, start_s: u64) -> Self {
        let mut file = BufWriter::new(file);
        for field in [0xa1b2_c3d4_u32, 2 | (4 << 16), 0, 0, 262_144, 1] {
            file.write_all(&field.to_le_bytes()).expect("written");
        }
        let connection = Connection { port: 40_000, open: false, until_us: 0, client: 1, server: 1 };
        Self { file, draw: Draw(SEED ^ start_s), connections: vec![connection; HOSTS as usize], last_us: 0 }
    }

    /// A segment and its acknowledgement, or a datagram, of one of the stations.
    fn exchange(&mut self, time_us: u64) {
        let n = self.draw.below(HOSTS);
        let (host, outbound) = (10 + n as u8, self.draw.share() < 0.3);
        let payload = 350 + self.draw.below(500) as u16;
        if self.draw.share() >= TCP_SHARE {
            let segment = Segment { host, proto: 17, ports: [16_400, 16_500], outbound, payload };
            let [high, low] = (8 + payload).to_be_bytes();
            return self.frame(time_us, &segment, &[high, low, 0, 0]);
        }
        let mut connection = self.connections[n as usize];
        if !connection.open {
            let [least, most] = CONNECTION_S;
            let until_us = time_us + (least + self.draw.below(most - least)) * 1_000_000;
            let port = 40_000 + (connection.port - 39_999) % 20_000;
            connection = Connection { port, open: true, until_us, client: 1, server: 1 };
            self.segment(time_us, host, &mut connection, true, SYN, 0);
            self.segment(time_us + 200, host, &mut connection, false, SYN | ACK, 0);
            self.segment(time_us + 400, host, &mut connection, true, ACK, 0);
        }
        self.segment(time_us + 600, host, &mut connection, outbound, ACK, payload);
        self.segment(time_us + 800, host, &mut connection, !outbound, ACK, 0);
        if time_us >= connection.until_us {
            self.segment(time_us + 1000, host, &mut connection, true, FIN | ACK, 0);
            self.segment(time_us + 1200, host, &mut connection, false, FIN | ACK, 0);
            self.segment(time_us + 1400, host, &mut connection, true, ACK, 0);
            connection.open = false;
        }
        self.connections[n as usize] = connection;
    }

    fn segment(&mut self, time_us: u64, host: u8, of: &mut Connection, outbound: bool, flags: u8, payload: u16) {
        let (number, answer) = if outbound { (of.client, of.server) } else { (of.server, of.client) };
        let answer = if flags & ACK == 0 { 0 } else { answer };
        let mut header = [number.to_be_bytes(), answer.to_be_bytes()].concat();
        header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let segment = Segment { host, proto: 6, ports: [of.port, 443], outbound, payload };
        self.frame(time_us, &segment, &header);
        let next = number.wrapping_add(u32::from(payload) + u32::from(flags & (SYN | FIN) != 0));
        *(if outbound { &mut of.client } else { &mut of.server }) = next;
    }

    /// Writes a frame; `header` is what follows the ports. Time never runs backwards.
    fn frame(&mut self, time_us: u64, of: &Segment, header: &[u8]) {
        let time_us = time_us.max(self.last_us);
        self.last_us = time_us;
        let mut ends = [([10, 20, 0, of.host], of.ports[0]), ([198, 51, 100, 20 + of.host % 4], of.ports[1])];
        if !of.outbound {
            ends.reverse();
        }
        let total = 24 + header.len() as u16 + of.payload;
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45, 0];
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, of.proto, 0, 0]);
        frame.extend(ends.iter().flat_map(|(address, _)| *address));
        frame.extend(ends.iter().flat_map(|(_, port)| port.to_be_bytes()));
        frame.extend(header);
        frame.resize(SNAPLEN, 0);
        let wire = (14 + u32::from(total)).max(60);
        for field in [(time_us / 1_000_000) as u32, (time_us % 1_000_000) as u32, SNAPLEN as u32, wire] {
            self.file.write_all(&field.to_le_bytes()).expect("written");
        }
        self.file.write_all(&frame).expect("written");
    }
}

/// Numbers that look random (splitmix64, Steele et al. 2014).
struct Draw(u64);

impl Draw {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of what happens so often on average (Knuth).
    fn poisson(&mut self, mean: f64) -> u64 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.share(), 0);
        while product > limit {
            product *= self.share();
            count += 1;
        }
        count
    }
}
