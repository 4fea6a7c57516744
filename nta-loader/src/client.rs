//! The daemon's end of the loader's socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nta_common::{LedgerSlot, TunnelPorts};
use nta_core::domain::Readings;

use crate::device::Device;
use crate::packet_socket::PacketSocketError;
use crate::wire::{self, Answer, AttachRequest, AttachedAnswer, LoaderStatus, PROTOCOL, Request};
use crate::{AttachOptions, Attached, Change, Handles, KernelOptions, SourceError};

/// How long the loader may take: the verifier needs half a second for each program, on a slow machine several.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process `nta-loader`, by its socket.
#[derive(Debug)]
pub struct LoaderClient {
    path: PathBuf,
    session: Option<UnixStream>,
}

impl LoaderClient {
    /// The loader that listens there.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, session: None }
    }

    /// How it is.
    ///
    /// # Errors
    /// When it does not answer, or speaks another version.
    pub fn status(path: &Path) -> Result<LoaderStatus, SourceError> {
        match ask(path, &connect(path)?, &Request::Status)? {
            (Answer::Status(status), _) if status.protocol == PROTOCOL => Ok(status),
            (Answer::Status(status), _) => Err(SourceError::Loader {
                path: path.to_owned(),
                reason: format!("version {} speaks another protocol: restart it", status.version),
            }),
            _ => Err(unexpected(path)),
        }
    }

    /// Attaches as [`crate::AttachedKernel::load_and_attach`] does; the loader decides where it pins.
    ///
    /// # Errors
    /// What the loader refuses, and when it is away.
    pub fn attach(
        &mut self,
        devices: &[Device],
        attach: &AttachOptions,
        options: &KernelOptions,
        readings: Option<&Readings>,
    ) -> Result<(Attached, Handles), SourceError> {
        self.session = Some(connect(&self.path)?);
        let (answer, handles) = self.ask_for(devices, attach, options, readings)?;
        Ok((answer.attached(), handles))
    }

    /// Changes the set of interfaces as [`crate::AttachedKernel::change`] does.
    ///
    /// # Errors
    /// What the loader refuses, and when it is away: then nothing has changed.
    pub fn change(
        &mut self,
        devices: &[Device],
        attach: &AttachOptions,
        options: &KernelOptions,
    ) -> Result<(Attached, Change, Handles), SourceError> {
        let (answer, handles) = self.ask_for(devices, attach, options, None)?;
        let change = Change {
            assigned: answer.assigned(),
            joins_translated: handles.has("NAT4"),
            refused: answer.refused.iter().cloned().map(SourceError::from).collect(),
            uncounted_ns: answer.uncounted_ns,
        };
        Ok((answer.attached(), change, handles))
    }

    fn ask_for(
        &self,
        devices: &[Device],
        attach: &AttachOptions,
        options: &KernelOptions,
        readings: Option<&Readings>,
    ) -> Result<(AttachedAnswer, Handles), SourceError> {
        let request = Request::Attach(Box::new(AttachRequest {
            protocol: PROTOCOL,
            interfaces: devices.iter().map(|device| device.name.clone()).collect(),
            mode: attach.mode,
            tcx_order: attach.tcx_order,
            map_memory_mib: options.map_memory_mib,
            tunnels: options.tunnels.map(|TunnelPorts { vxlan, geneve }| [vxlan, geneve]),
            events: options.events,
            readings: readings.map(Into::into),
        }));
        let session = self.session.as_ref().ok_or_else(|| gone(&self.path))?;
        match ask(&self.path, session, &request)? {
            (Answer::Attached(answer), descriptors) if descriptors.len() == answer.descriptors.len() => {
                let handles = Handles::named(answer.descriptors.clone(), descriptors);
                Ok((*answer, handles))
            }
            _ => Err(unexpected(&self.path)),
        }
    }

    /// Ends the session: the ledger held these rows at the last window, which ended at `until_ns` of the kernel's clock.
    ///
    /// # Errors
    /// When the loader is away, or cannot keep them.
    pub fn hand_over(&mut self, rows: &[LedgerSlot], until_ns: u64) -> Result<(), SourceError> {
        let Some(session) = self.session.take() else { return Err(gone(&self.path)) };
        let request = Request::Detach { handover: Some((wire::rows(rows), until_ns)) };
        ask(&self.path, &session, &request).map(drop)
    }

    /// Whether the session is there still.
    pub fn is_there(&self) -> bool {
        let mut byte = [0];
        let Some(session) = &self.session else { return false };
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        // Between two requests nothing comes: what can be read is the end.
        matches!(rustix::net::recv(session, &mut byte[..], flags), Err(rustix::io::Errno::AGAIN))
    }

    /// The kernel's table of connections, as it is now.
    ///
    /// # Errors
    /// When the loader is away, or refuses.
    pub fn connections(path: &Path) -> io::Result<OwnedFd> {
        one(path, &Request::Connections).map_err(io::Error::other)
    }

    /// A packet socket as [`crate::packet_socket::open`] makes it.
    ///
    /// # Errors
    /// When the loader is away, or refuses.
    pub fn packet_socket(
        path: &Path,
        device: &Device,
        filter: &[libc::sock_filter],
    ) -> Result<OwnedFd, PacketSocketError> {
        let filter = filter.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        let request = Request::PacketSocket { interface: device.name.clone(), filter };
        let failed = |error| PacketSocketError::Refused { step: "asking nta-loader", source: io::Error::other(error) };
        one(path, &request).map_err(failed)
    }
}

/// A request of its own, to which one descriptor is the answer.
fn one(path: &Path, request: &Request) -> Result<OwnedFd, SourceError> {
    let (_done, mut descriptors) = ask(path, &connect(path)?, request)?;
    descriptors.pop().ok_or_else(|| unexpected(path))
}

fn connect(path: &Path) -> Result<UnixStream, SourceError> {
    let failed = |error: io::Error| SourceError::Loader { path: path.to_owned(), reason: error.to_string() };
    let socket = UnixStream::connect(path).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    Ok(socket)
}

fn ask(path: &Path, socket: &UnixStream, request: &Request) -> Result<(Answer, Vec<OwnedFd>), SourceError> {
    let failed = |error: io::Error| SourceError::Loader { path: path.to_owned(), reason: error.to_string() };
    wire::send(socket, request, &[]).map_err(failed)?;
    match wire::receive(socket).map_err(failed)? {
        Some((Answer::Refused(refusal), _)) => Err(refusal.into()),
        Some(answer) => Ok(answer),
        None => Err(gone(path)),
    }
}

fn gone(path: &Path) -> SourceError {
    SourceError::Loader { path: path.to_owned(), reason: "it has ended the connection".to_owned() }
}

fn unexpected(path: &Path) -> SourceError {
    SourceError::Loader { path: path.to_owned(), reason: "it answers something else than was asked".to_owned() }
}
