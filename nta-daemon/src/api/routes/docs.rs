//! `GET /docs`: the OpenAPI document as a page that people read and try requests in.
//!
//! Swagger UI is inside the binary, and the page's policy holds it to this server: it works without network, and neither what is
//! typed into it nor the document's address reaches another host.

use std::io::Read as _;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::read::GzDecoder;
use utoipa::openapi::Schema;
use utoipa_swagger_ui::Config;

use crate::api::ApiError;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Parameter, Path, PathParameter, Query};
use crate::json::words::words_schema;

/// Scripts, styles and requests of this server alone. Images of the style sheet are written out in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Paths from the root, as `/docs` and `/docs/` are the same page.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>nta: HTTP interface</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<script src="/docs/swagger-ui-bundle.js" defer></script>
<script src="/docs/start.js" defer></script>
</head>
<body>
<div id="ui"></div>
<noscript>This page needs scripts. The same as JSON is at <a href="/openapi.json">/openapi.json</a>, the paths at <a href="/api">/api</a>.</noscript>
</body>
</html>
"#;
/// The validator would be another host's. A token that is typed in is forgotten with the page.
const START: &str = r##"SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  validatorUrl: null,
  persistAuthorization: false,
  queryConfigEnabled: false,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  displayRequestDuration: true,
});
"##;

/// What the page loads: name, media type, content.
static FILES: LazyLock<Vec<(&str, &str, Bytes)>> = LazyLock::new(|| {
    vec![
        ("start.js", JAVASCRIPT, Bytes::from_static(START.as_bytes())),
        ("swagger-ui-bundle.js", JAVASCRIPT, embedded("swagger-ui-bundle.js")),
        ("swagger-ui.css", "text/css; charset=utf-8", embedded("swagger-ui.css")),
    ]
});
const NAMES: [&str; 3] = ["start.js", "swagger-ui-bundle.js", "swagger-ui.css"];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file of Swagger UI, which the binary has packed.
fn embedded(name: &str) -> Bytes {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten();
    let mut bytes = Vec::new();
    // A test looks at each.
    let read = file.map(|file| GzDecoder::new(&*file.bytes).read_to_end(&mut bytes));
    if !matches!(read, Some(Ok(_))) {
        bytes.clear();
    }
    Bytes::from(bytes)
}

/// Shows this document as a page, on which requests can be tried. It needs no other host.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "get_docs",
    tag = "about",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
pub(in crate::api) async fn page(_: Query<()>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE).into_response()
}

/// Answers the scripts and styles of `/docs`.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "get_docs_file",
    tag = "about",
    params(InPath<File>),
    responses(
        (status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css"))),
        (status = 404, description = "The page loads no such file.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn file(_: Query<()>, Path(File(name)): Path<File>) -> Result<Response, ApiError> {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    let unknown = || ApiError::NotFound { detail: format!("the page loads none but {}", NAMES.join(", ")) };
    let (_, media_type, bytes) = found.ok_or_else(unknown)?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, *media_type)], bytes.clone()).into_response())
}

/// The name of a file.
#[derive(Debug)]
pub(in crate::api) struct File(String);

impl Parameter for File {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Schema {
        words_schema(NAMES)
    }
}

impl PathParameter for File {
    const NAME: &'static str = "file";
    const ABOUT: &'static str = "A script or style that the page loads.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_are_inside() {
        assert_eq!(FILES.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), NAMES);
        for (name, _, bytes) in FILES.iter() {
            assert!(bytes.len() > 200 && std::str::from_utf8(bytes).is_ok(), "{name}: {} bytes", bytes.len());
        }
    }
}
