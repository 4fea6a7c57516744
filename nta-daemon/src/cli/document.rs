//! One JSON document on standard output, written as it is made: first its windows, each when it closes, then what is known
//! only at the end.

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use crate::json::WindowJson;

/// A document of which only what is not written yet is in memory.
#[derive(Default)]
pub(super) struct JsonDocument {
    /// Opened by the first write, so that a capture that is refused prints nothing.
    out: Option<BufWriter<Stdout>>,
}

impl JsonDocument {
    /// Writes the next window.
    pub(super) fn window(&mut self, window: &WindowJson) -> io::Result<()> {
        let before: &[u8] = if self.out.is_some() { b"," } else { OPENING };
        let out = self.out.get_or_insert_with(|| BufWriter::new(io::stdout()));
        out.write_all(before)?;
        Ok(serde_json::to_writer(out, window)?)
    }

    /// Writes the fields of `rest`, which is a struct, and closes the document.
    pub(super) fn end(self, rest: &impl Serialize) -> io::Result<()> {
        let before: &[u8] = if self.out.is_some() { b"]," } else { b"{\"windows\":[]," };
        let mut out = self.out.unwrap_or_else(|| BufWriter::new(io::stdout()));
        out.write_all(before)?;
        serde_json::to_writer(WithoutBrace { out: &mut out, is_open: false }, rest)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// Leaves the first byte out: the brace of an object whose fields go on in another.
struct WithoutBrace<W> {
    out: W,
    is_open: bool,
}

impl<W: Write> Write for WithoutBrace<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_open || bytes.is_empty() {
            return self.out.write(bytes);
        }
        self.is_open = true;
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const OPENING: &[u8] = b"{\"windows\":[";
