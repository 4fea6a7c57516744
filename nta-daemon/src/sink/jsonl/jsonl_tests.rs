//! Rotation, kills and full disks.

use std::os::unix::fs::symlink;

use nta_core::window::Window;
use serde_json::Value;

use super::*;

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

/// Windows with these numbers.
fn send(mirror: &Mirror, ids: std::ops::Range<u64>) {
    ids.for_each(|id| mirror.send(0, WindowJson::from(&Window { id, ..Window::default() })));
}

#[test]
fn files_turn_over_by_size_and_so_many_are_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("metrics.jsonl");
    let mut file = LineFile::open(&path, 100, 2).expect("open");
    let line = |n: u8| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(20));
    (0..12).for_each(|n| file.write(line(n).as_bytes()).expect("written"));
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).expect("folder").map(|file| file.expect("file").file_name()).collect();
    names.sort();
    assert_eq!(names, ["metrics.jsonl", "metrics.jsonl.1", "metrics.jsonl.2"]);
    let numbers = |path: &Path| lines(path).iter().filter_map(|line| line["n"].as_u64()).collect::<Vec<_>>();
    let all: Vec<_> =
        [".2", ".1", ""].into_iter().flat_map(|end| numbers(&path.with_extension(format!("jsonl{end}")))).collect();
    assert_eq!(all, [6, 7, 8, 9, 10, 11], "two lines a file: the oldest went");
}

#[test]
fn what_a_kill_cut_is_cut_back_to_whole_lines() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, "{\"n\":1}\n{\"n\":2,\"te").expect("written");
    LineFile::open(&path, 1000, 1).expect("open").write(b"{\"n\":3}\n").expect("written");
    assert_eq!(lines(&path), [serde_json::json!({ "n": 1 }), serde_json::json!({ "n": 3 })]);
}

#[test]
fn a_full_disk_drops_lines_counts_them_and_lines_come_again_once_there_is_room() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("metrics.jsonl");
    // A device without room, and a file in its place when the first lines were refused.
    symlink("/dev/full", &path).expect("a link");
    let config = JsonlConfig { folder: folder.path().to_owned(), ..JsonlConfig::default() };
    let mirror = Mirror::open(&config, "here").expect("open").expect("configured");
    let counters = mirror.counters();
    send(&mirror, 0..3);
    while counters.files()[0].failed < 3 {
        thread::yield_now();
    }
    assert!(counters.is_failing());
    fs::remove_file(&path).expect("removed");
    send(&mirror, 3..5);
    drop(mirror);
    assert!(!counters.is_failing());
    let count = FileCount { file: "metrics.jsonl", written: 2, queue_full: 0, failed: 3 };
    assert_eq!(counters.files()[0], count);
    let ids: Vec<_> = lines(&path).iter().map(|line| (line["sensor"].clone(), line["id"].clone())).collect();
    assert_eq!(ids, [("here".into(), 3.into()), ("here".into(), 4.into())]);
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let config = JsonlConfig { folder: folder.path().join("a/b"), ..JsonlConfig::default() };
    let refused = Mirror::open(&config, "here").expect_err("refused").to_string();
    assert!(refused.contains("jsonl.folder") && refused.contains("a/b"), "{refused}");
    assert!(Mirror::open(&JsonlConfig::default(), "here").expect("off").is_none());
}
