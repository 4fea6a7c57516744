//! The query of a request as a type.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use utoipa::openapi::path::Parameter as Described;

use super::pairs::Pairs;
use crate::api::ApiError;

/// Parameters that belong together: those of a path, or a group that several paths share.
pub(in crate::api) trait Parameters: Sized {
    /// Names of all of them.
    fn names() -> Vec<&'static str>;

    /// Reads them.
    fn read(pairs: &Pairs) -> Result<Self, ApiError>;

    /// What the OpenAPI document says about them.
    fn described() -> Vec<Described>;
}

/// Extracts the query; parameters that `T` does not have are refused.
#[derive(Debug)]
pub(in crate::api) struct Query<T>(pub(in crate::api) T);

impl<S: Sync, T: Parameters> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        T::read(&Pairs::read(&parts.uri, &T::names())?).map(Self)
    }
}

/// A path that takes no parameters refuses all.
impl Parameters for () {
    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    fn read(_pairs: &Pairs) -> Result<Self, ApiError> {
        Ok(())
    }

    fn described() -> Vec<Described> {
        Vec::new()
    }
}

/// Makes a struct of optional parameters, and of groups of parameters behind `..`. A parameter's comment is its
/// description.
macro_rules! parameters {
    (
        $(#[doc = $about:literal])*
        $visibility:vis struct $name:ident {
            $( $(#[doc = $doc:literal])+ $parameter:literal => $field:ident : $type:ty, )*
            $( ..$group:ident : $group_type:ty, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        $visibility struct $name {
            $( $(#[doc = $doc])+ $visibility $field: Option<$type>, )*
            $( $visibility $group: $group_type, )*
        }

        impl $crate::api::extract::Parameters for $name {
            fn names() -> Vec<&'static str> {
                #[allow(unused_mut, reason = "not every path has groups")]
                let mut names = vec![$( $parameter ),*];
                $( names.extend(<$group_type as $crate::api::extract::Parameters>::names()); )*
                names
            }

            fn read(pairs: &$crate::api::extract::Pairs) -> Result<Self, $crate::api::ApiError> {
                Ok(Self {
                    $( $field: pairs.get($parameter)?, )*
                    $( $group: $crate::api::extract::Parameters::read(pairs)?, )*
                })
            }

            fn described() -> Vec<utoipa::openapi::path::Parameter> {
                #[allow(unused_mut, reason = "not every path has groups")]
                let mut all = vec![$(
                    $crate::api::openapi::query::<$type>($parameter, concat!($($doc),+)),
                )*];
                $( all.extend(<$group_type as $crate::api::extract::Parameters>::described()); )*
                all
            }
        }

        impl utoipa::IntoParams for $name {
            fn into_params(
                _place: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                <Self as $crate::api::extract::Parameters>::described()
            }
        }
    };
}

pub(in crate::api) use parameters;
