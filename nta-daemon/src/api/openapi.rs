//! `GET /openapi.json`: the description of the API, made from the routes; and the parts of it that are the same
//! everywhere.

use axum::extract::State;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, Parameter as Described, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, LicenseBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    ServerBuilder, tag::TagBuilder,
};

use super::ApiState;
use super::access::Role;
use super::error::PROBLEM_TYPE;
use super::extract::{Json, Parameter, Query};

const ABOUT: &str = "Network traffic analyzer: windows, flows, alerts and its own state. JSON in and out; times are \
    RFC 3339 in UTC; units stand in a field's name (`_bps`, `_ms`, `_s`, `_bytes`).";

const TAGS: &[(&str, &str)] = &[
    ("about", "What there is, and whether it works."),
    ("windows", "What went by in a window of time, in total and by host."),
    ("flows", "Connections and what is like them."),
    ("hosts", "Who is on the network."),
    ("anomalies", "What one detector found in one window."),
    ("alerts", "What findings about the same thing have become, and what people do about it."),
    ("baselines", "What is usual."),
    ("captures", "Captures that are sent, and what is found in them."),
    ("analysis", "Captures: recorded, scored, predicted."),
    ("control", "The daemon itself: its configuration, its log, what it captures."),
    ("models", "What was learned from traffic, and judges beside the rules."),
    ("access", "Who may use the API."),
    ("events", "What happens, in its order."),
    ("webhooks", "Who is told of it."),
    ("sensors", "Many gateways: what their daemons send, and how complete it is."),
    ("jobs", "Work that goes on after its request was answered."),
];

/// Operations whose body may be left out: it has no field that must be given.
const OPTIONAL_BODIES: [&str; 9] = [
    "compute_windows",
    "detect_again",
    "generate_baselines",
    "resolve_alerts",
    "acknowledge_alerts",
    "reopen_alerts",
    "upload_capture",
    "upload_capture_root",
    "stop_capture",
];

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi",
    tag = "about",
    responses((status = 200, description = "The OpenAPI 3.1 document of this API.", body = Object))
)]
pub(super) async fn get(_: Query<()>, State(state): State<ApiState>) -> Json<OpenApi> {
    Json((*state.document).clone())
}

/// Describes a parameter of the query.
pub(super) fn query<T: Parameter>(name: &str, about: &str) -> Described {
    query_with(name, about, T::schema())
}

/// The same with a schema that is at hand.
pub(super) fn query_with(name: &str, about: &str, schema: Schema) -> Described {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about.trim()))
        .schema(Some(schema))
        .build()
}

/// The frame of the document, before the routes are in it.
pub(super) fn frame() -> OpenApi {
    let mut document = OpenApi::default();
    document.info.title = "nta".to_owned();
    document.info.version = super::state::VERSION.to_owned();
    document.info.description = Some(ABOUT.to_owned());
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0"));
    document.info.license = Some(license.build());
    document.servers = Some(vec![ServerBuilder::new().url("/").build()]);
    let tag = |(name, about): &(&str, &str)| TagBuilder::new().name(*name).description(Some(*about)).build();
    document.tags = Some(TAGS.iter().map(tag).collect());
    // Each operation that needs a token says so.
    document.security = Some(Vec::new());
    document
}

