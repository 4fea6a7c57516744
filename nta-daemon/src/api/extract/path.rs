//! The parameter of a path as a type.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter as Described, ParameterBuilder, ParameterIn};

use super::pairs::read;
use super::value::Parameter;
use crate::api::ApiError;

/// A value that stands in a path.
pub(in crate::api) trait PathParameter: Parameter {
    /// Its name in the path.
    const NAME: &'static str;
    /// What it is.
    const ABOUT: &'static str;
}

/// Extracts the one parameter of a path.
#[derive(Debug)]
pub(in crate::api) struct Path<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: PathParameter> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let unreadable = || ApiError::invalid(T::NAME, "expected UTF-8");
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_not_utf8| unreadable())?;
        let text = raw.iter().find(|(name, _)| *name == T::NAME).map(|(_, text)| text).unwrap_or_default();
        read(T::NAME, text).map(Self)
    }
}

/// Describes the parameter, for the OpenAPI document.
#[derive(Debug)]
pub(in crate::api) struct InPath<T>(PhantomData<T>);

impl<T: PathParameter> IntoParams for InPath<T> {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        vec![
            ParameterBuilder::new()
                .name(T::NAME)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(T::ABOUT))
                .schema(Some(T::schema()))
                .build(),
        ]
    }
}
