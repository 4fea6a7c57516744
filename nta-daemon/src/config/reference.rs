//! The settings as they are printed and documented: the declarations of the sections give the commented file,
//! what `print-config SETTING` says of one, which numbers are allowed, and the tables of `docs/CONFIGURATION.md`.

use std::collections::BTreeMap;

use nta_core::{Bounds, Section, Setting};

use super::{Config, ConfigError, StoreConfig, is_reloadable, nearest, webhooks};

/// A setting that there is not.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no section or setting `{name}`{}", .nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct UnknownSetting {
    name: String,
    nearest: Option<String>,
}

impl Config {
    /// As a commented TOML file that [`Config::load`] reads back the same, but for the database's password: what is printed
    /// ends up in tickets and logs.
    ///
    /// # Errors
    /// If it has a value that no file can hold.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        Ok(written(&self.sections()?, &Self::default().sections()?))
    }

    /// Of such a file the named settings, and those of the named sections.
    ///
    /// # Errors
    /// If it has a value that no file can hold, or there is no such section or setting.
    pub fn explained(&self, names: &[String]) -> Result<Result<String, UnknownSetting>, ConfigError> {
        let (mut sections, defaults) = (self.sections()?, Self::default().sections()?);
        if self.webhooks.is_empty() {
            sections.push(webhooks::reference());
        }
        let known: Vec<String> = sections.iter().flat_map(names_of).collect();
        for name in names {
            if !known.contains(name) {
                let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                return Ok(Err(UnknownSetting { name: name.clone(), nearest }));
            }
        }
        for section in &mut sections {
            let place = place(section);
            let is_in = |name: &String| {
                place.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            if !names.iter().any(is_in) {
                section.settings.retain(|setting| names.contains(&format!("{place}.{}", setting.key)));
            }
        }
        sections.retain(|section| !section.settings.is_empty());
        Ok(Ok(written(&sections, &defaults)))
    }

    /// Every section with its values, without what is secret.
    fn sections(&self) -> Result<Vec<Section>, ConfigError> {
        let database = self.store.database.without_password();
        let store = &StoreConfig { database, ..self.store.clone() };
        let Self {
            sensor,
            log,
            capture,
            events,
            windows,
            detect,
            baseline,
            model,
            store: _,
            archive,
            uploads,
            jsonl,
            eve,
            ipfix,
            remote_write,
            recordings,
            results,
            ship,
            collect,
            fleet,
            api,
            webhooks,
        } = self;
        let all = || {
            let mut sections =
                vec![sensor.section()?, log.section()?, capture.section()?, events.section()?, windows.section()?];
            sections.extend(detect.sections());
            sections.extend([baseline.section(), model.section()?, store.section()?, archive.section()?]);
            sections.extend([uploads.section()?, jsonl.section()?, eve.section()?, ipfix.section()?]);
            sections.extend([remote_write.section()?, recordings.section()?, results.section()?, ship.section()?]);
            sections.extend([collect.section()?, fleet.section()?, api.section()?]);
            for webhook in webhooks {
                sections.push(webhook.section()?);
            }
            Ok(sections)
        };
        all().map_err(ConfigError::Unwritable)
    }
}

/// Which numbers a setting may be, by section and key.
pub(super) fn bounds() -> Result<BTreeMap<String, Bounds>, ConfigError> {
    let sections = Config::default().sections()?;
    let bounds = |section: &Section| {
        let of = |setting: &Setting| Some((format!("{}.{}", place(section), setting.key), setting.bounds?));
        section.settings.iter().filter_map(of).collect::<Vec<_>>()
    };
    Ok(sections.iter().flat_map(bounds).collect())
}

