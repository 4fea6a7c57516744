//! The schema: a field of the query for each path in [`QUESTIONS`], with the path's parameters as arguments; the types of the answers are those of
//! the document. What GraphQL has no type for, a map by names or one of several shapes, is `JSON`.

use std::collections::BTreeMap;

use async_graphql::Value as Constant;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, Scalar, Schema, SchemaError, TypeRef,
};
use serde_json::Value;

use super::{MOST_DEPTH, MOST_FIELDS, Question};

/// What can be asked, and by which path.
const QUESTIONS: &[Question] = &[
    Question { field: "windows", path: "/api/metrics" },
    Question { field: "window", path: "/api/metrics/{id}" },
    Question { field: "summary", path: "/api/metrics/summary" },
    Question { field: "features", path: "/api/features" },
    Question { field: "flows", path: "/api/flows" },
    Question { field: "hosts", path: "/api/hosts" },
    Question { field: "host", path: "/api/hosts/{ip}" },
    Question { field: "anomalies", path: "/api/anomalies" },
    Question { field: "alerts", path: "/api/alerts" },
    Question { field: "alert", path: "/api/alerts/{id}" },
    Question { field: "baselines", path: "/api/baselines" },
    Question { field: "baseline", path: "/api/baselines/{type}" },
];

/// Directives of a field.
const MOST_DIRECTIVES: usize = 4;
const ROOT: &str = "Query";
const JSON: &str = "JSON";
const LONG: &str = "Long";

/// How a value is given on.
#[derive(Clone, Debug)]
enum Kind {
    /// As it is.
    Leaf(&'static str),
    /// Field by field.
    Object(String),
    List(Box<Self>),
}

impl Kind {
    fn named(&self, is_required: bool) -> TypeRef {
        let bare = match self {
            Self::Leaf(name) => TypeRef::named(*name),
            Self::Object(name) => TypeRef::named(name.clone()),
            Self::List(items) => TypeRef::List(Box::new(items.named(true))),
        };
        if is_required { TypeRef::NonNull(Box::new(bare)) } else { bare }
    }

    /// A value of an answer, of which objects are borrowed.
    fn value<'a>(&self, value: &'a Value) -> Option<FieldValue<'a>> {
        match (self, value) {
            (_, Value::Null) => None,
            (Self::Object(_), value) => Some(FieldValue::borrowed_any(value)),
            (Self::List(items), Value::Array(values)) => {
                Some(FieldValue::list(values.iter().filter_map(|value| items.value(value))))
            }
            (_, value) => Constant::from_json(value.clone()).ok().map(FieldValue::value),
        }
    }
}

/// Objects of the document as they are met.
struct Types<'a> {
    document: &'a Value,
    made: BTreeMap<String, Option<Object>>,
}

/// The schema over a document.
///
/// # Errors
/// Where the document lacks a path, or names are used twice.
pub(super) fn of(document: &Value) -> Result<Schema, SchemaError> {
    let mut types = Types { document, made: BTreeMap::new() };
    let mut root = Object::new(ROOT).description("What can be read; nothing can be changed.");
    for question in QUESTIONS {
        root = root.field(types.question(*question)?);
    }
    let long = Scalar::new(LONG).description("A whole number of up to 64 bits.");
    let json = Scalar::new(JSON).description("Any value: a map by names, or one of several shapes.");
    let mut schema = Schema::build(ROOT, None, None)
        .limit_complexity(MOST_FIELDS)
        .limit_depth(MOST_DEPTH)
        .limit_directives(MOST_DIRECTIVES)
        .register(root)
        .register(long)
        .register(json);
    for object in types.made.into_values().flatten() {
        schema = schema.register(object);
    }
    schema.finish()
}

