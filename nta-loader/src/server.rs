//! The loader's end: five requests, from processes that may open its socket. One of them has the session, and what is attached.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nta_common::{LedgerSlot, TunnelPorts};
use nta_core::domain::Readings;

use crate::device::Device;
use crate::packet_socket::{self, MOST_INSTRUCTIONS};
use crate::wire::{self, Answer, AttachRequest, AttachedAnswer, LoaderStatus, PROTOCOL, Refusal, Request};
use crate::{
    AttachOptions, AttachedKernel, Change, EventSettings, Handles, KernelOptions, LoaderConfig, Pinning, SourceError,
    older, selects,
};

/// Connections at once: the session, and a few requests beside it.
const MOST_CONNECTIONS: usize = 8;
/// A connection that is not the session has to ask within this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a session may take to end once its process has.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The largest ring of events: that of the daemon's configuration.
const MOST_RING_BYTES: u32 = 1 << 30;

/// What it may do, and what it did.
pub struct Loader {
    config: LoaderConfig,
    state: Mutex<State>,
    answered: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    attached: Option<AttachedKernel>,
    /// The connection that attached it; none where that has ended.
    session: Option<u64>,
}

/// What goes back.
type Outcome = Result<(Answer, Handles), SourceError>;

impl Loader {
    /// Nothing is attached yet.
    pub fn new(config: LoaderConfig) -> Self {
        Self { config, state: Mutex::default(), answered: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Answers whoever connects, until accepting fails.
    ///
    /// # Errors
    /// Of the listener.
    pub fn serve(self: &Arc<Self>, listener: &UnixListener) -> io::Result<()> {
        let connections = Arc::new(());
        for id in 0.. {
            let socket = match listener.accept() {
                Ok((socket, _peer)) => socket,
                // Of that connection alone; or there are no descriptors until one of those that are open ends.
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK)) => {
                    tracing::warn!(%error, "connection refused");
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // The one that is held here counts as well.
            if Arc::strong_count(&connections) > MOST_CONNECTIONS {
                tracing::warn!(most = MOST_CONNECTIONS, "connection refused: too many at once");
                continue;
            }
            let (loader, counted) = (Arc::clone(self), Arc::clone(&connections));
            let thread = std::thread::Builder::new().name("connection".to_owned());
            let answering = thread.spawn(move || {
                if let Err(error) = loader.answer_all(id, &socket) {
                    tracing::warn!(connection = id, %error, "connection ended");
                }
                loader.leave(id);
                drop(counted);
            });
            if let Err(error) = answering {
                tracing::warn!(%error, "connection refused: no thread for it");
            }
        }
        Ok(())
    }

    fn answer_all(&self, id: u64, socket: &UnixStream) -> io::Result<()> {
        socket.set_write_timeout(Some(PATIENCE))?;
        loop {
            let has_session = self.state().session == Some(id);
            // The session may be silent for as long as it likes; the rest of a message may not.
            socket.set_read_timeout(if has_session { None } else { Some(PATIENCE) })?;
            let Some((request, beside)) = wire::receive::<Request>(socket)? else { return Ok(()) };
            drop::<Vec<OwnedFd>>(beside);
            let outcome = self.answer(id, request);
            match outcome {
                Ok((answer, handles)) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    let (_names, descriptors) = handles.parts();
                    wire::send(socket, &answer, &descriptors)?;
                }
                Err(error) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(connection = id, %error, "refused");
                    wire::send(socket, &Answer::Refused(Refusal::from(&error)), &[])?;
                }
            }
        }
    }

    fn answer(&self, id: u64, request: Request) -> Outcome {
        match request {
            Request::Attach(request) => self.attach(id, &request),
            Request::Detach { handover } => self.detach(id, handover),
            Request::PacketSocket { interface, filter } => self.packet_socket(&interface, &filter),
            Request::Connections => {
                let table =
                    older::open().map_err(|e| SourceError::Unsupported(format!("table of connections: {e}")))?;
                done(Some(table))
            }
            Request::Status => Ok((Answer::Status(self.status()), Handles::default())),
        }
    }

    fn attach(&self, id: u64, request: &AttachRequest) -> Outcome {
        if request.protocol != PROTOCOL {
            let version = env!("CARGO_PKG_VERSION");
            return Err(refusal(format!(
                "this nta-loader is version {version} and speaks another protocol: restart both"
            )));
        }
        let mut state = self.state_for(id)?;
        let (devices, refused) = self.devices(&request.interfaces);
        let (attach, options) = (self.attach_options(request), self.options(request)?);
        if state.session == Some(id)
            && let Some(attached) = &mut state.attached
        {
            let mut change = attached.change(&devices, &attach, options)?;
            change.refused.extend(refused);
            let handles = if change.joins_translated { attached.nat_handles()? } else { Handles::default() };
            return Ok(attached_answer(attached, Some(change), handles));
        }
        if let Some(error) = refused.into_iter().next() {
            return Err(error);
        }
        // What the session before left is attached still; its programs are replaced.
        state.attached = None;
        state.session = None;
        let readings = request.readings.as_ref().map(Readings::from);
        let mut attached = AttachedKernel::load_and_attach(&devices, &attach, options, readings.as_ref())?;
        let answer = attached_answer(&attached, None, attached.handles()?);
        attached.take_over();
        state.session = Some(id);
        tracing::info!(interfaces = request.interfaces.join(","), "attached");
        state.attached = Some(attached);
        Ok(answer)
    }

