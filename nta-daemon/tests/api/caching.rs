//! What clients may keep, and how answers are compressed.

use std::io::Read as _;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::{App, HOST, flow, parse};

pub(crate) async fn get(app: &App, path: &str, headers: &[(HeaderName, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::get(path).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("body").to_vec())
}

#[tokio::test]
async fn who_has_an_answer_learns_that_it_is_as_it_was() {
    let app = App::with(3, 30).await;
    for path in ["/api/flows", "/api/metrics?span=5", "/openapi.json", "/api/alerts"] {
        let (status, headers, body) = get(&app, path, &[]).await;
        assert_eq!(
            (status, headers[header::CACHE_CONTROL].as_bytes()),
            (StatusCode::OK, b"private, no-cache".as_slice()),
            "{path}"
        );
        let tag = headers[header::ETAG].to_str().expect("text").to_owned();
        assert!(!body.is_empty() && tag.starts_with("W/\""), "{path}: {tag}");
        for known in [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".to_owned()] {
            let (status, headers, body) = get(&app, path, &[(header::IF_NONE_MATCH, &known)]).await;
            assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0), "{path} {known}");
            assert_eq!(headers[header::ETAG].to_str().ok(), Some(tag.as_str()), "{path}");
        }
        assert_eq!(get(&app, path, &[(header::IF_NONE_MATCH, "W/\"0\"")]).await.0, StatusCode::OK, "{path}");
    }
    let (_, headers, _) = get(&app, "/api/flows", &[]).await;
    let tag = headers[header::ETAG].to_str().expect("text").to_owned();
    app.write(None, vec![flow(99)]).await;
    let (status, headers, _) = get(&app, "/api/flows", &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(status, StatusCode::OK, "there is a new flow");
    assert_ne!(headers[header::ETAG].to_str().ok(), Some(tag.as_str()));
}

#[tokio::test]
async fn what_is_refused_or_changed_is_not_kept() {
    let app = App::with(1, 1).await;
    let (_, headers, _) = get(&app, "/api/flows?host=x", &[]).await;
    assert_eq!((headers[header::CACHE_CONTROL].as_bytes(), headers.get(header::ETAG)), (b"no-store".as_slice(), None));
    let request = Request::builder().method(Method::POST).uri("/api/anomalies/detect").header(header::HOST, HOST);
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(json!({}).to_string()));
    let response = app.router.clone().oneshot(request.expect("request")).await.expect("response");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let (_, headers, _) = get(&app, "/metrics", &[]).await;
    assert_eq!(
        (headers[header::CACHE_CONTROL].as_bytes(), headers.get(header::ETAG)),
        (b"private, no-cache".as_slice(), None)
    );
}

#[tokio::test]
async fn answers_are_compressed_as_the_client_says() {
    let app = App::with(3, 200).await;
    let path = "/api/flows?from=0&limit=200";
    let (_, plain, body) = get(&app, path, &[]).await;
    assert!(plain.get(header::CONTENT_ENCODING).is_none());
    let flows = parse(&body)["items"].as_array().map(Vec::len);
    assert_eq!(flows, Some(200));
    for (accept, encoding) in
        [("gzip", Some("gzip")), ("zstd", Some("zstd")), ("gzip;q=0, zstd", Some("zstd")), ("br", None)]
    {
        let (status, headers, packed) = get(&app, path, &[(header::ACCEPT_ENCODING, accept)]).await;
        let mut vary = headers.get_all(header::VARY).iter();
        assert!(status == StatusCode::OK && vary.any(|value| value == "accept-encoding"), "{accept}: {headers:?}");
        assert_eq!(headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()), encoding, "{accept}");
        assert_eq!(headers[header::ETAG], plain[header::ETAG], "it says the same: {accept}");
        let mut unpacked = Vec::new();
        match encoding {
            Some("gzip") => drop(flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).expect("gzip")),
            Some(_) => unpacked = zstd::decode_all(&*packed).expect("zstd"),
            None => unpacked = packed.clone(),
        }
        let document: Value = parse(&unpacked);
        assert_eq!(document["items"].as_array().map(Vec::len), flows, "{accept}");
        assert!(encoding.is_none() || packed.len() * 4 < body.len(), "{accept}: {} of {}", packed.len(), body.len());
    }
}
