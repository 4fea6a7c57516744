//! The rolling packet buffer, `capture.ring`: the heads of the newest packets of each watched interface, in files that are written
//! over. Packets of an alert are found in them while they are there.
//!
//! Each interface has a packet socket and a thread of its own, as a recording has; who watches comes and goes with the attachments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::{End, RecordError, Recording, Request, Shared, file_name, now, record, stamp};
use crate::config::CaptureConfig;
use crate::private;
use crate::source::kernel::device::Device;
use crate::source::kernel::packet_socket::{PacketSocket, link_type};
use crate::source::replay::for_kernel;
use nta_core::domain::Status;

/// How long an interface whose buffer failed is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Keeps the heads of the newest packets.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    bytes: u64,
    snap_length: u32,
    /// Opens packet sockets, where this process has not the right.
    loader: Option<PathBuf>,
    counts: Arc<RingCounts>,
    running: BTreeMap<String, Running>,
    /// Interfaces of which it was said that they are not seen.
    failing: BTreeSet<String>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<Recording>,
}

/// What the buffer of each interface took since the start, and what the kernel dropped as it did not take it in time.
#[derive(Debug, Default)]
pub struct RingCounts(Mutex<BTreeMap<String, Counted>>);

#[derive(Debug, Default)]
struct Counted {
    /// Of threads that ended.
    before: [u64; 2],
    now: Option<Arc<Shared>>,
}

impl RingCounts {
    /// Of each interface the packets kept, and those dropped.
    pub fn all(&self) -> Vec<(String, [u64; 2])> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(interface, counted)| (interface.clone(), counted.sum())).collect()
    }

    fn begin(&self, interface: &str, shared: &Arc<Shared>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry(interface.to_owned()).or_default();
        counted.before = counted.sum();
        counted.now = Some(Arc::clone(shared));
    }
}

impl Counted {
    fn sum(&self) -> [u64; 2] {
        let now = self
            .now
            .as_ref()
            .map_or([0; 2], |shared| [&shared.packets, &shared.drops].map(|count| count.load(Ordering::Relaxed)));
        [self.before[0] + now[0], self.before[1] + now[1]]
    }
}

/// Where the buffer's files are, beside recordings.
pub fn folder(recordings: &Path) -> PathBuf {
    recordings.join("ring")
}

impl Ring {
    /// So many bytes for each interface, and so many of each packet.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(recordings: &Path, bytes: u64, snap_length: u32) -> Result<Self, RecordError> {
        let folder = folder(recordings);
        private::make_folder(&folder).map_err(|source| RecordError::Folder { path: folder.clone(), source })?;
        Ok(Self {
            folder,
            bytes,
            snap_length,
            loader: None,
            counts: Arc::default(),
            running: BTreeMap::new(),
            failing: BTreeSet::new(),
        })
    }

    /// The buffer, where one is configured; what one of before kept goes where none is.
    pub fn configured(config: &CaptureConfig, recordings: &Path) -> Option<Self> {
        if config.ring == 0 {
            if let Err(error) = Self::clear(recordings) {
                tracing::warn!(%error, "the packets that an earlier packet buffer kept are not deleted");
            }
            return None;
        }
        let made = Self::new(recordings, config.ring.saturating_mul(1 << 20), config.ring_snaplen);
        let made = made.inspect_err(|error| tracing::error!(%error, "no packet buffer (capture.ring)")).ok()?;
        Some(Self { loader: config.loader(), ..made })
    }

    /// Deletes what a buffer of before left: it is switched off.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn clear(recordings: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder(recordings)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What it counts.
    pub fn counts(&self) -> Arc<RingCounts> {
        Arc::clone(&self.counts)
    }

    /// Follows the attached interfaces until it is stopped.
    pub async fn follow(mut self, mut status: watch::Receiver<Status>, stop: CancellationToken) {
        loop {
            let attached: Vec<String> =
                status.borrow_and_update().attachments.iter().map(|one| one.interface.clone()).collect();
            // Opening and joining wait.
            let Ok(ring) = tokio::task::spawn_blocking(move || {
                let all_run = self.look(&attached);
                (self, all_run)
            })
            .await
            else {
                tracing::error!("the packet buffer stopped unexpectedly");
                return;
            };
            let all_run;
            (self, all_run) = ring;
            let again = async {
                match all_run {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(AGAIN_AFTER).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = again => {}
                changed = status.changed(), if all_run => if changed.is_err() { break },
            }
        }
        let _ended = tokio::task::spawn_blocking(move || self.look(&[])).await;
    }

    /// Begins and ends buffers, so that these interfaces have one. Whether all of them do.
    fn look(&mut self, attached: &[String]) -> bool {
        let gone: Vec<String> = self
            .running
            .iter()
            .filter(|(interface, running)| !attached.contains(interface) || running.thread.is_finished())
            .map(|(interface, _)| interface.clone())
            .collect();
        let ending: Vec<_> = gone.into_iter().filter_map(|interface| self.running.remove_entry(&interface)).collect();
        ending.iter().for_each(|(_, running)| running.shared.stop.store(true, Ordering::Relaxed));
        let mut all_run = true;
        for (interface, running) in ending {
            // Why one failed is logged where it did; it is tried again a while later.
            let ended = running.thread.join().ok().and_then(|recording| recording.ended);
            all_run &= matches!(ended, Some((_, End::Stopped))) || !attached.contains(&interface);
        }
        if !all_run {
            return false;
        }
        for interface in attached {
            if self.running.contains_key(interface) {
                continue;
            }
            match self.begin(interface) {
                Ok(running) => {
                    self.failing.remove(interface);
                    self.running.insert(interface.clone(), running);
                }
                Err(error) => {
                    if self.failing.insert(interface.clone()) {
                        tracing::warn!(interface, %error, "the packet buffer does not see this interface; it is tried again");
                    }
                    all_run = false;
                }
            }
        }
        all_run
    }

    fn begin(&self, interface: &str) -> Result<Running, RecordError> {
        let device = Device::find(interface).map_err(|_unknown| RecordError::Interface {
            name: interface.to_owned(),
            there_are: Device::there_are(),
        })?;
        let link = link_type(&device)?;
        let program = for_kernel("", link, self.snap_length)
            .map_err(|reason| RecordError::Filter { filter: String::new(), reason })?;
        let prefix = format!("{}-", file_name(&device.name));
        let started = now();
        let name = format!("{prefix}{}", stamp(started));
        let failed = |source| RecordError::Folder { path: self.folder.clone(), source };
        let files = Files::new((self.folder.clone(), name), (link, self.snap_length), self.bytes);
        let files = files.after(&prefix).map_err(failed)?;
        let socket = PacketSocket::open(&device, &program, self.loader.as_deref())?;
        let request = Request {
            interface: interface.to_owned(),
            filter: String::new(),
            snap_length: self.snap_length,
            max_bytes: Some(self.bytes),
            duration: None,
        };
        let recording = Recording::new(request, self.bytes, started);
        let shared = Arc::<Shared>::default();
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("ring".to_owned());
        let thread = thread.spawn(move || record(recording, socket, files, &seen)).map_err(failed)?;
        self.counts.begin(interface, &shared);
        Ok(Running { shared, thread })
    }
}
