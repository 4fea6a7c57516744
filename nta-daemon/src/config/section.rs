//! One declaration of a section gives its struct, its defaults, its documentation and its part of the configuration file.

/// Declares a section. The documentation of each field stands as a comment above it in the printed file, and in
/// `docs/CONFIGURATION.md`; behind `=>` stands which numbers it may be.
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
            /// The section with the values that it has here.
            pub(super) fn section(&self) -> Result<nta_core::Section, toml::ser::Error> {
                Ok(nta_core::Section {
                    name: $section,
                    about: nta_core::documentation(&[$($about),+]),
                    settings: vec![ $( nta_core::Setting {
                        key: stringify!($field),
                        value: toml::Value::try_from(&self.$field)?.to_string(),
                        doc: nta_core::documentation(&[$($doc),+]),
                        bounds: [$(Some($bounds),)? None][0],
                    }, )+ ],
                })
            }
        }
    };
}

pub(super) use section;
