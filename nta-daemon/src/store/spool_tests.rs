//! The spool by itself.

use super::super::rows::tests::rows;
use super::*;

#[test]
fn batches_come_back_in_order_after_a_restart_and_a_corrupt_one_is_set_aside() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
    for number in 1..=4 {
        spool.push(&rows(number, 10)).expect("push");
    }
    assert_eq!(spool.front(), Some(rows(1, 10)));
    spool.pop_front();
    let mut bytes = fs::read(spool.path(2)).expect("the second");
    bytes[20] ^= 1;
    fs::write(spool.path(2), bytes).expect("damaged");

    let mut spool = Spool::open(folder.path(), u64::MAX).expect("open again");
    let mut numbers = Vec::new();
    while let Some(rows) = spool.front() {
        numbers.push(rows.number);
        spool.pop_front();
    }
    assert_eq!((numbers, spool.corrupt, spool.len()), (vec![3, 4], 1, 0));
    assert!(folder.path().join(format!("{:020}.bad", 2)).exists());
}

#[test]
fn what_another_version_wrote_is_set_aside_and_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
    for number in 1..=2 {
        spool.push(&rows(number, 10)).expect("push");
    }
    let bytes = fs::read(spool.path(1)).expect("the first");
    let older = [b"ntaspl01", &bytes[MAGIC.len()..]].concat();
    fs::write(spool.path(1), &older).expect("as the version before wrote it");
    assert_eq!(spool.front(), Some(rows(2, 10)));
    assert_eq!((spool.corrupt, spool.len()), (1, 1));
    let aside = spool.path(1).with_extension(ASIDE);
    assert_eq!(fs::read(aside).expect("set aside"), older, "renamed back, that version reads it");
}

#[test]
fn the_bound_takes_alerts_last() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = Spool::open(folder.path(), 25_000).expect("open");
    for number in 1..=5 {
        spool.push(&rows(number, 10_000)).expect("push");
    }
    let first = spool.front().expect("a batch");
    assert_eq!((first.number, first.alerts.len(), first.raw_packets.len()), (1, 1, 0), "its alerts are left");
    assert_eq!((spool.len(), spool.cut.alerts), (5, 0));
    assert!(spool.bytes <= 25_000, "{}", spool.bytes);
}

#[test]
fn a_segment_that_cannot_be_read_is_passed_over_and_comes_back_when_it_can() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
    for number in 1..=3 {
        spool.push(&rows(number, 10)).expect("push");
    }
    let (path, away) = (spool.path(1), folder.path().join("away"));
    fs::rename(&path, &away).expect("moved");
    fs::create_dir(&path).expect("a folder in its place");
    assert_eq!(spool.front(), Some(rows(2, 10)));
    assert_eq!((spool.len(), spool.ready(), spool.passed_over(), spool.corrupt), (3, 2, 1, 0));
    assert!(spool.trouble().is_some_and(|reason| reason.contains("00001.seg")), "{:?}", spool.trouble());
    spool.pop_front();
    assert_eq!(spool.front(), Some(rows(3, 10)));
    spool.note_end_of_trouble();
    assert!(spool.trouble().is_some(), "it still waits");

    fs::remove_dir(&path).expect("out of the way");
    fs::rename(&away, &path).expect("back");
    spool.retry(spool.retry_at().expect("something to try again"));
    assert_eq!(spool.front(), Some(rows(1, 10)));
    spool.pop_front();
    spool.note_end_of_trouble();
    assert_eq!((spool.trouble(), spool.len()), (None, 1));
}

#[test]
fn a_stored_segment_that_cannot_be_removed_is_not_given_out_again() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = Spool::open(folder.path(), u64::MAX).expect("open");
    for number in 1..=2 {
        spool.push(&rows(number, 10)).expect("push");
    }
    assert_eq!(spool.front(), Some(rows(1, 10)));
    let path = spool.path(1);
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("what is not removed as a file");
    spool.pop_front();
    assert_eq!((spool.len(), spool.front()), (1, Some(rows(2, 10))));
    spool.retry(spool.retry_at().expect("something to try again"));
    assert_eq!((spool.len(), spool.front()), (1, Some(rows(2, 10))), "nor after another attempt");
    assert!(spool.trouble().is_some());
    fs::remove_dir(&path).expect("out of the way");
    spool.retry(Instant::now() + LONGEST_RETRY);
    spool.note_end_of_trouble();
    assert_eq!((spool.trouble(), spool.retry_at()), (None, None));
}

#[test]
fn segments_that_are_gone_are_lost_and_the_folder_is_made_again() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path().join("spool");
    let mut spool = Spool::open(&folder, u64::MAX).expect("open");
    for number in 1..=2 {
        spool.push(&rows(number, 10)).expect("push");
    }
    let mut of = Cut { batches: 2, ..Cut::default() };
    of.count(&rows(1, 10));
    of.count(&rows(2, 10));
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!((spool.front(), spool.gone, spool.corrupt, spool.cut), (None, 2, 0, of));
    spool.push(&rows(3, 10)).expect("into a new folder");
    assert_eq!((spool.front(), spool.len()), (Some(rows(3, 10)), 1));
}
