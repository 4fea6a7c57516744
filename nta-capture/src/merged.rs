//! Several captures as one, by time: the files of a ring buffer, the two directions of a TAP, the sections of a file.

use std::fs::File;
use std::io::{Cursor, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ordered::{Clock, Ordered};
use super::sections::{self, Section};
use super::{CaptureError, CaptureReader, Compression, Container, End, Format, Frame, FrameFilter};

/// Captures that are read at the same time: each takes a descriptor and a buffer. Those that begin while as many are being
/// read wait for the end of one, and their frames are late.
const MOST_OPEN: usize = 128;

/// Captures, merged by time.
pub struct Merged {
    /// In order of their first frames.
    inputs: Vec<Input>,
    /// The first one that was not begun.
    next: usize,
    /// Those that are being read.
    active: Vec<usize>,
    /// The one that is being read when no other one is left. It stays active at its end.
    sole: Option<usize>,
    /// Bytes of those that were read to their end.
    bytes_read: u64,
    total_bytes: Option<u64>,
    ended: Vec<Part>,
    /// Paths of the captures, in the order in which they were given.
    names: Vec<String>,
    filter: Option<Arc<dyn FrameFilter>>,
}

struct Input {
    path: PathBuf,
    section: Section,
    /// Which of the captures it belongs to.
    file: usize,
    /// Time of the first frame; of a capture without any it does not matter.
    first: u64,
    /// Closed again while too many are open.
    capture: Option<Ordered>,
}

/// A capture, or a section of one, as far as it was read.
pub struct Part {
    /// Which of the captures, in the order in which they were given.
    pub file: usize,
    /// Which part of all parts, in the order of their first frames.
    pub number: usize,
    /// What was read.
    pub capture: Ordered,
}

impl Merged {
    /// Opens all captures and looks at their first frames, so that a wrong name costs nothing. `-` is standard input. `filter` says
    /// which frames are wanted.
    ///
    /// # Errors
    /// Names the file that is no capture, or cannot be read, or whose link type the filter knows nothing of.
    pub fn open(paths: &[PathBuf], filter: Option<&Arc<dyn FrameFilter>>) -> Result<Self, CaptureError> {
        let mut inputs = Vec::new();
        let mut names = Vec::with_capacity(paths.len());
        let (mut total_bytes, mut room) = (Some(0_u64), sections::MOST_IN_MEMORY);
        for (file, path) in paths.iter().enumerate() {
            let whole = super::open(path)?;
            names.push(whole.name().to_owned());
            total_bytes = total_bytes.zip(whole.total_bytes()).map(|(sum, bytes)| sum.saturating_add(bytes));
            let mut parts = open_sections(path, &whole, &mut room);
            if parts.len() < 2 {
                parts = vec![(Section::default(), whole)];
            }
            for (section, part) in parts {
                let part = Ordered::new(part.with_filter(filter.cloned()));
                inputs.push(Input::new(path, section, file, part, inputs.len())?);
            }
        }
        // Stable: captures that begin at the same time stay in the order in which they were given.
        inputs.sort_by_key(|input| input.first);
        Ok(Self {
            inputs,
            next: 0,
            active: Vec::new(),
            sole: None,
            bytes_read: 0,
            total_bytes,
            ended: Vec::new(),
            names,
            filter: filter.cloned(),
        })
    }

    /// One capture alone, which is perhaps being made now.
    pub fn of_live(capture: CaptureReader, clock: Clock) -> Self {
        Self::of_one(Ordered::new(capture).with_clock(clock))
    }

    /// One recording alone that comes as a stream: it is read in its own order, its sections one behind the other.
    pub fn of_stream(capture: CaptureReader) -> Self {
        Self::of_one(Ordered::new(capture))
    }

    fn of_one(capture: Ordered) -> Self {
        let (names, total_bytes) = (vec![capture.reader().name().to_owned()], capture.reader().total_bytes());
        let input =
            Input { path: PathBuf::new(), section: Section::default(), file: 0, first: 0, capture: Some(capture) };
        Self {
            inputs: vec![input],
            next: 0,
            active: Vec::new(),
            sole: None,
            bytes_read: 0,
            total_bytes,
            ended: Vec::new(),
            names,
            filter: None,
        }
    }

    /// The captures, in the order in which they were given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of all files, where they are known beforehand.
    pub const fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        let open = self.active.iter().filter_map(|at| self.inputs[*at].capture.as_ref());
        self.bytes_read + open.map(|capture| capture.reader().bytes_read()).sum::<u64>()
    }

    /// Shows the first frame of each capture, in order of time.
    pub fn first_frames(&mut self, see: &mut dyn FnMut(Frame<'_>)) {
        for input in &mut self.inputs {
            if let Some(frame) = input.capture.as_mut().and_then(Ordered::peek) {
                see(frame);
            }
        }
    }

    /// The next frame of all.
    #[inline]
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        let at = match self.sole {
            Some(at) => at,
            None => self.choose()?,
        };
        self.inputs[at].capture.as_mut()?.next_frame()
    }

    /// What was read to its end since the last call, but for what is read last of all.
    pub fn take_ended(&mut self) -> impl Iterator<Item = Part> + '_ {
        self.ended.drain(..)
    }

    /// What is being read, or was read last of all.
    pub fn open_parts(&self) -> impl Iterator<Item = (usize, usize, &Ordered)> {
        self.active.iter().filter_map(|at| {
            let input = &self.inputs[*at];
            Some((input.file, *at, input.capture.as_ref()?))
        })
    }

    /// Which capture has the next frame.
    #[inline]
    fn choose(&mut self) -> Option<usize> {
        loop {
            let mut earliest: Option<(u64, usize)> = None;
            let mut ended = None;
            for (place, at) in self.active.iter().enumerate() {
                match self.inputs[*at].capture.as_mut().and_then(Ordered::next_time) {
                    Some(time) if earliest.is_none_or(|(least, _)| time < least) => earliest = Some((time, *at)),
                    Some(_) => {}
                    None => ended = Some(place),
                }
            }
            if let Some(place) = ended {
                self.end(place);
                continue;
            }
            let begins = self.inputs.get(self.next).map(|input| input.first);
            match (earliest, begins) {
                (None, None) => return None,
                (Some((time, _)), Some(first)) if first <= time && self.active.len() < MOST_OPEN => self.begin(),
                (None, Some(_)) => self.begin(),
                (Some((_, at)), _) => return Some(at),
            }
        }
    }

    #[cold]
    fn begin(&mut self) {
        let at = self.next;
        self.next += 1;
        if self.inputs[at].capture.is_none() {
            // It was opened before; one that is gone now has no frames.
            self.inputs[at].capture = self.inputs[at].open(self.filter.clone()).ok();
        }
        self.active.push(at);
        self.look_for_sole();
    }

    fn look_for_sole(&mut self) {
        if let [at] = self.active[..]
            && self.next == self.inputs.len()
            && self.inputs[at].capture.is_some()
        {
            self.sole = Some(at);
        }
    }

    #[cold]
    fn end(&mut self, place: usize) {
        let at = self.active.remove(place);
        let file = self.inputs[at].file;
        match self.inputs[at].capture.take() {
            Some(mut capture) => {
                self.bytes_read += capture.reader().bytes_read();
                capture.release();
                self.ended.push(Part { file, number: at, capture });
            }
            None => {
                let detail = "it was there when the replay began, and cannot be opened any more".to_owned();
                let capture = CaptureReader::gone(&self.names[file], End::CutOff { at_byte: 0, detail });
                self.ended.push(Part { file, number: at, capture: Ordered::new(capture) });
            }
        }
        self.look_for_sole();
    }
}

