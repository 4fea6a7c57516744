//! The page that the dashboard is, under all of its addresses, and what it loads.

use axum::http::{StatusCode, header};

use crate::app::App;
use crate::caching::get;

#[tokio::test]
async fn the_page_is_the_same_under_each_address_and_loads_from_here_alone() {
    let app = App::with(0, 0).await;
    let html = [(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")];
    let (_, headers, page) = get(&app, "/", &html).await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    for path in
        ["/dashboard", "/dashboard/alerts?status=all", "/dashboard/hosts/10.0.0.1", "/dashboard/alerts/%3Cscript%3E"]
    {
        let (status, _, same) = get(&app, path, &[]).await;
        assert_eq!((status, same == page), (StatusCode::OK, true), "{path}");
    }
    // Who is no browser gets the paths, as ever.
    let (_, headers, _) = get(&app, "/", &[]).await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    assert!(headers.get_all(header::VARY).iter().any(|vary| vary == "accept"), "{headers:?}");

    let page = String::from_utf8(page).expect("text");
    let addresses: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(addresses.len() >= 3, "script, style and icon: {page}");
    let (assets, pages): (Vec<&str>, Vec<&str>) =
        addresses.into_iter().filter(|address| *address != "/api").partition(|address| address.contains("/assets/"));
    assert!(pages.len() > 5 && assets.len() >= 3, "what stands there before the scripts: {pages:?} {assets:?}");
    for address in pages {
        let (status, _, same) = get(&app, address, &[]).await;
        assert_eq!((status, same == page.as_bytes()), (StatusCode::OK, true), "{address}");
    }
    for address in assets {
        assert!(address.starts_with("/dashboard/assets/"), "{address}");
        let (status, headers, plain) = get(&app, address, &[]).await;
        assert_eq!(status, StatusCode::OK, "{address}");
        assert!(headers[header::CACHE_CONTROL].to_str().expect("text").contains("immutable"), "{address}");
        let tag = headers[header::ETAG].to_str().expect("text").to_owned();
        assert_eq!(get(&app, address, &[(header::IF_NONE_MATCH, &tag)]).await.0, StatusCode::NOT_MODIFIED, "{address}");
        let (_, headers, packed) = get(&app, address, &[(header::ACCEPT_ENCODING, "gzip")]).await;
        if plain.len() > 1000 {
            assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{address}");
            assert!(packed.len() < plain.len(), "{address}");
        }
        let (_, headers, _) = get(&app, address, &[(header::ACCEPT_ENCODING, "gzip;q=0")]).await;
        assert!(headers.get(header::CONTENT_ENCODING).is_none(), "{address}");
    }
    let (status, headers, _) = get(&app, "/dashboard/nowhere", &html).await;
    assert_eq!(
        (status, headers[header::CONTENT_TYPE].to_str().ok()),
        (StatusCode::NOT_FOUND, Some("text/html; charset=utf-8"))
    );
    for path in
        ["/dashboard/nowhere", "/dashboard/nowhere/1", "/dashboard/assets/none.js", "/dashboard/assets/..%2findex.html"]
    {
        assert_eq!(get(&app, path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}
