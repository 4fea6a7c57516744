//! The files of a recording: pcap with nanoseconds, turned over by size; when all of them would take more than they may, the
//! oldest goes, and is counted.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::PathBuf;

use crate::private;
use crate::source::kernel::packet_socket::Frame;
use nta_capture::{LinkType, PcapWriter, packet_bytes};

/// Of how many files a recording is when it has taken all that it may.
const FILES: u64 = 8;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFile {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Packets in it.
    pub packets: u64,
    /// Time of its first and last packet in nanoseconds since 1970.
    pub times: Option<[u64; 2]>,
}

/// Writes the files of one recording.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) folder: PathBuf,
    /// What their names begin with.
    pub(super) name: String,
    pub(super) link_type: LinkType,
    pub(super) snap_length: u32,
    /// Most bytes of all of them.
    pub(super) max_bytes: u64,
    open: Option<(RecordedFile, PcapWriter<BufWriter<File>>)>,
    whole: VecDeque<RecordedFile>,
    begun: u32,
    /// Whether others are gone on with: then a file without packets says nothing.
    goes_on: bool,
    /// Files that had to go, and packets in them.
    pub(super) deleted: [u64; 2],
}

impl Files {
    pub(super) fn new(
        (folder, name): (PathBuf, String),
        (link_type, snap_length): (LinkType, u32),
        max_bytes: u64,
    ) -> Self {
        let whole = VecDeque::new();
        Self {
            folder,
            name,
            link_type,
            snap_length,
            max_bytes,
            open: None,
            whole,
            begun: 0,
            goes_on: false,
            deleted: [0; 2],
        }
    }

    /// Goes on with the files that an earlier process left of the same, by the names that theirs begin with: they are the oldest.
    pub(super) fn after(mut self, prefix: &str) -> io::Result<Self> {
        let is_of = |name: &String| {
            let rest = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".pcap"));
            rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || b"-T.Z".contains(&byte)))
        };
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().filter(is_of);
            left.extend(name.map(|name| {
                let bytes = entry.metadata().map_or(0, |about| about.len());
                RecordedFile { name, bytes, packets: 0, times: None }
            }));
        }
        self.goes_on = true;
        left.sort_by(|a, b| a.name.cmp(&b.name));
        self.whole = left.into();
        // Those of a larger buffer go at once.
        let mut bytes: u64 = self.whole.iter().map(|file| file.bytes).sum();
        while bytes > self.max_bytes
            && let Some(oldest) = self.whole.pop_front()
        {
            fs::remove_file(self.folder.join(&oldest.name))?;
            bytes -= oldest.bytes;
        }
        Ok(self)
    }

    pub(super) fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let ethernet = self.link_type == LinkType::ETHERNET;
        // Behind both addresses; a frame that is cut before it has no place for it.
        let tag = frame.vlan.filter(|_| ethernet && frame.data.len() >= ADDRESSES);
        let tag_bytes = tag.map_or(0, |tag| tag.len());
        let captured = (frame.data.len() + tag_bytes).min(self.snap_length as usize);
        let added = packet_bytes(captured);
        if self.open.as_ref().is_some_and(|(file, _)| file.bytes + added > self.max_bytes / FILES) {
            self.finish()?;
        }
        if self.open.is_none() {
            self.begin()?;
        }
        let Some((file, to)) = &mut self.open else { return Ok(()) };
        let wire_len = frame.wire_len.saturating_add(tag_bytes as u32);
        let (addresses, rest) = frame.data.split_at(ADDRESSES.min(frame.data.len()));
        let mut left = captured;
        let parts = [addresses, tag.as_ref().map_or(&[][..], |tag| tag), rest].map(|part| {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            part
        });
        to.packet(frame.time_ns, wire_len, &parts)?;
        file.bytes += added;
        file.packets += 1;
        let [first, last] = file.times.unwrap_or([frame.time_ns; 2]);
        file.times = Some([first.min(frame.time_ns), last.max(frame.time_ns)]);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.begun += 1;
        let name = format!("{}-{:04}.pcap", self.name, self.begun);
        let file = private::make_file(&self.folder.join(&name))?;
        let to = PcapWriter::new(BufWriter::new(file), self.link_type, self.snap_length)?;
        self.open = Some((RecordedFile { name, bytes: to.bytes(), packets: 0, times: None }, to));
        // Room for the new one.
        while self.whole.len() as u64 >= FILES {
            let Some(oldest) = self.whole.pop_front() else { break };
            // One that somebody has deleted is gone as well.
            match fs::remove_file(self.folder.join(&oldest.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.deleted = [self.deleted[0] + 1, self.deleted[1] + oldest.packets];
        }
        Ok(())
    }

    /// Writes out what is there.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(_, to)| to.flush())
    }

    /// Closes the file that is open; the next packet begins another.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let Some((file, mut to)) = self.open.take() else { return Ok(()) };
        let flushed = to.flush();
        self.whole.push_back(file);
        flushed
    }

    /// Those that are there.
    pub(super) fn list(&self) -> Vec<RecordedFile> {
        self.whole.iter().chain(self.open.as_ref().map(|(file, _)| file)).cloned().collect()
    }

    /// Whether no packet was written.
    pub(super) const fn is_empty(&self) -> bool {
        self.begun == 0 && !self.goes_on
    }

    /// Begins a file without packets: who recorded nothing has that in writing.
    pub(super) fn begin_empty(&mut self) -> io::Result<()> {
        self.begin()
    }
}

/// Bytes of both addresses of an Ethernet frame.
const ADDRESSES: usize = 12;