impl Input {
    fn new(
        path: &Path,
        section: Section,
        file: usize,
        mut capture: Ordered,
        before: usize,
    ) -> Result<Self, CaptureError> {
        let first = capture.next_time().unwrap_or_default();
        capture.reader().check_filter()?;
        // A pipe cannot be opened again, and what is in memory need not be.
        let is_plain = capture.reader().format().compression == Compression::None;
        let is_held = section != Section::default() && !is_plain;
        let is_kept = before < MOST_OPEN || is_held || capture.reader().total_bytes().is_none();
        Ok(Self { path: path.to_owned(), section, file, first, capture: is_kept.then_some(capture) })
    }

    fn open(&self, filter: Option<Arc<dyn FrameFilter>>) -> Result<Ordered, CaptureError> {
        let reader = if self.section == Section::default() {
            super::open(&self.path)?
        } else {
            open_section(&self.path, self.section)?
        };
        Ok(Ordered::new(reader.with_filter(filter)))
    }
}

/// The sections of a file, each by itself; none where one of them cannot be read. There is `room` for so many bytes of
/// compressed ones.
fn open_sections(path: &Path, whole: &CaptureReader, room: &mut u64) -> Vec<(Section, CaptureReader)> {
    let Format { container, compression } = whole.format();
    let opened: Result<_, CaptureError> = if container != Container::PcapNg || whole.total_bytes().is_none() {
        Ok(Vec::new())
    } else if compression == Compression::None {
        sections::of_file(path).into_iter().map(|section| Ok((section, open_section(path, section)?))).collect()
    } else if let Some((bytes, sections)) = sections::of_compressed(path, *room) {
        *room -= bytes.len() as u64;
        let each = sections.into_iter().zip([whole.total_bytes()].into_iter().chain(std::iter::repeat(Some(0))));
        let open = |(section, total): (Section, Option<u64>)| {
            let part = &bytes[section.start as usize..(section.start + section.len) as usize];
            let reader = CaptureReader::from_read(whole.name().to_owned(), Box::new(Cursor::new(part.to_vec())))?;
            Ok((section, reader.at_byte(section.start, total.unwrap_or_default()).compressed(compression)))
        };
        each.map(open).collect()
    } else {
        Ok(Vec::new())
    };
    opened.unwrap_or_default()
}

fn open_section(path: &Path, section: Section) -> Result<CaptureReader, CaptureError> {
    let name = path.to_string_lossy().into_owned();
    let failed = |source| CaptureError::Io { path: name.clone(), source };
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(section.start)).map_err(failed)?;
    let reader = CaptureReader::from_sized(name.clone(), Box::new(file.take(section.len)), Some(section.len))?;
    Ok(reader.at_byte(section.start, section.len))
}
