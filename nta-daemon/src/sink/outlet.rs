//! A way out over a socket, opened when there is something to send.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::{Url, UrlKind};

/// How long who is spoken to has to take a connection or what is written.
const PATIENCE: Duration = Duration::from_secs(5);

/// A way to one place.
#[derive(Debug)]
pub(super) struct Outlet {
    scheme: String,
    place: String,
    open: Option<Open>,
}

#[derive(Debug)]
enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Outlet {
    /// To a place by udp, tcp or unix.
    pub(super) fn new<K: UrlKind>(to: &Url<K>) -> Self {
        Self { scheme: to.scheme().to_owned(), place: to.place().to_owned(), open: None }
    }

    /// Opens it unless it is open, and says whether it did.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        if self.open.as_ref().is_some_and(|open| !open.is_over()) {
            return Ok(false);
        }
        self.open = None;
        self.open = Some(match self.scheme.as_str() {
            "unix" => {
                let stream = UnixStream::connect(&self.place)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Open::Unix(stream)
            }
            "udp" => first(&self.place, |address| {
                let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Open::Udp(socket))
            })?,
            _ => first(&self.place, |address| {
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Open::Tcp(stream))
            })?,
        });
        Ok(true)
    }

    /// Writes all of it, over a way that is open; a failure closes it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match &mut self.open {
            None => Err(io::ErrorKind::NotConnected.into()),
            Some(Open::Udp(socket)) => socket.send(bytes).map(drop),
            Some(Open::Tcp(stream)) => stream.write_all(bytes),
            Some(Open::Unix(stream)) => stream.write_all(bytes),
        };
        written.map_err(|error| {
            self.open = None;
            let is_late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            if is_late {
                let said = format!("nothing was taken for {} s", PATIENCE.as_secs());
                io::Error::new(io::ErrorKind::TimedOut, said)
            } else {
                error
            }
        })
    }
}

impl Open {
    /// Whether the other side has closed it: what is written then is taken by this machine, and lost. A socket of this machine refuses it.
    fn is_over(&self) -> bool {
        let Self::Tcp(stream) = self else { return false };
        let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let is_over = match looked {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        is_over || stream.set_nonblocking(false).is_err()
    }
}

/// The first of a name's addresses that can be opened.
fn first(place: &str, open: impl Fn(SocketAddr) -> io::Result<Open>) -> io::Result<Open> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in place.to_socket_addrs()? {
        match open(address) {
            Ok(open) => return Ok(open),
            Err(why) => error = why,
        }
    }
    Err(error)
}
