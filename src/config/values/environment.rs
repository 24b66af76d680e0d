//! What variables of the environment say.

use std::path::PathBuf;

use super::{PREFIX, Values};
use crate::config::environment::NOT_UTF8;
use crate::config::keys::Info;

/// The names of a key's variables in the order in which they are read.
pub(super) fn names(key: &Info) -> [String; 2] {
    let variable = key.variable();
    [format!("{PREFIX}{variable}"), variable]
}

impl<'a> Values<'a> {
    /// From the environment: the prefixed name wins over the bare one, a value over a `…_FILE`. An empty variable is an unset one.
    pub(super) fn environment(&mut self, key: &Info) -> Option<String> {
        if self.item_of(key.path).is_some() {
            return None;
        }
        for name in names(key) {
            if let Some(value) = self.variable(&name) {
                if value.contains(NOT_UTF8) {
                    self.add_problem(format!("{name} (environment): is not UTF-8"));
                }
                return Some(value.to_owned());
            }
            if let Some(file) = self.variable(&format!("{name}_FILE")).filter(|_| key.kind.is_secret()) {
                match std::fs::read_to_string(file) {
                    Ok(text) if text.trim().is_empty() => self.add_problem(format!(
                        "{name}_FILE (environment): {file} is empty: put the secret into it, or remove the variable"
                    )),
                    Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => self.add_problem(format!("{name}_FILE (environment): {file}: {error}")),
                }
            }
        }
        None
    }

    /// The file that a secret is read from, if it is.
    pub(crate) fn secret_file(&self, key: &Info) -> Option<PathBuf> {
        for name in names(key) {
            if self.variable(&name).is_some() {
                return None;
            }
            if let Some(file) = self.variable(&format!("{name}_FILE")) {
                return Some(file.into());
            }
        }
        None
    }

    /// A variable by its name, which need not be one of a key.
    pub(crate) fn variable(&self, name: &str) -> Option<&'a str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable that is no key's own, as those of OpenTelemetry; `check` shows it.
    pub(crate) fn foreign(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.variable(name)?;
        self.effective.push((name.to_owned(), value.to_owned()));
        Some(value)
    }

    /// What variables of a standard or of the image give for a key. They are meant for every program of a deployment, so that the
    /// file and the variables of the key's own name come first.
    pub(super) fn fallback(&self, key: &Info) -> Option<String> {
        key.fallbacks.iter().find_map(|name| self.variable(name)).map(str::to_owned)
    }

    /// Whether nothing but such a variable gives the value.
    pub(crate) fn is_by_fallback(&mut self, key: &'static Info) -> bool {
        self.own(key).is_none() && self.fallback(key).is_some()
    }
}
