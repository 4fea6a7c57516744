//! What goes over a connection beside what handlers answer: problems in the place of hyper's empty refusals, and bytes that a client
//! still sends when its answer is complete.
//!
//! Hyper refuses by itself what is no request: with a status and an empty body, or, when the head does not come in time, without a word.
//! Which bytes are its own is known by when they come and not by what they look like: all that was answered before is flushed, and no
//! request has begun since.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::error::{PROBLEM_TYPE, Problem};
use super::serve::Connection;

/// Most bytes of a request's head, and of what is kept of a body or an answer at a time.
pub(super) const HEAD_BYTES: usize = 128 * 1024;
/// Most header fields of a request, as hyper has it.
pub(super) const HEAD_FIELDS: usize = 100;
/// What is read of a client that still sends when its answer is complete: bytes, and time without any. A connection that is closed
/// while something comes is reset, and the answer with it.
const LINGER_BYTES: usize = 256 << 20;
const LINGER_WAIT: Duration = Duration::from_millis(500);
/// In which a client has to take the refusal of a head that came too slowly.
const REFUSAL_WITHIN: Duration = Duration::from_secs(1);

/// A connection as hyper sees it. When the server ends it, it goes on taking what the client sends, as far as the bounds allow.
pub(super) struct Wire<S> {
    stream: S,
    connection: Arc<Connection>,
    /// Cancelled when the server ends, which waits for nobody.
    ends: CancellationToken,
    left: usize,
    /// Once nothing more is written: when enough time has passed without a byte.
    wait: Option<Pin<Box<Sleep>>>,
    /// How many requests had begun when all that was answered had been written.
    flushed: Option<u64>,
    /// What is written in the place of hyper's refusal, as far as it is not yet.
    own: Vec<u8>,
    head: Head,
}

/// What has come of the head that hyper waits for.
#[derive(Default)]
struct Head {
    /// Requests that had begun before it.
    behind: u64,
    has_bytes: bool,
    /// Whether its first line is complete.
    has_line: bool,
}

impl Head {
    /// Whether all that has come is a line without an end. Where a head behind another request begins is not known.
    const fn is_one_line(&self) -> bool {
        self.behind == 0 && !self.has_line
    }
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>, ends: CancellationToken) -> Self {
        let (left, head) = (LINGER_BYTES, Head::default());
        Self { stream, connection, ends, left, wait: None, flushed: Some(0), own: Vec::new(), head }
    }

    /// Notes what comes while no request is under way.
    fn note(&mut self, bytes: &[u8]) {
        let begun = self.connection.asked.load(Relaxed);
        if self.head.behind != begun {
            self.head = Head { behind: begun, ..Head::default() };
        }
        if self.connection.under_way.load(Relaxed) == 0 {
            self.head.has_bytes |= !bytes.is_empty();
            self.head.has_line |= bytes.contains(&b'\n');
        }
    }

    /// What to say in the place of these bytes, if they are a refusal of hyper's.
    fn refusal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let is_idle = self.connection.under_way.load(Relaxed) == 0;
        if !is_idle || self.flushed != Some(self.connection.asked.load(Relaxed)) {
            return None;
        }
        let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let (status, detail) = match StatusCode::from_u16(status).ok()? {
            StatusCode::BAD_REQUEST => {
                (StatusCode::BAD_REQUEST, "this is no request as RFC 9112 (HTTP/1.1) has it".to_owned())
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if !self.head.is_one_line() => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("the head has more than {HEAD_FIELDS} fields, or more than {HEAD_BYTES} bytes"),
            ),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => {
                (StatusCode::URI_TOO_LONG, "the target is longer than any that this server has".to_owned())
            }
            _ => return None,
        };
        let date = fields.split("\r\n").find(|field| field.to_ascii_lowercase().starts_with("date:"));
        Some(whole(status, detail, date))
    }

    /// What to say to a client whose head did not come in time: nothing if it has not begun one.
    fn late(&self) -> Option<Vec<u8>> {
        let is_begun = self.head.has_bytes && self.head.behind == self.connection.asked.load(Relaxed);
        let detail = "the head of the request did not come to its end in time".to_owned();
        is_begun.then(|| whole(StatusCode::REQUEST_TIMEOUT, detail, None))
    }
}

/// An answer to what is no request, behind which the connection ends.
fn whole(status: StatusCode, detail: String, date: Option<&str>) -> Vec<u8> {
    let body = serde_json::to_string(&Problem::new(status, detail)).unwrap_or_default();
    let reason = status.canonical_reason().unwrap_or_default();
    let date = date.map(|date| format!("{date}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {PROBLEM_TYPE}\r\ncontent-length: {}\r\nconnection: close\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\n{date}\r\n{body}",
        status.as_u16(),
        body.len()
    )
    .into_bytes()
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Writes what is said in the place of hyper's refusal.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.own))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.note(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(own) = self.refusal(bytes) {
            // Written by the flush that follows.
            self.own = own;
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// Hyper flushes when it has handed over all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let is_idle = self.connection.under_way.load(Relaxed) == 0;
        self.flushed = is_idle.then(|| self.connection.asked.load(Relaxed));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        let Self { stream, ends, left, wait, .. } = &mut *self;
        if wait.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        let wait = wait.get_or_insert_with(|| Box::pin(sleep(LINGER_WAIT)));
        let mut bytes = [0; 8192];
        while *left > 0 && !ends.is_cancelled() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    *left = left.saturating_sub(buffer.filled().len());
                    wait.as_mut().set(sleep(LINGER_WAIT));
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(wait.as_mut().poll(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal is a head without anything behind it.
        if let [head] = bytes {
            return self.poll_write(cx, head);
        }
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A connection that hyper has, and that is there still when hyper has given it up.
pub(super) struct Shared<S>(Arc<Mutex<Wire<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shared<S> {
    pub(super) fn new(wire: Wire<S>) -> Self {
        Self(Arc::new(Mutex::new(wire)))
    }

    fn with<T>(&self, act: impl FnOnce(Pin<&mut Wire<S>>) -> T) -> T {
        act(Pin::new(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Says to the client that its head did not come in time, when hyper has let go of the connection for that.
    pub(super) async fn refuse_late(self) {
        let Some(wire) = Arc::into_inner(self.0) else { return };
        let mut wire = wire.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = wire.late() {
            wire.own = own;
            // Whether it is taken or not, the connection ends.
            let _taken = timeout(REFUSAL_WITHIN, wire.shutdown()).await;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Shared<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| wire.poll_read(cx, buffer))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Shared<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|wire| wire.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| wire.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|wire| wire.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|wire| wire.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.with(|wire| wire.is_write_vectored())
    }
}