/// Sections as a file: beside each setting its meaning, its default where it has another value, and whether a reload takes it up.
fn written(sections: &[Section], defaults: &[Section]) -> String {
    let default = |section: &Section, setting: &Setting| {
        let of = defaults.iter().find(|default| default.name == section.name)?;
        of.settings.iter().find(|default| default.key == setting.key)
    };
    let section = |section: &Section| {
        section.to_toml(|setting| {
            let default = default(section, setting).filter(|default| default.value != setting.value);
            let default = default.map(|default| format!("Default: {}", default.value));
            let reload = is_reloadable(&format!("{}.{}", place(section), setting.key)).then(|| RELOAD.to_owned());
            let notes: Vec<String> = default.into_iter().chain(reload).collect();
            (!notes.is_empty()).then(|| notes.join("\n# "))
        })
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

/// A section's name as settings have it in front: that of a list of sections stands in brackets.
fn place(section: &Section) -> &'static str {
    section.name.trim_matches(['[', ']'])
}

/// A section, what it is a part of, and its settings, as one may ask for them.
fn names_of(section: &Section) -> Vec<String> {
    let place = place(section);
    let above = place.split_once('.').map(|(above, _)| above.to_owned());
    let settings = section.settings.iter().map(|setting| format!("{place}.{}", setting.key));
    settings.chain(above).chain([place.to_owned()]).collect()
}

/// Above a setting that a reload takes up.
pub(super) const RELOAD: &str = "A reload takes it up.";

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn one_may_ask_for_a_section_or_a_setting() {
        let config: Config = toml::from_str("[store]\nmax_flows = 9\n").expect("a configuration");
        let ask = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            config.explained(&names).expect("it can be written").map_err(|error| error.to_string())
        };
        let flows = "[store]\n# Flows kept.\n# Allowed: from 1 to 1000000000000.\n# Default: 1000000\n# A reload takes it up.\nmax_flows = 9\n";
        assert_eq!(ask(&["store.max_flows"]).as_deref(), Ok(flows));
        let detect = ask(&["detect"]).expect("there is one");
        assert!(detect.contains("[detect.port_scan]") && detect.starts_with("[detect]\n"), "{detect}");
        let two = ask(&["windows", "webhooks.kind"]).expect("there are");
        assert!(two.contains("seconds = 5") && two.contains("\n[[webhooks]]\n# What it speaks"), "{two}");
        let error = ask(&["store.max_flow"]).expect_err("there is none");
        assert_eq!(error, "there is no section or setting `store.max_flow`; did you mean `store.max_flows`?");
    }

    #[test]
    fn the_documents_tables_are_those_of_the_code() {
        const BEGIN: &str = "<!-- written from the code: `UPDATE=1 cargo test -p nta-daemon --lib reference` -->\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIGURATION.md");
        let found = std::fs::read_to_string(&path).expect("the document");
        let (before, _) = found.split_once(BEGIN).expect("the mark above the tables");
        let expected = format!("{before}{BEGIN}{}", tables());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &expected).expect("it can be written");
        } else {
            assert!(found == expected, "docs/CONFIGURATION.md is not what the code says: test again with UPDATE=1");
        }
    }

    /// A table for each section.
    fn tables() -> String {
        let mut sections = Config::default().sections().expect("the defaults can be written");
        sections.push(webhooks::reference());
        let mut text = String::new();
        for section in &sections {
            let about = section.about.replace('\n', " ");
            write!(text, "\n### `[{}]`\n\n{about}\n\n", section.name).expect("a string grows");
            text.push_str("| setting | value | default | reload | meaning |\n|---|---|---|---|---|\n");
            section.settings.iter().for_each(|setting| text.push_str(&row(section, setting)));
        }
        text
    }

    fn row(section: &Section, setting: &Setting) -> String {
        let Setting { key, value, doc, bounds } = setting;
        let allowed = match (kind(value), bounds) {
            (kind, Some(bounds)) => format!("{kind} {bounds}"),
            (kind, None) => kind.to_owned(),
        };
        let default = if value.is_empty() { "must be given".to_owned() } else { format!("`{value}`") };
        let reload = if is_reloadable(&format!("{}.{key}", place(section))) { "yes" } else { "restart" };
        let meaning = doc.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;");
        format!("| `{key}` | {allowed} | {default} | {reload} | {meaning} |\n")
    }

    /// What a value is, in words.
    fn kind(value: &str) -> &'static str {
        let parsed: toml::Table = format!("it = {value}").parse().unwrap_or_default();
        match parsed.get("it") {
            Some(toml::Value::Boolean(_)) => "true or false",
            Some(toml::Value::Integer(_)) => "whole number",
            Some(toml::Value::Float(_)) => "number",
            Some(toml::Value::Array(_)) => "list",
            Some(toml::Value::Table(_)) => "table",
            _ => "text",
        }
    }
}