impl Types<'_> {
    fn question(&mut self, question: Question) -> Result<Field, SchemaError> {
        let lacks = || SchemaError(format!("the document lacks GET {}", question.path));
        let operation = &self.document["paths"][question.path]["get"];
        let answer = operation["responses"]["200"]["content"]["application/json"].get("schema").ok_or_else(lacks)?;
        let (answer, parameters) = (answer.clone(), operation["parameters"].as_array().cloned().unwrap_or_default());
        let kind = self.kind(&answer, question.field);
        let is_list = parameters.iter().any(|one| one["name"] == "limit");
        let mut field = Field::new(question.field, kind.named(false), move |context| {
            FieldFuture::new(async move {
                let value = question.ask(&context, is_list).await?;
                Ok(Some(FieldValue::owned_any(value)))
            })
        });
        if let Some(about) = operation["summary"].as_str().or(operation["description"].as_str()) {
            field = field.description(about.lines().next().unwrap_or_default());
        }
        for parameter in &parameters {
            let Some(name) = parameter["name"].as_str() else { continue };
            let schema = &parameter["schema"];
            let one = if is(schema, "integer") { TypeRef::INT } else { TypeRef::STRING };
            let kind = match (is(schema, "array"), parameter["in"] == "path") {
                (true, _) => TypeRef::named_nn_list(TypeRef::STRING),
                (_, true) if is(schema, "integer") => TypeRef::named_nn(LONG),
                (_, true) => TypeRef::named_nn(TypeRef::STRING),
                _ => TypeRef::named(one),
            };
            let about = parameter["description"].as_str().unwrap_or_default();
            field = field.argument(InputValue::new(name, kind).description(about));
        }
        Ok(field)
    }

    /// How values of a schema are given on; `name` is that of an object without one.
    fn kind(&mut self, schema: &Value, name: &str) -> Kind {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default().to_owned();
            let document = self.document;
            return self.kind(&document["components"]["schemas"][&name], &name);
        }
        for several in ["oneOf", "anyOf"] {
            if let Some(shapes) = schema[several].as_array() {
                let mut shapes = shapes.iter().filter(|shape| !is(shape, "null"));
                return match (shapes.next(), shapes.next()) {
                    (Some(only), None) => self.kind(only, name),
                    _ => Kind::Leaf(JSON),
                };
            }
        }
        if is(schema, "array") {
            return Kind::List(Box::new(self.kind(&schema["items"], &format!("{name}_item"))));
        }
        for (word, leaf) in
            [("string", TypeRef::STRING), ("boolean", TypeRef::BOOLEAN), ("integer", LONG), ("number", TypeRef::FLOAT)]
        {
            if is(schema, word) {
                return Kind::Leaf(leaf);
            }
        }
        let mut properties = BTreeMap::new();
        self.properties(schema, &mut properties);
        if properties.is_empty() {
            return Kind::Leaf(JSON);
        }
        self.object(name, properties);
        Kind::Object(name.to_owned())
    }

    /// The properties of an object, with whether each is always there.
    fn properties(&self, schema: &Value, to: &mut BTreeMap<String, (Value, bool)>) {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
            self.properties(&self.document["components"]["schemas"][name], to);
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.properties(part, to);
        }
        let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_null = is(property, "null")
                || ["oneOf", "anyOf"].iter().any(|several| {
                    property[several].as_array().is_some_and(|shapes| shapes.iter().any(|shape| is(shape, "null")))
                });
            to.insert(name.clone(), (property.clone(), required(name) && !is_null));
        }
    }

    fn object(&mut self, name: &str, properties: BTreeMap<String, (Value, bool)>) {
        if self.made.contains_key(name) {
            return;
        }
        // One that holds itself finds itself made.
        self.made.insert(name.to_owned(), None);
        let mut object = Object::new(name);
        for (property, (schema, is_required)) in properties {
            let kind = self.kind(&schema, &format!("{name}_{property}"));
            let (of, key) = (kind.clone(), property.clone());
            let mut field = Field::new(property, kind.named(is_required), move |context| {
                let parent = context.parent_value.downcast_ref::<Value>();
                FieldFuture::Value(parent.and_then(|parent| of.value(parent.get(&key)?)))
            });
            if let Some(about) = schema["description"].as_str() {
                field = field.description(about);
            }
            object = object.field(field);
        }
        self.made.insert(name.to_owned(), Some(object));
    }
}

/// Whether a schema is of a type, or of several with this one among them.
fn is(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => false,
    }
}
