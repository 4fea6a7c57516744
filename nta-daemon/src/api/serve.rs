//! Connections: how many there are at once, and how long a client may take to ask.
//!
//! There is a bound, as each takes a descriptor that the database may need. At the bound the oldest one that has never asked
//! anything goes, then the oldest one that is idle; where all are being answered, the next one waits in the kernel's queue.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::guard::Ends;
use super::tls::Tls;
use super::wire::{HEAD_BYTES, Shared, Wire};
use crate::descriptors;

/// What a server allows.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    /// Connections at once: at most three quarters of the descriptors that the process may have, and what the rest of it leaves.
    pub(super) connections: usize,
    /// In which a client has to have sent the head of a request, the first one and each further one.
    pub(super) head_within: Duration,
    /// What TLS is spoken with; `None` for plain HTTP. The handshake takes no longer than the head of a request may.
    pub(super) tls: Option<Arc<Tls>>,
}

impl Default for Allowed {
    fn default() -> Self {
        Self::of(MOST_CONNECTIONS)
    }
}

impl Allowed {
    /// So many connections, or as many as there are descriptors for.
    pub(super) fn of(most: usize) -> Self {
        let descriptors = descriptors::allowed();
        let left =
            usize::try_from((descriptors / 4 * 3).min(descriptors.saturating_sub(OF_THE_REST))).unwrap_or(usize::MAX);
        Self { connections: most.min(left).max(1), head_within: Duration::from_secs(10), tls: None }
    }
}

/// Half of the descriptors that a service has unless it asks for more.
const MOST_CONNECTIONS: usize = 512;
/// Descriptors of everything else: 53 at rest with one interface, some forty maps and programs again while an interface is added,
/// a dozen files of connections to the database (108 were counted at once), and a quarter of that for what comes and goes.
const OF_THE_REST: u64 = 136;
/// Wait before the next connection is accepted when the system has no room for one.
const FULL_WAIT: Duration = Duration::from_millis(100);
/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    freed: Notify,
    next: AtomicU64,
    closed_early: AtomicU64,
}

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Requests that are being answered.
    pub(super) under_way: AtomicUsize,
    /// Requests that have begun.
    pub(super) asked: AtomicU64,
    /// Cancelled when it has to make room.
    makes_room: CancellationToken,
}

impl Connections {
    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many had to make room for others.
    pub(super) fn closed_early(&self) -> u64 {
        self.closed_early.load(Relaxed)
    }

    fn add(self: &Arc<Self>) -> Entry {
        let (id, connection) = (self.next.fetch_add(1, Relaxed), Arc::default());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(&connection));
        Entry { id, connection, all: Arc::clone(self) }
    }

    /// Has the one that is missed least make room; whether there is such a one.
    fn make_room(&self) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = open
            .iter()
            .filter(|(_, connection)| connection.under_way.load(Relaxed) == 0 && !connection.makes_room.is_cancelled());
        let least = idle.min_by_key(|(id, connection)| (connection.asked.load(Relaxed) > 0, **id));
        let Some((_, connection)) = least else { return false };
        connection.makes_room.cancel();
        self.closed_early.fetch_add(1, Relaxed);
        true
    }

    /// Returns when there is room for one more: when one that had to make it is closed, as until then it has its descriptor.
    async fn room(&self, most: usize) {
        let mut makes_room = false;
        while self.open() >= most {
            let freed = self.freed.notified();
            makes_room = makes_room || self.make_room();
            if self.open() >= most {
                freed.await;
            }
        }
    }
}

/// A connection's place among the open ones, until it is dropped.
struct Entry {
    id: u64,
    connection: Arc<Connection>,
    all: Arc<Connections>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.all.freed.notify_one();
    }
}

/// A connection's place, for what goes on with it when HTTP has ended.
#[derive(Clone)]
pub(super) struct Held(Arc<Entry>);

impl Held {
    /// Keeps the place, and the connection from making room, until it is dropped.
    pub(super) fn under_way(self) -> impl Send {
        (UnderWay::begin(&self.0.connection), self)
    }
}

