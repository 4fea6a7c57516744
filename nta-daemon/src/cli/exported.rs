//! `replay --format csv` and `--format eve`: what a replay finds, by the writers of `export`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use super::format::Format;
use crate::export::{self, ConnLog, Encoder, ExportError, What, eve, ipfix};
use crate::json::{AlertJson, DnsJson, FlowJson, WindowJson};
use nta_core::detect::Networks;
use nta_core::domain::{Alert, DnsMessage, FlowRecord, Timestamp};

/// The files that are being written.
pub(super) struct Exported {
    /// Flows, windows, alerts: those of them that are written.
    tables: Vec<Table>,
    /// Where events go; they share one file.
    events: Option<Output>,
}

struct Table {
    what: What,
    encoder: Encoder,
    to: Option<Output>,
}

pub(super) type Output = BufWriter<Box<dyn Write + Send>>;

/// Begins `conn.log` in the folder, or on standard output.
pub(super) fn conn_log(folder: Option<&Path>, local: Networks) -> io::Result<ConnLog<Output>> {
    Ok(ConnLog::new(place(folder, "conn.log")?, local))
}

/// Begins a file in the folder, which is made, or standard output.
fn place(folder: Option<&Path>, name: &str) -> io::Result<Output> {
    let to: Box<dyn Write + Send> = match folder {
        Some(folder) => {
            make(folder)?;
            Box::new(File::create(folder.join(name))?)
        }
        None => Box::new(io::stdout()),
    };
    Ok(BufWriter::new(to))
}

/// A file of IPFIX messages (RFC 5655): the templates, and flows as they end.
pub(super) struct IpfixFile {
    to: Output,
    encoder: ipfix::Encoder,
    /// When the last flow was seen last: messages are of the capture's time, so that they are the same at every run.
    at: Timestamp,
    has_templates: bool,
}

impl IpfixFile {
    /// Begins `flows.ipfix` in the folder, or standard output, unless that is a terminal.
    pub(super) fn create(folder: Option<&Path>) -> io::Result<Self> {
        if folder.is_none() && io::stdout().is_terminal() {
            return Err(io::Error::other("IPFIX is binary: send it into a file or name --output FOLDER"));
        }
        let to = place(folder, "flows.ipfix")?;
        Ok(Self { to, encoder: ipfix::Encoder::new(1), at: Timestamp::default(), has_templates: false })
    }

    /// A flow that is over.
    pub(super) fn flow(&mut self, flow: &FlowRecord) -> io::Result<()> {
        self.at = self.at.max(flow.last);
        let full = self.encoder.add(&ipfix::Part::whole(flow), self.at);
        self.write(full)
    }

    fn write(&mut self, message: Option<Vec<u8>>) -> io::Result<()> {
        let Some(message) = message else { return Ok(()) };
        if !std::mem::replace(&mut self.has_templates, true) {
            self.to.write_all(&ipfix::templates_before(&message))?;
        }
        self.to.write_all(&message)
    }

    /// The rest.
    pub(super) fn end(mut self) -> io::Result<()> {
        let rest = self.encoder.take(self.at);
        self.write(rest)?;
        self.to.flush()
    }
}

/// Makes a folder in one that exists. Those above it are not made: with a slip in the path the files would be somewhere else.
fn make(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Ok(()) => {
            tracing::info!(folder = %folder.display(), "made");
            Ok(())
        }
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = folder.parent().unwrap_or(folder).display();
            Err(io::Error::new(error.kind(), format!("there is no folder {above}: it is not made on the way")))
        }
        Err(error) => Err(error),
    }
}

impl Exported {
    /// Begins the files of a format; `None` for formats that are none of an export. CSV on standard output is the table of flows; in a
    /// folder there are `flows.csv`, `windows.csv` and `alerts.csv`. EVE is one file, `eve.json`.
    pub(super) fn create(format: Format, folder: Option<&Path>) -> io::Result<Option<Self>> {
        let as_format = match format {
            Format::Csv => export::Format::Csv,
            Format::Eve => export::Format::Eve,
            _ => return Ok(None),
        };
        let is_csv = format == Format::Csv;
        let whats = [What::Flows, What::Windows, What::Alerts];
        let mut tables = Vec::new();
        for what in whats.into_iter().filter(|what| !is_csv || folder.is_some() || *what == What::Flows) {
            let to = if is_csv { Some(place(folder, &format!("{}.csv", what.word()))?) } else { None };
            let encoder = Encoder::new(what, as_format).map_err(io::Error::other)?;
            tables.push(Table { what, encoder, to });
        }
        Ok(Some(Self { tables, events: if is_csv { None } else { Some(place(folder, "eve.json")?) } }))
    }

    /// A flow that is over.
    pub(super) fn flow(&mut self, flow: &FlowJson) -> io::Result<()> {
        self.item(What::Flows, |encoder| encoder.item(flow))
    }

    /// A base window.
    pub(super) fn window(&mut self, window: &WindowJson) -> io::Result<()> {
        self.item(What::Windows, |encoder| encoder.item(window))
    }

    /// A DNS message, where the format has events.
    pub(super) fn dns(&mut self, message: &DnsMessage) -> io::Result<()> {
        let Some(to) = &mut self.events else { return Ok(()) };
        for event in eve::dns(&DnsJson::from(message)) {
            serde_json::to_writer(&mut *to, &event)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The alerts, each once in its last state, and the rest of the files.
    pub(super) fn end(mut self, alerts: &[Alert]) -> io::Result<()> {
        for alert in alerts {
            let alert = AlertJson::from(alert);
            self.item(What::Alerts, |encoder| encoder.item(&alert))?;
        }
        for Table { encoder, to, .. } in self.tables {
            let rest = encoder.end().map_err(io::Error::other)?;
            // An event has nothing behind the last one.
            if let Some(mut to) = to {
                to.write_all(&rest)?;
                to.flush()?;
            }
        }
        self.events.map_or(Ok(()), |mut to| to.flush())
    }

    /// Writes out what is there: whoever reads has what ended with a window.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut outputs = self.tables.iter_mut().filter_map(|table| table.to.as_mut()).chain(&mut self.events);
        outputs.try_for_each(Write::flush)
    }

    fn item(&mut self, what: What, write: impl FnOnce(&mut Encoder) -> Result<(), ExportError>) -> io::Result<()> {
        let Some(table) = self.tables.iter_mut().find(|table| table.what == what) else { return Ok(()) };
        write(&mut table.encoder).map_err(io::Error::other)?;
        let to = table.to.as_mut().or(self.events.as_mut());
        to.map_or(Ok(()), |to| to.write_all(&table.encoder.take()))
    }
}
