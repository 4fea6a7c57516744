//! The signals that the daemon answers.

use tokio::signal::unix::{self, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM, by name: end, with everything stored.
    Stop(&'static str),
    /// SIGHUP: read the configuration again.
    Hangup,
}

/// SIGINT, SIGTERM and SIGHUP, caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    stops: Stops,
    hangup: unix::Signal,
    /// One that came during the start.
    before: Option<&'static str>,
}

impl Signals {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system has no room for a handler.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { stops: Stops::catch()?, hangup: signal(SignalKind::hangup())?, before: None })
    }

    /// Waits for one of them; one that came before counts.
    pub async fn next(&mut self) -> Signal {
        if let Some(name) = self.before.take() {
            return Signal::Stop(name);
        }
        tokio::select! {
            name = self.stops.next() => Signal::Stop(name),
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }
}

impl Signals {
    /// Waits for one that asks to end, and answers its name; [`Self::next`] answers it once more.
    pub async fn stop(&mut self) -> &'static str {
        let name = self.stops.next().await;
        self.before = Some(name);
        name
    }
}

/// SIGINT and SIGTERM, caught from the moment this is made.
#[derive(Debug)]
pub struct Stops {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Stops {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the system has no room for a handler.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one of them, and answers its name; one that came before counts.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
