//! `anonymize`: a capture that may be shown.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::captures::end;
use super::{EXIT_INCOMPLETE, EXIT_USAGE, fail};
use crate::anonymize::Anonymizer;
use nta_capture::{CaptureReader, LinkType, PcapWriter};

/// Flags of `anonymize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon anonymize --key site.key capture.pcap --output shown.pcap\n  \
    nta-daemon replay --format json shown.pcap        # a report without anybody's addresses")]
pub(super) struct Args {
    /// Capture: pcap or pcapng, plain, gzip or zstd compressed; - for standard input.
    #[arg(value_name = "PATH")]
    capture: PathBuf,
    /// File of the key, 64 hexadecimal digits; it is made if it is not there. The same key gives the same addresses.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Capture that is written, pcap with nanoseconds; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// The longest packet that the written file may have.
const SNAP_LENGTH: u32 = 262_144;

pub(super) fn execute(args: &Args) -> ExitCode {
    let anonymizer = match Anonymizer::from_file(&args.key) {
        Ok(anonymizer) => anonymizer,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let mut capture = match nta_capture::open(&args.capture) {
        Ok(capture) => capture,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if let Err(error) = write(&mut capture, anonymizer, &args.output) {
        let status = if error.kind() == io::ErrorKind::AlreadyExists { EXIT_USAGE } else { 1 };
        return fail(status, &format_args!("{}: {error}", args.output.display()));
    }
    match end(capture.end()) {
        (state, Some(detail)) => {
            let name = args.capture.display();
            fail(EXIT_INCOMPLETE, &format_args!("{name}: {state}: {detail}; written up to there"))
        }
        (_, None) => ExitCode::SUCCESS,
    }
}

fn write(capture: &mut CaptureReader, mut anonymizer: Anonymizer, output: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(output)?;
    let mut writer = PcapWriter::new(BufWriter::new(file), LinkType::ETHERNET, SNAP_LENGTH)?;
    let mut shown = Vec::new();
    while let Some(frame) = capture.next_frame() {
        shown.clear();
        shown.extend_from_slice(frame.data);
        anonymizer.frame(&mut shown);
        writer.packet(frame.time_ns, frame.wire_len, &[&shown])?;
    }
    let mut to = writer.into_inner();
    to.flush()
}
