//! Captures that are sent, a file for what is tested of them; here what the tests share.

mod jobs;
mod packets;
mod parts;
mod recorded;
mod refused;
mod reports;
mod whole;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use nta_core::domain::Status;
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::{Config, UploadsConfig};
use nta_daemon::store::Store;
use nta_daemon::uploads::Uploads;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::app::HOST;

/// The API over a store, with a folder for captures.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) uploads: Uploads,
    store: Store,
    folder: PathBuf,
    _status: watch::Sender<Status>,
}

impl Site {
    pub(crate) fn over(store: Store, folder: &Path, change: impl FnOnce(&mut UploadsConfig)) -> Self {
        let mut config = Config::default();
        config.uploads.folder = folder.join("captures").display().to_string();
        config.uploads.keep_free_bytes = 0;
        config.results.folder = folder.join("results").display().to_string();
        config.results.keep_free_bytes = 0;
        change(&mut config.uploads);
        Self::with(store, folder, &config)
    }

    pub(crate) fn with(store: Store, folder: &Path, config: &Config) -> Self {
        let uploads = Uploads::new(&store, config);
        let (sender, status) = watch::channel(Status::default());
        let state = ApiState::new(store.clone(), status).with_uploads(uploads.clone());
        Self { router: router(state), uploads, store, folder: folder.join("captures"), _status: sender }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body).expect("request")).await.expect("response");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) async fn upload(&self, bytes: &[u8]) -> (StatusCode, Value) {
        let headers = [("content-type", "application/octet-stream")];
        let (status, _, answer) =
            self.send(Method::POST, "/api/upload?name=a.pcap", &headers, Body::from(bytes.to_vec())).await;
        (status, answer)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, answer) = self.send(Method::GET, path, &[], Body::empty()).await;
        (status, answer)
    }

    /// What a path answers once it is as it should be.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let mut last = (StatusCode::OK, Value::Null);
        for _ in 0..6000 {
            last = self.get(path).await;
            if is_so(last.0, &last.1) {
                return last.1;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path}: {last:?}")
    }

    /// A report as a page.
    async fn page(&self, path: &str) -> String {
        let request = Request::get(path).header(header::HOST, HOST).header(header::ACCEPT, "text/html");
        let response = self.router.clone().oneshot(request.body(Body::empty()).expect("request")).await;
        let body = to_bytes(response.expect("response").into_body(), usize::MAX).await.expect("body");
        String::from_utf8_lossy(&body).into_owned()
    }

    pub(crate) async fn report(&self, answer: &Value) -> Value {
        let path = answer["report"].as_str().expect("a link").to_owned();
        self.until(&path, |status, _| status == StatusCode::OK).await
    }

    /// Names of the files that are kept.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

pub(crate) async fn sqlite(folder: &Path) -> Store {
    Store::open(&format!("sqlite:{}", folder.join("nta.db").display())).await.expect("store")
}

/// A bundled capture of a port scan.
pub(crate) fn scan() -> Vec<u8> {
    case("port_scan-hit")
}

/// A bundled capture.
fn case(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases").join(name).join("input.pcap");
    std::fs::read(path).expect("the case")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Datagrams between two hosts, one a millisecond.
fn pcap(link_type: u32, frames: u32) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link_type].map(u32::to_le_bytes).concat();
    for n in 0..frames {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
        frame.extend([3, 0xe8, 0, 53, 0, 8, 0, 0]);
        let len = frame.len() as u32;
        file.extend([1_700_000_000 + n / 1000, n % 1000 * 1000, len, len].map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}
