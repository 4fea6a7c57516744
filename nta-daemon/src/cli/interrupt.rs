//! Ctrl-C and SIGTERM in a command that works on captures: the first one ends the work in order, the second one the process.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::say;
use crate::app::Stops;
use crate::telemetry::LOG;

/// A signal that comes so soon is the first one again: `timeout` and `sudo` send it to the process and to its group.
const SAME: Duration = Duration::from_millis(500);

/// Calls `first` with the first signal's name.
///
/// # Errors
/// When the signals cannot be caught.
pub(super) fn catch(first: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stops = {
        let _inside = runtime.enter();
        Stops::catch()?
    };
    let wait = move || runtime.block_on(end(stops, first));
    std::thread::Builder::new().name("nta-signals".to_owned()).spawn(wait).map(drop)
}

/// What the first signal cancels.
///
/// # Errors
/// When the signals cannot be caught.
pub(super) fn token() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    catch(move |signal| {
        tracing::info!(signal, "stopping; a second signal ends it at once");
        stopped.cancel();
    })?;
    Ok(stop)
}

/// Whether a result is being written, which is written whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Saving(Arc<Mutex<bool>>);

impl Saving {
    /// From now on a signal no longer ends the process at once.
    pub(super) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// The first signal ends the process with `status` and these words, unless the result is being written.
    ///
    /// # Errors
    /// When the signals cannot be caught.
    pub(super) fn or_end(&self, status: u8, words: &'static str) -> io::Result<()> {
        let saving = self.clone();
        catch(move |name| {
            // Held until the end: what is not being written now is not begun.
            let is_saving = saving.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !*is_saving {
                say(&format!("{name}: {words}"));
                LOG.finish();
                std::process::exit(status.into());
            }
        })
    }
}

/// Waits for the signals.
async fn end(mut stops: Stops, first: impl FnOnce(&'static str)) {
    first(stops.next().await);
    let came = Instant::now();
    loop {
        let name = stops.next().await;
        if came.elapsed() >= SAME {
            say(&format!("a second signal, {name}: ended at once"));
            LOG.finish();
            std::process::exit(if name == "SIGINT" { 130 } else { 143 });
        }
    }
}
