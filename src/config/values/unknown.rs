//! What stands in the file or in the environment and is no key.

use super::{PREFIX, Values};
use crate::config::keys::{self, Info, Kind, REMOVED, Removed};
use crate::config::tree::{Node, Value};

/// Variables that are no keys, without the prefix: one names the file, the image sets the other.
const NO_KEYS: [&str; 2] = ["CONFIG", "IMAGE_LISTEN"];

impl Values<'_> {
    /// `shown` is the prefix as an operator knows it, with the number of the item within a list of sections.
    pub(super) fn unknown_keys(&mut self, prefix: &str, shown: &str, entries: &[(String, Node)]) {
        for (name, node) in entries {
            let (path, shown) = (format!("{prefix}{name}"), format!("{shown}{name}"));
            if keys::all().any(|key| key.path == path) {
                continue;
            }
            let section = format!("{path}.");
            if keys::all().any(|key| key.path.starts_with(&section)) {
                self.unknown_in_section(&section, &shown, node);
                continue;
            }
            if let Some(removed) = REMOVED.iter().find(|removed| removed.path == path) {
                self.problems.push(format!("{shown} (line {}): {}", node.line, removed.instead));
                continue;
            }
            let hint = keys::nearest(&path, keys::all().map(|key| key.path));
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.problems.push(format!("{shown} (line {}): unknown key{hint}", node.line));
        }
    }

    fn unknown_in_section(&mut self, section: &str, shown: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => self.unknown_keys(section, &format!("{shown}."), entries),
            // a variable cannot hold a section: one that is unset would take the section's restrictions with it
            Value::Scalar(text) if text.is_empty() && node.missing.is_empty() => {}
            Value::List(nodes) if section.strip_suffix('.') == Some(keys::oidc::SECTION.name) => {
                for (at, node) in nodes.iter().enumerate() {
                    let shown = format!("{shown}[{at}]");
                    match &node.value {
                        Value::Map(entries) => self.unknown_keys(section, &format!("{shown}."), entries),
                        _ => self.problems.push(format!("{shown} (line {}): must be a section", node.line)),
                    }
                }
            }
            _ => self.problems.push(format!("{shown} (line {}): must be a section with keys of its own", node.line)),
        }
    }

    /// A variable of a removed key is an error with our prefix, and else a warning: it may be another program's.
    pub(super) fn unknown_variables(&mut self) {
        let known: Vec<String> = keys::all().map(Info::variable).collect();
        let secrets = keys::all().filter(|key| key.kind.is_secret()).map(Info::variable);
        let files: Vec<String> = secrets.map(|name| format!("{name}_FILE")).collect();
        let mut removed = Vec::new();
        for Removed { path, instead } in REMOVED {
            let variable = keys::variable(path);
            if self.variable(&variable).is_some() {
                self.warnings.push(format!("{variable} (environment): {path} {instead}"));
            }
            if self.env.contains_key(&format!("{PREFIX}{variable}")) {
                self.problems.push(format!("{PREFIX}{variable} (environment): {path} {instead}"));
            }
            removed.push(variable);
        }
        for name in self.env.keys().filter_map(|name| name.strip_prefix(PREFIX)) {
            if NO_KEYS.contains(&name)
                || known.iter().chain(&files).chain(&removed).any(|known| known == name)
                || of_the_file(name).is_some()
            {
                continue;
            }
            let hint = keys::nearest(name, known.iter().map(String::as_str));
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean {PREFIX}{near}?"));
            self.problems.push(format!("{PREFIX}{name} (environment): unknown setting{hint}"));
        }
    }

    /// Variables for keys that only the file can hold. Without our prefix, one may be another program's, or what the file puts in
    /// with `${…}`; but a restriction that is not in force is always an error.
    pub(super) fn variables_of_the_file(&mut self) {
        for name in self.env.keys() {
            let prefixed = name.strip_prefix(PREFIX);
            let Some((key, whole)) = of_the_file(prefixed.unwrap_or(name)) else { continue };
            let path = key.path;
            let what = format!(
                "{name} (environment): {path} can only be written into the file, with ${{…}} for what varies; this variable is \
                 not read"
            );
            if prefixed.is_some() {
                self.problems.push(what);
            } else if self.tree.variables.contains(name) {
                // the file reads it
            } else if key.restricts && whole {
                self.problems.push(format!("{what}; remove it, or rename it if it is another program's"));
            } else {
                self.warnings.push(what);
            }
        }
    }
}

/// The key that only the file can hold, if a variable is named after it, and whether it means the whole of it: the Go service
/// had `GROUP_MAPPINGS_<GROUP>`.
fn of_the_file(name: &str) -> Option<(&'static Info, bool)> {
    keys::all().filter(|key| key.kind == Kind::Mapping).find_map(|key| {
        let rest = name.strip_prefix(&key.variable())?;
        (rest.is_empty() || rest.starts_with('_')).then_some((key, rest.is_empty()))
    })
}
