//! Files from their first byte to their end.

use std::io::Write as _;

use super::*;
use crate::room::NoRoom;
use crate::store::ResultKind;

const HOUR_NS: u64 = 3600 * 1_000_000_000;

struct Site {
    results: Results,
    folder: tempfile::TempDir,
}

impl Site {
    async fn with(quota_bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut config = Config::default();
        config.results.folder = folder.path().join("results").display().to_string();
        (config.results.quota_bytes, config.results.keep_free_bytes) = (quota_bytes, 0);
        let store = Store::open("sqlite::memory:").await.expect("store");
        Self { results: Results::new(&store, &config), folder }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<Kept> {
        let mut draft = self.results.begin(name)?;
        draft.write_all(bytes)?;
        draft.keep()
    }

    async fn note(&self, kept: Kept, created: u64) {
        let Kept { name, bytes, sha256 } = kept;
        let file = ResultFile {
            name,
            sensor: "gw".to_owned(),
            kind: ResultKind::Scored,
            job: "j".to_owned(),
            source: "s".to_owned(),
            model: None,
            rows: 1,
            bytes,
            sha256,
            created: Timestamp::from_nanos(created),
        };
        self.results.note(&[file]).await.expect("noted");
    }

    async fn is_there(&self, name: &str) -> bool {
        self.results.open("gw", name).await.expect("looked up").is_some()
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("results")).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_file_is_there_when_it_is_whole_and_noted() {
    let site = Site::with(1 << 20).await;
    let mut draft = site.results.begin("scored-1.csv").expect("begun");
    draft.write_all(b"half").expect("written");
    draft.flush().expect("written");
    assert_eq!(site.files(), [".scored-1.csv.part"]);
    assert_eq!(site.results.used_bytes(), 4);
    drop(draft);
    assert_eq!((site.files(), site.results.used_bytes()), (vec![], 0), "a job that was cancelled leaves nothing");

    let kept = site.write("scored-1.csv", b"abc").expect("kept");
    // `printf abc | sha256sum`
    assert_eq!(kept.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(!site.is_there("scored-1.csv").await, "it is in no list yet");
    site.note(kept, 1).await;
    let (found, mut file) = site.results.open("gw", "scored-1.csv").await.expect("looked up").expect("there");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut file, &mut text).expect("read");
    assert_eq!((text.as_str(), found.bytes), ("abc", 3));
    // The same job once more.
    site.write("scored-1.csv", b"abcd").expect("kept");
    assert_eq!((site.files(), site.results.used_bytes()), (vec!["scored-1.csv".to_owned()], 4));
}

#[tokio::test]
async fn a_name_is_no_path() {
    let site = Site::with(1 << 20).await;
    std::fs::write(site.folder.path().join("secret.csv"), "secret").expect("written");
    for name in ["../secret.csv", "..", ".", "", "a/b.csv", "a.b.csv", ".csv", "a.", "a\0.csv", "/etc/passwd", "ä.csv"]
    {
        assert!(!is_name(name) && site.results.begin(name).is_err() && !site.is_there(name).await, "{name}");
    }
    // A list that somebody else has changed, and a link in the folder.
    let kept = Kept { name: "../secret.csv".to_owned(), bytes: 6, sha256: String::new() };
    site.note(kept.clone(), 1).await;
    assert!(!site.is_there("../secret.csv").await);
    site.write("scored-1.csv", b"abc").expect("kept");
    let link = site.folder.path().join("results/scored-2.csv");
    std::os::unix::fs::symlink(site.folder.path().join("secret.csv"), link).expect("a link");
    site.note(Kept { name: "scored-2.csv".to_owned(), ..kept }, 1).await;
    assert!(site.results.open("gw", "scored-2.csv").await.is_err(), "a link is not followed");
}

#[tokio::test]
async fn more_than_the_quota_is_refused_and_leaves_nothing() {
    let site = Site::with(10).await;
    site.write("scored-1.csv", b"12345678").expect("room");
    let refused = site.write("scored-2.csv", b"123").expect_err("no room");
    assert_eq!(NoRoom::of(&refused), Some(NoRoom::Quota { section: "results", quota: 10, used: 8 }));
    assert_eq!((site.files(), site.results.used_bytes()), (vec!["scored-1.csv".to_owned()], 8));
    assert_eq!(site.results.refused(), 1);
    site.write("scored-3.csv", b"12").expect("as much as there is");
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_nobodys_too() {
    let site = Site::with(1 << 20).await;
    let now = Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("a time"));
    for (name, age_ns) in [("scored-1.csv", 31 * DAY_NS), ("scored-2.csv", 29 * DAY_NS), ("scored-3.csv", 1)] {
        let kept = site.write(name, b"abc").expect("kept");
        site.note(kept, now.as_nanos() - age_ns).await;
    }
    let stray = site.write("scored-4.csv", b"abc").expect("in no list");
    std::fs::write(site.folder.path().join("results/.scored-5.csv.part"), "abc").expect("of a job that was killed");
    std::fs::write(site.folder.path().join("results/notes and more"), "abc").expect("of somebody else");
    std::fs::remove_file(site.folder.path().join("results/scored-3.csv")).expect("by somebody else");
    site.results.tidy("gw", now, true).await.expect("tidied");
    assert_eq!(site.files(), [".scored-5.csv.part", "notes and more", "scored-2.csv", &stray.name]);
    assert!(site.is_there("scored-2.csv").await && !site.is_there("scored-1.csv").await);
    assert_eq!(site.results.expired(), 1);
    site.results.tidy("gw", now.plus(25 * HOUR_NS), true).await.expect("tidied");
    assert_eq!(site.files(), ["notes and more"], "two days later only what is not ours is there");
}
