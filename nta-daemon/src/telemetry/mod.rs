//! The log: lines on their way to standard error. Who logs never waits for who reads them: a pipe that nobody empties would hold
//! up the start, whichever thread has something to say, and the end.
//!
//! `tracing-appender` does the first half. It does not say when lines are read again, and an error before the exit would still go
//! by the blocked pipe, as would a panic.

mod records;
mod secrets;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, Registry, reload};

pub use records::{MAX_RECORDS, RECORDS, Record, RecordCounts, Records, RecordsLayer};

thread_local! {
    /// Whether this thread is the one that writes the lines of others.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The log of this process, as standard error is the process's.
pub static LOG: Log = Log::new();

/// By which what is logged changes, once something is.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is logged, from these directives on until others are given.
///
/// # Errors
/// When they are none.
pub fn filter(directives: &str) -> Result<reload::Layer<EnvFilter, Registry>, ParseError> {
    let (layer, handle) = reload::Layer::new(EnvFilter::try_new(directives)?);
    let _earlier = FILTER.set(handle); // a process has one log
    Ok(layer)
}

/// Has these directives say what is logged from now on.
pub fn change_filter(directives: &str) {
    if let (Some(handle), Ok(filter)) = (FILTER.get(), EnvFilter::try_new(directives))
        && let Err(error) = handle.reload(filter)
    {
        tracing::warn!(%error, "what is logged stays as it was");
    }
}

/// Lines that wait for a thread that writes them.
#[derive(Debug)]
pub struct Log {
    queue: Mutex<Queue>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether a thread writes them; it may be at a line that is in the queue no more.
    is_read: bool,
    is_writing: bool,
}

impl Log {
    const fn new() -> Self {
        let queue = Queue { lines: VecDeque::new(), bytes: 0, is_read: false, is_writing: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new(), lost: AtomicU64::new(0) }
    }

    /// Begins to write to standard error, panics too.
    ///
    /// # Errors
    /// When there is no thread for it, or no descriptor.
    pub fn start(&'static self) -> io::Result<()> {
        // Another descriptor, since the lock of `io::stderr()` would be held by a write that waits.
        let mut out = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned()?);
        thread::Builder::new().name("log".to_owned()).spawn(move || self.write_to(&mut out))?;
        self.lock().is_read = true;
        std::panic::set_hook(Box::new(|panic| {
            let thread = thread::current();
            let trace = std::backtrace::Backtrace::capture();
            LOG.push(format!("thread '{}' {panic}\n{trace}\n", thread.name().unwrap_or("unnamed")).as_bytes());
        }));
        Ok(())
    }

    /// Lines that nobody will read: there was no room for them, or standard error is closed.
    pub fn lines_lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Says a line that decides what the exit status is about: it has room where others have none.
    pub fn say(&self, line: &str) {
        let mut queue = self.lock();
        if queue.is_read {
            queue.add(format!("{line}\n").into_bytes());
            self.changed.notify_all();
        } else {
            drop(queue);
            let _closed = writeln!(io::stderr(), "{line}");
        }
    }

    /// Waits until everything is written, but no longer than a reader may be away.
    pub fn finish(&self) {
        let queue = self.lock();
        let wait = |queue: &mut Queue| queue.is_read && (queue.is_writing || !queue.lines.is_empty());
        drop(self.changed.wait_timeout_while(queue, PATIENCE, wait));
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        // The note of what was lost would be lost with the rest, and its number with it: it is one line at a time.
        if !IS_WRITER.get() && queue.bytes + line.len() > MAX_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else {
            queue.add(line.to_vec());
            self.changed.notify_all();
        }
    }

    /// Writes line after line, for ever. Once it has caught up, it says how many were lost meanwhile.
    fn write_to(&self, out: &mut impl Write) {
        IS_WRITER.set(true);
        let mut reported = 0;
        loop {
            let (line, has_caught_up) = self.next();
            if write_whole(out, &line).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else if has_caught_up && self.lines_lost() > reported {
                let lines = self.lines_lost() - reported;
                reported += lines;
                tracing::warn!(lines, "log lines are lost: standard error was not read");
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// The next line, once there is one, and whether it is the last.
    fn next(&self) -> (Vec<u8>, bool) {
        let mut queue = self.lock();
        loop {
            if let Some(line) = queue.take() {
                return (line, queue.lines.is_empty());
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn add(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// The next line, which is being written from now on.
    fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        self.is_writing = true;
        Some(line)
    }
}

/// Where a subscriber writes: each call is one line.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for &'static Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self
    }
}

/// Writes all of it, also where someone else has made the descriptor one that does not wait.
fn write_whole(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What waits at most, about 1,500 lines.
const MAX_BYTES: usize = 256 << 10;
/// How long the end of the process waits for the last lines to be read.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(20);

/// What a test logs on its own thread. The subscriber is the process's: one of a thread alone hears nothing from a line of code that
/// another thread, without one, came by first.
#[cfg(test)]
pub(crate) mod heard {
    use std::cell::RefCell;
    use std::io::{self, Write};
    use std::sync::Once;

    thread_local! {
        static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    struct Lines;

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Begins to listen, or forgets what was said so far.
    pub(crate) fn begin() {
        static LISTENS: Once = Once::new();
        LISTENS.call_once(|| {
            let log = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines).finish();
            tracing::subscriber::set_global_default(log).expect("no other subscriber");
        });
        LINES.with_borrow_mut(Vec::clear);
    }

    /// How often this was said since then.
    pub(crate) fn count(part: &str) -> usize {
        LINES.with_borrow(|lines| String::from_utf8_lossy(lines).matches(part).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn lines_that_nobody_reads_are_counted_and_the_others_come_whole_and_in_order() {
        static LOG: Log = Log::new();
        let (mut reader, mut writer) = io::pipe().expect("a pipe");
        LOG.lock().is_read = true;
        let line = |number: usize| format!("{number:01023}\n");
        for number in 0..2000 {
            LOG.push(line(number).as_bytes());
        }
        assert_eq!(LOG.lines_lost(), 2000 - 256, "256 KiB of lines of a kibibyte each");
        LOG.say("the reason");
        thread::spawn(move || LOG.write_to(&mut writer));
        let mut read = vec![0; MAX_BYTES + "the reason\n".len()];
        reader.read_exact(&mut read).expect("all of it");
        let expected: String = (0..256).map(line).chain(["the reason\n".to_owned()]).collect();
        assert!(read == expected.as_bytes());
        LOG.finish();
        // A reader that is gone ends nothing.
        drop(reader);
        LOG.push(b"one more\n");
        LOG.finish();
        assert_eq!(LOG.lines_lost(), 2000 - 256 + 1);
    }

    #[test]
    fn what_the_writer_says_of_lost_lines_is_not_lost_itself() {
        static LOG: Log = Log::new();
        while LOG.lines_lost() == 0 {
            LOG.push(&[b'x'; 1024]);
        }
        let note = || {
            IS_WRITER.set(true);
            LOG.push(b"1 line is lost");
        };
        thread::spawn(note).join().expect("no panic");
        assert_eq!(LOG.lines_lost(), 1);
        assert_eq!(LOG.lock().lines.back().map(Vec::as_slice), Some(b"1 line is lost".as_slice()));
    }

    #[test]
    fn a_test_hears_its_own_lines_also_where_another_thread_came_first() {
        let line = || tracing::warn!("a line of code");
        heard::begin();
        thread::spawn(line).join().expect("no panic");
        assert_eq!(heard::count("a line of code"), 0);
        line();
        assert_eq!(heard::count("a line of code"), 1);
    }
}
