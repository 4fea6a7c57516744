//! The settings of a detector: one declaration gives the struct, its defaults, its part of the configuration file and
//! of the documentation.

use std::fmt;

/// Which numbers a setting may be, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Bounds {
    /// A share, a ratio of a part to the whole, or a probability.
    pub const SHARE: Self = Self::new(0.0, 1.0);
    /// How many there must be, or may be: at least one, and few enough that sums of them are exact.
    pub const COUNT: Self = Self::new(1.0, 1e9);
    /// Bytes, of a packet or of a year.
    pub const BYTES: Self = Self::new(0.0, 1e15);
    /// Seconds: up to ten years, which as nanoseconds is a number of 64 bits.
    pub const SECONDS: Self = Self::new(0.0, 315_360_000.0);
    /// Seconds for which something is remembered.
    pub const MEMORY_S: Self = Self::new(1.0, 315_360_000.0);
    /// Times what is usual: at least as much.
    pub const FACTOR: Self = Self::new(1.0, 1e6);
    /// Deviations above what is usual.
    pub const SIGMAS: Self = Self::new(0.0, 1e6);
    /// Windows in a row.
    pub const WINDOWS: Self = Self::new(1.0, 1e6);
    /// Entries of a table in memory.
    pub const ENTRIES: Self = Self::new(1.0, 1e7);

    /// From `min` to `max`.
    pub const fn new(min: f64, max: f64) -> Self {
        Self { min, max }
    }

    /// Whether a value is one of them; what is no number is none.
    pub fn contains(self, value: f64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.min, self.max)
    }
}

/// A section of the configuration file, with the values that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: String,
    /// Its settings, in the order of the file.
    pub settings: Vec<Setting>,
}

impl Section {
    /// As a commented section of the configuration file; what `note` says of a setting is one more line of its comment.
    pub fn to_toml(&self, note: impl Fn(&Setting) -> Option<String>) -> String {
        let mut toml = format!("[{}]\n", self.name);
        for setting in &self.settings {
            toml.extend(setting.doc.lines().map(|line| format!("# {line}\n")));
            toml.extend(setting.bounds.map(|bounds| format!("# Allowed: {bounds}.\n")));
            toml.extend(note(setting).map(|line| format!("# {line}\n")));
            toml.push_str(&format!("{} = {}\n", setting.key, setting.value));
        }
        toml
    }
}

/// A setting, as the configuration file and the documentation show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Key in the section.
    pub key: &'static str,
    /// Value, as in the file.
    pub value: String,
    /// What it means, with its unit; lines as they are in the source.
    pub doc: String,
    /// What it may be; `None` where that is no range of numbers.
    pub bounds: Option<Bounds>,
}

/// The lines of a documentation, as one text.
pub fn documentation(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}

/// Declares the settings of a detector; each field's documentation (with its unit) goes into the printed configuration.
/// A detector's have `enabled`; what is `always` there has not. Behind `=>` stands which numbers a setting may be.
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
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr $(=> $bounds:expr)?, )+
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
            /// The section with the values that it has here.
            pub fn section(&self) -> $crate::Section {
                $crate::Section {
                    name: $section,
                    about: $crate::documentation(&[$($about),+]),
                    settings: vec![ $( $crate::Setting {
                        key: stringify!($field),
                        value: format!("{:?}", self.$field),
                        doc: $crate::documentation(&[$($doc),+]),
                        bounds: [$(Some($bounds),)? None][0],
                    }, )+ ],
                }
            }

            /// As a commented section of the configuration file.
            pub fn to_toml(&self) -> String {
                self.section().to_toml(|_| None)
            }
        }
    };
}

pub(crate) use tunables;
