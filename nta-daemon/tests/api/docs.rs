//! The page of the document: complete without any other host.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt as _;

use crate::app::{App, HOST};

async fn get(app: &App, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
    let response = app.router.clone().oneshot(request).await.expect("response");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("body");
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).expect("text"))
}

/// What stands behind `src=`, `href=` and the like.
fn named(page: &str) -> Vec<&str> {
    let attributes = ["src=\"", "href=\"", "action=\"", "srcset=\"", "data=\"", "poster=\""];
    let of =
        |attribute: &str| page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).collect::<Vec<_>>();
    attributes.into_iter().flat_map(of).collect()
}

#[tokio::test]
async fn the_page_of_the_document_needs_no_other_host() {
    let app = App::with(0, 0).await;
    let document = app.json("/openapi.json").await;
    for page in ["/docs", "/docs/"] {
        let (status, headers, page) = get(&app, page).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        // A browser holds it to that, whatever its scripts would do.
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        let sources: Vec<&str> = policy.split("; ").flat_map(|rule| rule.split(' ').skip(1)).collect();
        assert!(
            sources.iter().all(|source| ["'none'", "'self'", "'unsafe-inline'", "data:"].contains(source)),
            "{policy}"
        );
        for rule in ["script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{rule} in {policy}");
        }
        let mut loaded = Vec::new();
        for address in named(&page) {
            if address == "data:," {
                continue;
            }
            assert!(address.starts_with('/') && !address.starts_with("//"), "{address}");
            let (status, headers, text) = get(&app, address).await;
            assert_eq!((status, text.is_empty()), (StatusCode::OK, false), "{address}");
            loaded.push((address.to_owned(), headers[header::CONTENT_TYPE].to_str().expect("text").to_owned(), text));
        }
        let of_type = |wanted: &str| loaded.iter().filter(|(_, kind, _)| kind.starts_with(wanted)).collect::<Vec<_>>();
        let (scripts, styles) = (of_type("text/javascript"), of_type("text/css"));
        assert_eq!((scripts.len(), styles.len()), (2, 1), "of this document too: {:?}", loaded.len());
        // Neither a font nor a picture of the style sheet is elsewhere.
        for part in styles[0].2.split("url(").skip(1) {
            let target = part.trim_start_matches(['"', '\'']);
            assert!(target.starts_with("data:") || target.starts_with('#'), "{}", &part[..part.len().min(60)]);
        }
        assert!(!styles[0].2.contains("@import"));
        // All that it asks for is the document, and nobody validates it elsewhere.
        let start = &scripts.iter().find(|(address, ..)| address == "/docs/start.js").expect("it begins").2;
        assert!(start.contains("url: \"/openapi.json\"") && start.contains("validatorUrl: null"), "{start}");
        assert!(!start.contains("http:") && !start.contains("https:"), "{start}");
        let bundle = &scripts.iter().find(|(address, ..)| address.ends_with("bundle.js")).expect("Swagger UI").2;
        assert!(bundle.contains("SwaggerUIBundle") && !bundle.contains("sourceMappingURL=http"));
    }
    for other in ["/docs/index.html", "/docs/swagger-initializer.js", "/docs/..%2fCargo.toml", "/docs/a/b"] {
        assert_eq!(get(&app, other).await.0, StatusCode::NOT_FOUND, "{other}");
    }
    let methods = document["paths"]["/docs"].as_object().expect("described");
    assert_eq!(methods.keys().collect::<Vec<_>>(), ["get"]);
}