/// A request that is being answered, until the answer's last byte.
struct UnderWay(Arc<Connection>);

impl UnderWay {
    fn begin(connection: &Arc<Connection>) -> Self {
        connection.under_way.fetch_add(1, Relaxed);
        connection.asked.fetch_add(1, Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// Serves until `shutdown` completes, then lets open requests finish.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: Arc<Connections>,
    allowed: Allowed,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let ends = CancellationToken::new();
    let mut shutdown = pin!(shutdown);
    let mut refused = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::select! {
                    () = connections.room(allowed.connections) => {}
                    () = &mut shutdown => break,
                }
                let entry = connections.add();
                begin(stream, router.clone(), entry, &allowed, ends.clone());
            }
            // The client has gone already, or there are no descriptors.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                refused += 1;
                // The first, the second, the fourth and so on: a log that is full of it says no more.
                if refused.is_power_of_two() {
                    tracing::warn!(%error, refused, "cannot accept a connection; idle ones make room");
                }
                connections.make_room();
                sleep(FULL_WAIT).await;
            }
        }
    }
    drop(listener);
    ends.cancel();
    while connections.open() > 0 {
        connections.freed.notified().await;
    }
    Ok(())
}

/// Begins a connection, in a task that has no room for TLS where that is not spoken: readers of events have one each for hours.
fn begin(stream: TcpStream, router: Router, entry: Entry, allowed: &Allowed, ends: CancellationToken) {
    let both = Ends::of(&stream, allowed.tls.is_some());
    let _may_wait = stream.set_nodelay(true);
    let head_within = allowed.head_within;
    match &allowed.tls {
        None => drop(tokio::spawn(talk(stream, both, router, entry, head_within, ends))),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls.config());
            drop(tokio::spawn(agree(stream, acceptor, both, router, entry, head_within, ends)));
        }
    }
}

/// The same by TLS, once both sides have agreed on it, which a client that is silent does not delay for ever.
async fn agree(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    both: Ends,
    router: Router,
    entry: Entry,
    head_within: Duration,
    ends: CancellationToken,
) {
    let makes_room = entry.connection.makes_room.clone();
    let agreed = tokio::select! {
        agreed = timeout(head_within, acceptor.accept(stream)) => agreed,
        () = makes_room.cancelled() => return,
        () = ends.cancelled() => return,
    };
    // What goes wrong with one connection is its client's to see.
    if let Ok(Ok(stream)) = agreed {
        talk(stream, both, router, entry, head_within, ends).await;
    }
}

/// Answers what comes by one connection.
async fn talk<S>(stream: S, both: Ends, router: Router, entry: Entry, head_within: Duration, ends: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let held = Held(Arc::new(entry));
    // Until the last byte is written.
    let _place = held.clone();
    let connection = Arc::clone(&held.0.connection);
    let makes_room = connection.makes_room.clone();
    let wire = Shared::new(Wire::new(stream, Arc::clone(&connection), ends.clone()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let under_way = UnderWay::begin(&connection);
        request.extensions_mut().insert(ConnectInfo(both));
        request.extensions_mut().insert(held.clone());
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let answer = answer.await?;
            // Dropped with the body, behind its last byte.
            Ok::<_, std::convert::Infallible>(answer.map(|body| {
                body.map_err(move |error| {
                    let _is_held = &under_way;
                    error
                })
            }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_within).max_buf_size(HEAD_BYTES);
    let ended = {
        let mut talk = pin!(http.serve_connection(TokioIo::new(wire.clone()), service).with_upgrades());
        tokio::select! {
            ended = talk.as_mut() => ended,
            () = makes_room.cancelled() => return,
            () = ends.cancelled() => {
                talk.as_mut().graceful_shutdown();
                talk.await
            }
        }
    };
    // What else goes wrong with one connection is its client's to see.
    if ended.is_err_and(|error| error.is_timeout()) {
        wire.refuse_late().await;
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
