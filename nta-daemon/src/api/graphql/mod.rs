//! GraphQL over the paths of the API that read: its types are those of the OpenAPI document, and what a field of the query asks for is
//! asked of the path itself, so that roles, scopes, limits and errors are the same. Nothing can be changed by it.
//!
//! What a query may cost is bounded before it is parsed ([`cost::check`]: a parser and the validation of fragments recurse), before it is
//! answered ([`MOST_FIELDS`], [`MOST_DEPTH`]), and while it is: the paths that it asks, one at a time, the items of their lists and
//! the values of its answer, all of them together.

mod cost;
mod schema;

use async_graphql::dynamic::{ResolverContext, Schema};
use async_graphql::{Error, ErrorExtensionValues, Request, Response, SelectionField, ServerError, Value as Argument};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderName, Request as HttpRequest, StatusCode, header};
use serde_json::Value;
use tokio::sync::Mutex;
use tower::ServiceExt as _;
use utoipa::openapi::OpenApi;

/// Fields of a query, fragments counted wherever they are used.
pub(super) const MOST_FIELDS: usize = 500;
/// Fields within each other: so many has the question for the schema that editors and generators of clients ask.
pub(super) const MOST_DEPTH: usize = 16;
/// Paths that one query asks.
const MOST_QUESTIONS: u32 = 20;
/// Items of all lists that one query asks for together.
const MOST_ITEMS: u32 = 2000;
/// Values of an answer.
const MOST_VALUES: usize = 50_000;
/// Items of a list that is asked for without `limit`.
const USUAL_ITEMS: u32 = 100;
/// Largest answer of a path: 1,000 items of the largest kind are below it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What of a request says who asks, and from where; the rest is about its body, or its answer.
const HEADERS: [HeaderName; 4] =
    [header::HOST, header::AUTHORIZATION, header::COOKIE, HeaderName::from_static("x-forwarded-for")];

/// What answers queries.
#[derive(Clone)]
pub(super) struct Graph {
    schema: Schema,
    paths: Router,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

impl Graph {
    /// Of a document, and of the paths that it describes. `None` where the document has not what the fields need: then it is another one.
    pub(super) fn new(document: &OpenApi, paths: Router) -> Option<Self> {
        let document = serde_json::to_value(document).ok()?;
        let schema = schema::of(&document).inspect_err(|error| tracing::error!(%error, "api: no GraphQL")).ok()?;
        Some(Self { schema, paths })
    }

    /// The answer to a query of who sent this request.
    pub(super) async fn answer(&self, asked: Parts, request: Request) -> Response {
        if let Err(refused) = cost::check(&request.query) {
            return Response::from_errors(vec![ServerError::new(refused, None)]);
        }
        let asked = Asked { paths: self.paths.clone(), parts: asked, spent: Mutex::default() };
        self.schema.execute(request.data(asked)).await
    }
}

/// Who asks, and what was spent so far.
struct Asked {
    paths: Router,
    parts: Parts,
    /// Held while a path is asked, so that a query takes no more of the threads that answer than one request does.
    spent: Mutex<Spent>,
}

struct Spent {
    questions: u32,
    items: u32,
    /// Those that are left.
    values: usize,
}

impl Spent {
    /// Counts a question, and the items of its list.
    fn ask(&mut self, items: u32) -> Result<(), Error> {
        self.questions += 1;
        if self.questions > MOST_QUESTIONS {
            return Err(Error::new(format!("the query asks for too much: at most {MOST_QUESTIONS} fields of `Query`")));
        }
        self.items = self.items.saturating_add(items);
        if self.items > MOST_ITEMS {
            return Err(Error::new(format!(
                "the query asks for more than {MOST_ITEMS} items of lists: a smaller `limit` ({USUAL_ITEMS} unless given), or fewer lists"
            )));
        }
        Ok(())
    }

