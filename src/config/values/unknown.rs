//! What the file and the environment say that nobody asks for.

use super::{PREFIX, Values, items, keys};
use crate::config::keys::KEYS;
use crate::config::tree::{Node, Value};

impl Values<'_> {
    /// `shown` is the prefix as people know it, with the number of the item within a list of sections.
    pub(super) fn unknown_keys(&mut self, prefix: &str, shown: &str, entries: &[(String, Node)]) {
        for (name, node) in entries {
            let (path, shown) = (format!("{prefix}{name}"), format!("{shown}{name}"));
            if KEYS.iter().any(|key| key.path == path) {
                continue;
            }
            let section = format!("{path}.");
            if KEYS.iter().any(|key| key.path.starts_with(&section)) {
                self.unknown_in_section(&section, &shown, node);
                continue;
            }
            let hint = keys::nearest(&path, KEYS.iter().map(|key| key.path));
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            self.problems.push(format!("{shown} (line {}): unknown key{hint}", node.line));
        }
    }

    fn unknown_in_section(&mut self, section: &str, shown: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => self.unknown_keys(section, &format!("{shown}."), entries),
            Value::Scalar(text) if text.is_empty() => {}
            Value::List(nodes) if items::may_be_a_list(section) => {
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

    pub(super) fn unknown_variables(&mut self) {
        let known: Vec<String> = KEYS.iter().map(|key| keys::variable(key.path)).collect();
        let secrets = KEYS.iter().filter(|key| key.kind.is_secret()).map(|key| keys::variable(key.path));
        let files: Vec<String> = secrets.map(|name| format!("{name}_FILE")).collect();
        for name in self.env.keys().filter_map(|name| name.strip_prefix(PREFIX)) {
            if name == "CONFIG" || known.iter().chain(&files).any(|known| known == name) {
                continue;
            }
            let hint = keys::nearest(name, known.iter().map(String::as_str));
            let hint = hint.map_or_else(String::new, |near| format!("; did you mean {PREFIX}{near}?"));
            self.problems.push(format!("{PREFIX}{name} (environment): unknown setting{hint}"));
        }
    }
}