/// Adds to every operation of a role what no handler answers by itself: what the layers in front of it do.
pub(super) fn add_common(document: &mut OpenApi, role: Role) {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations_mut(item) {
            operation.extensions = Some(ExtensionsBuilder::new().add("x-role", role.word()).build());
            let is_guarded = !super::guard::is_open(path);
            let is_write = !matches!(method, HttpMethod::Get | HttpMethod::Head | HttpMethod::Options);
            let takes_body = operation.request_body.is_some();
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                let is_optional = OPTIONAL_BODIES.contains(&operation.operation_id.as_deref().unwrap_or_default());
                body.required = Some(if is_optional { Required::False } else { Required::True });
            }
            if method == HttpMethod::Get {
                let about = "What `If-None-Match` names is what would be answered.";
                let unchanged = || ResponseBuilder::new().description(about).build().into();
                operation.responses.responses.entry("304".to_owned()).or_insert_with(unchanged);
            }
            let mut add = |status: &str, about: &str| {
                let responses = &mut operation.responses.responses;
                responses.entry(status.to_owned()).or_insert_with(|| problem(about));
            };
            add("400", "A parameter, a header or a field of the body is wrong; `field` names it.");
            if !matches!(role, Role::Public) {
                add("401", "A token is demanded, and none that holds is shown.");
                let reach = format!(
                    "The role is not {} or one above it, or the scope of the token does not reach.",
                    role.word()
                );
                let foreign = if is_write { " Or the request comes from a page of another site." } else { "" };
                add("403", &format!("{reach}{foreign}"));
            }
            if path != "/health" {
                add(
                    "429",
                    "Too many requests; `Retry-After` says when the next one may come. `RateLimit` says in every answer what is left.",
                );
            }
            if path == "/metrics" {
                add("401", "Where `[api] metrics` is `viewer`: no token that holds is shown.");
                add("403", "Where `[api] metrics` is `viewer`: the role or the scope of the token does not reach.");
            }
            add("500", "A fault of this server; its log says more.");
            add(
                "503",
                "The store does not answer, the answer took too long, or more is asked for at a time than can be answered.",
            );
            if is_guarded {
                add("421", "The request's `Host` is none that this server answers for.");
            }
            if !matches!(role, Role::Public) {
                operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
            }
            if is_write {
                add("403", "The request comes from a page of another site.");
            }
            if takes_body {
                add("408", "The body did not come to its end in time.");
                add("413", "The body is larger than this path takes.");
                add("415", "The body's content type is not `application/json`, or it is encoded (`Content-Encoding`).");
            }
        }
    }
}

/// Describes how a caller shows who it is.
pub(super) fn add_schemes(document: &mut OpenApi) {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("nta_…");
    let about = "A token of `nta-daemon tokens create` or `POST /api/tokens`. Nobody needs one while none was made and only this machine \
        reaches the listener.";
    let bearer = SecurityScheme::Http(bearer.description(Some(about)).build());
    document.components.get_or_insert_default().add_security_scheme(BEARER, bearer);
}

/// Name of the security scheme of tokens.
const BEARER: &str = "token";

/// Has pages of a list refer to their items, of which the macro writes a copy into each page. Where nothing else describes an item, its
/// description is that copy.
pub(super) fn refer_to_items(document: &mut OpenApi) {
    let Some(schemas) = document.components.as_mut().map(|components| &mut components.schemas) else { return };
    let mut copies = Vec::new();
    for (name, schema) in schemas.iter_mut() {
        let Some(item) = name.strip_prefix("List_") else { continue };
        if let RefOr::T(Schema::Object(list)) = schema
            && let Some(RefOr::T(Schema::Array(items))) = list.properties.get_mut("items")
        {
            let refers = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
            if let ArrayItems::RefOrSchema(copy) = std::mem::replace(&mut items.items, refers) {
                copies.push((item.to_owned(), *copy));
            }
        }
    }
    for (item, copy) in copies {
        if matches!(copy, RefOr::T(_)) {
            schemas.entry(item).or_insert(copy);
        }
    }
}

/// The operations of a path with their methods.
pub(super) fn operations(item: &PathItem) -> impl Iterator<Item = (HttpMethod, &Operation)> {
    let all = [
        (HttpMethod::Get, &item.get),
        (HttpMethod::Head, &item.head),
        (HttpMethod::Post, &item.post),
        (HttpMethod::Put, &item.put),
        (HttpMethod::Patch, &item.patch),
        (HttpMethod::Delete, &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

/// The same, to be changed.
pub(super) fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Head, &mut item.head),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn problem(about: &str) -> RefOr<Response> {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(about).content(PROBLEM_TYPE, content).build().into()
}
