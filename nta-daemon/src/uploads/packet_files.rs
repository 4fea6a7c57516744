//! Files of logs of packets: their captures, and which server holds them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::body::Body;
use super::packet_frames::Frames;
use super::{Refusal, new_id};
use crate::private;
use crate::room::Room;

/// Servers that may share a folder.
const MOST_SERVERS: u32 = 64;
/// Length of a server's name.
const NAME_BYTES: u64 = 32;

/// A number of a capture, by its name: two logs of the same packets are two captures.
pub(super) fn salt(file_id: &str) -> u32 {
    crc32fast::hash(file_id.as_bytes())
}

/// The first name in a folder that no other process holds, and the file by which this one holds it.
pub(super) fn server_of(folder: &Path) -> Result<(String, File), Refusal> {
    private::make_folder(folder)?;
    for number in 0..MOST_SERVERS {
        let path = folder.join(format!(".server-{number}"));
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if file.try_lock().is_err() {
            continue;
        }
        let mut name = String::new();
        Read::by_ref(&mut file).take(NAME_BYTES).read_to_string(&mut name)?;
        let is_name = name.len() as u64 == NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            name = new_id();
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(name.as_bytes())?;
            file.sync_all()?;
        }
        return Ok((name, file));
    }
    Err(io::Error::other("as many servers share the folder of captures as may").into())
}

/// A capture as it was after so many bytes; `None` where it has fewer.
pub(super) fn reopen(path: &Path, most: u64, room: &Arc<Room>, bytes: u64) -> Result<Option<(Body, Frames)>, Refusal> {
    let Ok(about) = path.metadata() else { return Ok(None) };
    if about.len() < bytes {
        return Ok(None);
    }
    if about.len() > bytes {
        OpenOptions::new().write(true).open(path)?.set_len(bytes)?;
        room.give_back(about.len() - bytes);
    }
    let mut frames = Frames::default();
    frames.recall(BufReader::new(File::open(path)?).take(bytes))?;
    Ok(Some((Body::reopen(path, most, room)?, frames)))
}
