//! What variables of the environment say.

use std::path::PathBuf;

use super::{Key, PREFIX, Values, keys};
use crate::config::NOT_UTF8;

impl Values<'_> {
    /// From the environment: the prefixed name wins over the bare one, a value over a `…_FILE`. Empty counts as unset.
    pub(super) fn environment(&mut self, key: &Key) -> Option<String> {
        if self.within(key.path) {
            return None;
        }
        let variable = keys::variable(key.path);
        for name in [format!("{PREFIX}{variable}"), variable] {
            if let Some(value) = self.env.get(&name).filter(|value| !value.is_empty()) {
                if value.contains(NOT_UTF8) {
                    self.say(format!("{name} (environment): is not UTF-8"));
                }
                return Some(value.clone());
            }
            let file = self.env.get(&format!("{name}_FILE")).filter(|_| key.kind.is_secret());
            if let Some(file) = file.filter(|file| !file.is_empty()) {
                match std::fs::read_to_string(file) {
                    Ok(text) if text.trim().is_empty() => self.say(format!(
                        "{name}_FILE (environment): {file} is empty: put the secret into it, or remove the variable"
                    )),
                    Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                    Err(error) => self.say(format!("{name}_FILE (environment): {file}: {error}")),
                }
            }
        }
        None
    }

    /// The file that [`Self::secret`] reads, if it reads one.
    pub(in crate::config) fn secret_file(&self, path: &str) -> Option<PathBuf> {
        let variable = keys::variable(path);
        let set = |name: &str| self.env.get(name).filter(|value| !value.is_empty());
        for name in [format!("{PREFIX}{variable}"), variable] {
            if set(&name).is_some() {
                return None;
            }
            if let Some(file) = set(&format!("{name}_FILE")) {
                return Some(file.into());
            }
        }
        None
    }
}
