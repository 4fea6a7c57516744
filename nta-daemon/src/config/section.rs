//! One declaration of a section gives its struct, its defaults, its documentation and its part of the configuration file.

use serde::Serialize;

/// Declares a section. The documentation of each field stands as a comment above it in the printed file; behind `=>` stands
/// which numbers it may be.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident in $section:literal {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(=> $bounds:expr)?, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $name {
            /// Which numbers each setting may be, by its key with the section in front.
            pub(super) fn bounds() -> Vec<(String, nta_core::Bounds)> {
                vec![$( $( (concat!($section, ".", stringify!($field)).to_owned(), $bounds), )? )+]
            }

            /// As a commented section of the configuration file.
            pub(super) fn to_toml(&self) -> Result<String, toml::ser::Error> {
                let mut text = String::from(concat!("[", $section, "]\n"));
                $(
                    $( text.push_str(concat!("#", $doc, "\n")); )+
                    $( text.push_str(&format!("# Allowed: {}.\n", $bounds)); )?
                    text.push_str(&$crate::config::section::line(stringify!($field), &self.$field)?);
                )+
                Ok(text)
            }
        }
    };
}

pub(super) use section;

/// `key = value`, as the TOML library writes values.
pub(super) fn line(key: &str, value: &impl Serialize) -> Result<String, toml::ser::Error> {
    Ok(format!("{key} = {}\n", toml::Value::try_from(value)?))
}