    /// Counts what a field selects of an answer.
    fn answer(&mut self, field: &SelectionField<'_>, answer: &Value) -> Result<(), Error> {
        let too_many =
            || Error::new(format!("the answer has more than {MOST_VALUES} values: a smaller `limit`, or fewer fields"));
        spend(field, answer, &mut self.values).ok_or_else(too_many)
    }
}

impl Default for Spent {
    fn default() -> Self {
        Self { questions: 0, items: 0, values: MOST_VALUES }
    }
}

/// Takes the values that a field selects of an answer from those that are left; `None` where there are more.
fn spend(field: &SelectionField<'_>, answer: &Value, left: &mut usize) -> Option<()> {
    match answer {
        Value::Array(items) => items.iter().try_for_each(|item| spend(field, item, left)),
        Value::Object(object) => field.selection_set().try_for_each(|below| {
            *left = left.checked_sub(1)?;
            object.get(below.name()).map_or(Some(()), |value| spend(&below, value, left))
        }),
        _ => Some(()),
    }
}

impl Asked {
    /// The answer of a path to who asks.
    async fn get(&self, target: String) -> Result<Value, Error> {
        let mut request = HttpRequest::get(target);
        for name in HEADERS {
            for value in self.parts.headers.get_all(&name) {
                request = request.header(&name, value);
            }
        }
        let mut request = request.body(Body::empty()).map_err(|_wrong| Error::new("an argument cannot be sent on"))?;
        // Where the connection ends: who asks from where is the same.
        *request.extensions_mut() = self.parts.extensions.clone();
        let response = self.paths.clone().oneshot(request).await.map_err(|never| match never {})?;
        let status = response.status();
        let body = to_bytes(response.into_body(), MOST_BYTES).await;
        let body = body.map_err(|_large| Error::new("the answer is too large: a smaller `limit`"))?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_no_json| Error::new("no answer"))?;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let detail = [&answer["detail"], &answer["title"]].into_iter().find_map(Value::as_str).unwrap_or("refused");
        let mut error = Error::new(detail.to_owned());
        let mut about = ErrorExtensionValues::default();
        about.set("status", i32::from(status.as_u16()));
        if let Some(field) = answer["field"].as_str() {
            about.set("field", field);
        }
        error.extensions = Some(about);
        Err(error)
    }
}

/// What a field of the query stands for.
#[derive(Clone, Copy, Debug)]
struct Question {
    field: &'static str,
    path: &'static str,
}

impl Question {
    /// Asks the path with the arguments of the field.
    async fn ask(self, context: &ResolverContext<'_>, is_list: bool) -> Result<Value, Error> {
        let asked = context.ctx.data::<Asked>()?;
        let (mut target, mut items) = (self.path.to_owned(), if is_list { USUAL_ITEMS } else { 1 });
        let mut query = Vec::new();
        for (name, value) in context.args.iter() {
            let given: Vec<String> = match value.as_value() {
                Argument::Null => continue,
                Argument::List(values) => values.iter().map(text).collect(),
                one => vec![text(one)],
            };
            if name == "limit" {
                items = value.u64().ok().and_then(|limit| u32::try_from(limit).ok()).unwrap_or(u32::MAX);
            }
            let place = format!("{{{name}}}");
            if target.contains(&place) {
                let value = escaped(&given.concat());
                // Without it the path is another one.
                if value.is_empty() {
                    return Err(Error::new(format!("{name}: is empty")));
                }
                target = target.replace(&place, &value);
            } else {
                query.extend(given.iter().map(|value| format!("{name}={}", escaped(value))));
            }
        }
        let mut spent = asked.spent.lock().await;
        spent.ask(items)?;
        let answer = asked.get(format!("{target}?{}", query.join("&"))).await?;
        spent.answer(&context.ctx.field(), &answer)?;
        Ok(answer)
    }
}

/// An argument as a query of HTTP has it.
fn text(value: &Argument) -> String {
    match value {
        Argument::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The same with all but letters and digits escaped.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}
