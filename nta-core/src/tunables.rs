//! The settings of a detector: one declaration gives the struct, its defaults, its part of the configuration file and
//! of the documentation.

/// A setting as documentation shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Key in the section.
    pub key: &'static str,
    /// Default, as in the file.
    pub default: String,
    /// What it means, with its unit.
    pub doc: String,
}

/// Declares the settings of a detector; each field's documentation (with its unit) goes into the printed configuration.
/// A detector's have `enabled`; what is `always` there has not.
macro_rules! tunables {
    ( $(#[doc = $about:literal])+ $name:ident in $section:literal { $($fields:tt)+ } ) => {
        $crate::tunables::tunables! {
            $(#[doc = $about])+
            $name in $section always {
                /// Whether the detector runs.
                enabled: bool = true,
                $($fields)+
            }
        }
    };
    (
        $(#[doc = $about:literal])+
        $name:ident in $section:literal always {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $name {
            /// Section of the configuration file.
            pub const SECTION: &'static str = $section;

            /// Its settings but `enabled`, for the documentation.
            pub fn settings() -> Vec<$crate::Setting> {
                let default = Self::default();
                let mut settings = vec![ $( $crate::Setting {
                    key: stringify!($field),
                    default: format!("{:?}", default.$field),
                    doc: concat!($($doc),+).trim().to_owned(),
                }, )+ ];
                settings.retain(|setting| setting.key != "enabled");
                settings
            }

            /// As a commented section of the configuration file.
            pub fn to_toml(&self) -> String {
                let mut toml = format!("[{}]\n", $section);
                $(
                    $( toml.push_str(concat!("#", $doc, "\n")); )+
                    toml.push_str(&format!(concat!(stringify!($field), " = {:?}\n"), self.$field));
                )+
                toml
            }
        }
    };
}

pub(crate) use tunables;