    /// The state, where no other connection has the session. That of a daemon that has just ended may be about to end.
    fn state_for(&self, id: u64) -> Result<MutexGuard<'_, State>, SourceError> {
        let began = Instant::now();
        loop {
            let state = self.state();
            if state.session.is_none_or(|session| session == id) {
                return Ok(state);
            }
            drop(state);
            if began.elapsed() > ENDS_WITHIN {
                return Err(refusal("another nta-daemon has the session of nta-loader".to_owned()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Those that it may attach to, and why not to the others.
    fn devices(&self, names: &[String]) -> (Vec<Device>, Vec<SourceError>) {
        let (mut devices, mut refused) = (Vec::new(), Vec::new());
        for name in names {
            match self.device(name) {
                Ok(device) => devices.push(device),
                Err(error) => refused.push(error),
            }
        }
        (devices, refused)
    }

    fn device(&self, name: &str) -> Result<Device, SourceError> {
        if !selects(&self.config.interfaces, name) {
            let name = name.escape_debug();
            return Err(refusal(format!("{name}: `interfaces` of nta-loader's configuration does not allow it")));
        }
        Device::find(name)
    }

    fn attach_options(&self, request: &AttachRequest) -> AttachOptions {
        let pinning = Pinning::On(self.config.pin_path.clone());
        AttachOptions { mode: request.mode, tcx_order: request.tcx_order, pinning }
    }

    fn options(&self, request: &AttachRequest) -> Result<KernelOptions, SourceError> {
        let (asked, most) = (request.map_memory_mib, self.config.max_map_memory_mib);
        if !(1..=most).contains(&asked) {
            return Err(refusal(format!(
                "capture.map_memory_mib is {asked}: `max_map_memory_mib` of nta-loader's configuration allows 1 to {most}"
            )));
        }
        let EventSettings { sample, ring_bytes, .. } = request.events;
        if sample == 0 || !ring_bytes.is_power_of_two() || ring_bytes > MOST_RING_BYTES {
            return Err(refusal("sampling and ring of events are out of range".to_owned()));
        }
        let tunnels = request.tunnels.map(|[vxlan, geneve]| TunnelPorts { vxlan, geneve });
        Ok(KernelOptions { map_memory_mib: asked, tunnels, events: request.events, ..KernelOptions::default() })
    }

    fn detach(&self, id: u64, handover: Option<(Vec<wire::Row>, u64)>) -> Outcome {
        let mut state = self.state();
        if state.session != Some(id) {
            return Err(refusal("this connection has no session".to_owned()));
        }
        state.session = None;
        if let (Some((rows, until_ns)), Some(attached)) = (handover, &state.attached) {
            let rows: Vec<LedgerSlot> = rows.iter().map(LedgerSlot::from).collect();
            attached.hand_over(&rows, until_ns)?;
        }
        done(None)
    }

    fn packet_socket(&self, interface: &str, filter: &[(u16, u8, u8, u32)]) -> Outcome {
        let device = self.device(interface)?;
        if filter.is_empty() || filter.len() > MOST_INSTRUCTIONS {
            return Err(refusal(format!("a filter has 1 to {MOST_INSTRUCTIONS} instructions")));
        }
        let filter = filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
        let socket = packet_socket::open(&device, &filter.collect::<Vec<_>>()).map_err(|e| refusal(e.to_string()))?;
        tracing::info!(interface, "packet socket handed out");
        done(Some(socket))
    }

    fn status(&self) -> LoaderStatus {
        let state = self.state();
        let attachments = state.attached.iter().flat_map(|attached| &attached.attachments);
        LoaderStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            allowed: self.config.interfaces.iter().map(ToString::to_string).collect(),
            max_map_memory_mib: self.config.max_map_memory_mib,
            pin_path: self.config.pin_path.display().to_string(),
            attached: attachments.map(|a| (a.interface.clone(), a.ingress.clone(), a.egress.clone())).collect(),
            has_session: state.session.is_some(),
            answered: self.answered.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// A connection has ended: what it attached goes on counting.
    fn leave(&self, id: u64) {
        let mut state = self.state();
        if state.session == Some(id) {
            state.session = None;
            tracing::info!("the session has ended; what is attached goes on counting");
        }
    }

    /// A panic while it was held has left it whole: every step ends with a value in its place.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attached_answer(attached: &AttachedKernel, change: Option<Change>, handles: Handles) -> (Answer, Handles) {
    let (names, _descriptors) = handles.parts();
    (Answer::Attached(Box::new(AttachedAnswer::of(&attached.attached(), change, names))), handles)
}

fn done(beside: Option<OwnedFd>) -> Outcome {
    Ok((Answer::Done, Handles::named(vec![String::new()], beside.into_iter().collect())))
}

const fn refusal(reason: String) -> SourceError {
    SourceError::Unsupported(reason)
}
