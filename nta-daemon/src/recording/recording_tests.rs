//! Files of a recording, and what is refused before there is one.

use nta_capture::LinkType;

use super::*;
use crate::source::kernel::packet_socket::Frame;

fn files(folder: &Path, max_bytes: u64, snap_length: u32) -> Files {
    Files::new((folder.to_owned(), "x".to_owned()), (LinkType::ETHERNET, snap_length), max_bytes)
}

#[test]
fn the_oldest_file_goes_when_there_would_be_too_many_and_is_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let mut files = files(folder.path(), 8000, 2000);
    let data = [7; 300];
    // Three of 316 bytes go into a file of 1,000.
    for n in 0..60 {
        files.write(&Frame { time_ns: n, wire_len: 1500, data: &data, vlan: None }).expect("written");
    }
    files.finish().expect("finished");
    assert_eq!(files.deleted, [12, 36]);
    let list = files.list();
    assert_eq!(list.iter().map(|file| file.packets).sum::<u64>(), 24);
    assert_eq!((list[0].times, list[7].times), (Some([36, 38]), Some([57, 59])));
    let on_disk: u64 =
        fs::read_dir(folder.path()).expect("folder").map(|f| f.expect("f").metadata().expect("m").len()).sum();
    assert_eq!(on_disk, list.iter().map(|file| file.bytes).sum::<u64>());
    assert!(on_disk <= 8000, "{on_disk}");
}

#[test]
fn a_vlan_tag_is_put_back_and_nothing_is_longer_than_the_snap_length() {
    let folder = tempfile::tempdir().expect("folder");
    let data: Vec<u8> = (0..60).collect();
    for (snap_length, expected) in [(2000, 64), (64, 64), (20, 20), (14, 14)] {
        let name = format!("s{snap_length}");
        let mut files = Files::new((folder.path().to_owned(), name), (LinkType::ETHERNET, snap_length), 80_000);
        let tagged = Frame { time_ns: 1_000_000_005, wire_len: 60, data: &data, vlan: Some([0x81, 0, 0, 5]) };
        files.write(&tagged).expect("written");
        files.finish().expect("finished");
        let bytes = fs::read(folder.path().join(&files.list()[0].name)).expect("the file");
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        assert_eq!([word(24), word(28), word(32), word(36)], [1, 5, expected, 64], "time, lengths");
        let mut frame = data[..12].to_vec();
        frame.extend([0x81, 0, 0, 5]);
        frame.extend(&data[12..]);
        assert_eq!(bytes[40..], frame[..expected as usize]);
    }
}

#[test]
fn what_cannot_be_recorded_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let recorder = Recorder::new(folder.path().join("recordings"), 8 << 20, 16 << 20);
    let request = |interface: &str, filter: &str| Request {
        interface: interface.to_owned(),
        filter: filter.to_owned(),
        snap_length: MAX_SNAP_LENGTH,
        max_bytes: None,
        duration: None,
    };
    assert!(matches!(recorder.stop(), Err(RecordError::Idle)));
    let refused = recorder.start(request("nowhere9", "")).expect_err("refused").to_string();
    assert!(refused.contains("`nowhere9`") && refused.contains("there "), "{refused}");
    let refused = recorder.start(request("lo", "tcp and nonsense")).expect_err("refused").to_string();
    assert!(refused.starts_with("`tcp and nonsense`: "), "{refused}");
    fs::create_dir(recorder.folder()).expect("folder");
    fs::File::create(recorder.folder().join("old.pcap")).and_then(|f| f.set_len(9 << 20)).expect("a file");
    let refused = recorder.start(request("lo", "")).expect_err("refused").to_string();
    assert!(refused.contains("quota_bytes") && refused.contains("max_bytes"), "{refused}");
}

#[test]
fn names_of_interfaces_never_become_paths() {
    assert_eq!(file_name("../x y:0"), ".._x_y_0");
}
