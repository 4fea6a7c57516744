//! What is refused: no capture, too much, too slow, too many at a time.

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt as _;
use tower::ServiceExt as _;

use super::{Site, gzip, pcap, sqlite};
use crate::app::HOST;

#[tokio::test]
async fn what_is_no_capture_or_too_much_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |config| {
        config.max_bytes = 1 << 20;
        config.quota_bytes = 3 << 19;
        config.idle_s = 1;
    });
    let raw = [("content-type", "application/octet-stream")];
    let gz = [raw[0], ("content-encoding", "gzip")];
    let bomb = gzip(&[pcap(1, 1), vec![0; 200 << 20]].concat());
    let cut = gzip(&pcap(1, 2000));
    let form = |body: &'static str| Body::from(body);
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    for (headers, body, status, said) in [
        (&raw[..], Body::from("hello, world"), 415, "text"),
        (&raw[..], Body::from(&b"\x89PNG\r\n\x1a\n0000"[..]), 415, "a PNG image"),
        (&raw[..], Body::from("{\"a\": 1}"), 415, "JSON"),
        (&raw[..], Body::empty(), 415, "the body is empty"),
        (&raw[..], Body::from(pcap(1, 30_000)), 413, "max_bytes"),
        (&gz[..], Body::from(bomb), 413, "max_bytes"),
        (&gz[..], Body::from(cut[..cut.len() / 2].to_vec()), 400, "unpacked"),
        (&gz[..], Body::from(pcap(1, 100)), 400, "unpacked"),
        (&[raw[0], ("content-encoding", "br")][..], Body::empty(), 415, "gzip, zstd"),
        (&[("content-type", "application/json")][..], Body::from("{}"), 415, "application/octet-stream"),
        (
            &[("content-type", "application/x-www-form-urlencoded")][..],
            Body::from("a"),
            415,
            "application/octet-stream",
        ),
        (&[("upload-length", "-1")][..], Body::empty(), 400, "not negative"),
        (&[("upload-length", "0")][..], Body::empty(), 400, "at least 1"),
        (&[("upload-length", "99999999")][..], Body::empty(), 413, "99999999"),
        (&[("upload-length", "99999999")][..], Body::empty(), 413, "bytes that `[uploads] max_bytes` allows"),
        (&multipart[..], form("--x--\r\n"), 400, "no file"),
        (&multipart[..], form("no form at all"), 400, "no form"),
        (
            &multipart[..],
            form("--x\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nhello, world\r\n--x--\r\n"),
            415,
            "text",
        ),
        (&[("content-type", "multipart/form-data")][..], form("x"), 400, "no form"),
    ] {
        let (got, _, problem) = site.send(Method::POST, "/api/upload", headers, body).await;
        assert_eq!(got.as_u16(), status, "{said}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{said}: {problem}");
        if status == 413 {
            let field = if headers[0].0 == "upload-length" { "Upload-Length" } else { "body" };
            assert_eq!(problem["field"], field, "{problem}");
        }
    }
    // It is refused before it has come: nobody would read the rest.
    let endless = futures_util::stream::iter([Ok(Bytes::from(vec![b'a'; 2000]))])
        .chain(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, ..) = site.send(Method::POST, "/api/upload", &raw, Body::from_stream(endless)).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Who says nothing more is not waited for.
    let silent = futures_util::stream::iter([Ok(Bytes::from(pcap(1, 100)))])
        .chain(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, _, problem) = site.send(Method::POST, "/api/upload", &raw, Body::from_stream(silent)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{problem}");
    assert_eq!((site.files(), site.uploads.used_bytes()), (vec![], 0), "nothing of it is left");

    let (status, _) = site.upload(&pcap(1, 15_000)).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, problem) = site.upload(&pcap(1, 14_999)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("quota_bytes")), "{problem}");
    assert_eq!(site.files().len(), 1);
    site.uploads.stop().await;
}

#[tokio::test]
async fn slow_uploads_leave_the_api_free_and_one_too_many_is_told_to_come_back() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |config| config.at_once = 2);
    let (begun, mut has_begun) = tokio::sync::mpsc::channel::<()>(2);
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let begun = begun.clone();
            let first = Ok::<_, std::io::Error>(Bytes::from(pcap(1, 100)));
            let rest = futures_util::stream::once(async move {
                begun.send(()).await.expect("the test waits");
                std::future::pending().await
            });
            let body = Body::from_stream(futures_util::stream::iter([first]).chain(rest));
            let request = Request::post("/api/upload").header(header::HOST, HOST).body(body).expect("request");
            tokio::spawn(site.router.clone().oneshot(request))
        })
        .collect();
    for _ in 0..2 {
        has_begun.recv().await.expect("it begins");
    }
    let (status, list) = site.get("/api/captures").await;
    assert_eq!((status, list["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{list}");
    let here = pcap(1, 100).len();
    for item in list["items"].as_array().expect("items") {
        assert_eq!((&item["state"], &item["bytes"]), (&"receiving".into(), &here.into()), "{item}");
    }
    let (status, headers, _) = site.send(Method::POST, "/api/upload", &[], Body::from(pcap(1, 3))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key(header::RETRY_AFTER));
    // Clients that go away leave nothing.
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for gone in slow {
        assert!(gone.await.is_err_and(|end| end.is_cancelled()));
    }
    site.until("/api/captures", |_, list| list["items"] == serde_json::json!([])).await;
    assert_eq!((site.files(), site.uploads.used_bytes()), (vec![], 0));
    let (status, _) = site.upload(&pcap(1, 3)).await;
    assert_eq!(status, StatusCode::CREATED);
    site.uploads.stop().await;
}

#[tokio::test]
async fn a_bomb_is_left_soon_and_others_are_analysed_meanwhile() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |config| config.analyses = 1);
    // One block after the other that holds no packet, 16 GiB of them.
    let section = [0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28].map(u32::to_le_bytes).concat();
    let block = |bytes: u32| [[0xbad, bytes], [0, bytes]].map(|words| words.map(u32::to_le_bytes).concat());
    let [head, tail] = block(64 << 20);
    let block = [head, vec![0; (64 << 20) - 16], tail].concat();
    let bomb = [gzip(&section), gzip(&block).repeat(256)].concat();
    let (status, bomb) = site.upload(&bomb).await;
    assert_eq!(status, StatusCode::CREATED, "{bomb}");
    let (status, other) = site.upload(&pcap(1, 100)).await;
    assert_eq!(status, StatusCode::CREATED, "{other}");
    assert_eq!(site.report(&other).await["totals"]["packets"], 100);
    let read = &site.report(&bomb).await["read"];
    assert_eq!(read["end"], "cut_off", "{read}");
    let detail = read["detail"].as_str().expect("why");
    assert!(detail.contains("times as large as it is packed, and of the first"), "{detail}");
    assert!(detail.contains(" 0 are in frames"), "{detail}");
    site.uploads.stop().await;
}
