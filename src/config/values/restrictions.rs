//! Ensures that keys which restrict have a value wherever they are written.

use super::Values;
use super::environment::names;
use super::lists::split;
use crate::config::keys::{self, Info, Kind};
use crate::config::tree::{Node, Value};

impl Values<'_> {
    /// To be called before a key is read. One that restricts must not come out empty.
    pub(super) fn begin(&mut self, key: &'static Info) {
        if key.restricts {
            self.read.insert(key.path);
            self.require_value(key);
        }
    }

    /// Adds a problem where the key is written, in the environment or in the file, and its value is empty.
    fn require_value(&mut self, key: &Info) {
        let mut empty = None;
        for name in self.variables_of(key) {
            match self.env.get(&name) {
                None => {}
                // as for other keys, the next place is read
                Some(value) if value.is_empty() => empty = empty.or(Some(name)),
                Some(value) if is_empty_value(key, value) => {
                    return self.add_problem(format!("{name} (environment): holds no value for {}: {CURE}", key.path));
                }
                Some(_) => return,
            }
        }
        match (self.node(key.path), empty) {
            (Some(node), _) => self.require_value_in_file(key, node),
            (None, Some(name)) => {
                self.add_problem(format!("{name} (environment): is empty, and {} {WHY}: {CURE}", key.path));
            }
            (None, None) => {}
        }
    }

    /// Of two sections of one name the last one is used, which must not drop restrictions of the first.
    pub(super) fn lost_restrictions(&mut self) {
        for (path, line) in
            self.tree.dropped.iter().filter(|(path, _)| keys::all().any(|key| key.restricts && key.path == path))
        {
            self.problems.push(format!(
                "{path} (line {line}): is in a section that is written again below, without it, and the last one is used: make one \
                 section of the two"
            ));
        }
    }

    /// Warns of each restriction in the file that no part reads, as `oidc.required_claims` where headers name the caller.
    pub(crate) fn unused_restrictions(&mut self) {
        for key in keys::all() {
            if key.restricts && !self.read.contains(key.path) && self.node(key.path).is_some() {
                self.warning(key, "is written, and has no effect with this auth_provider or cache.type");
            }
        }
    }

    fn require_value_in_file(&mut self, key: &Info, node: &Node) {
        let mut missing = Vec::new();
        collect(node, &mut missing);
        if let [first, ..] = missing.as_slice() {
            let names: Vec<String> = missing.iter().map(|name| format!("${{{name}}}")).collect();
            self.problem(
                key,
                format!(
                    "{} is unset or empty, and this key {WHY}: set the variable, or write a default into the file, as \
                     ${{{first}:-default}}",
                    names.join(", ")
                ),
            );
        } else if comes_out_empty(key, node) {
            self.problem(key, format!("is written and empty, and this key {WHY}: {CURE}"));
        }
    }

    /// In the order in which they are read. An item of a list of sections has none.
    fn variables_of(&self, key: &Info) -> Vec<String> {
        if self.item_of(key.path).is_some() || key.kind == Kind::Mapping {
            return Vec::new();
        }
        let mut all = Vec::new();
        for name in names(key) {
            let file = format!("{name}_FILE");
            all.push(name);
            if key.kind.is_secret() {
                all.push(file);
            }
        }
        all
    }
}

const WHY: &str = "decides which callers or servers elastauth accepts";
const CURE: &str = "give it a value, or remove it";

/// The names of all variables in the value that are unset or empty.
fn collect(node: &Node, missing: &mut Vec<String>) {
    for name in &node.missing {
        if !missing.contains(name) {
            missing.push(name.clone());
        }
    }
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(nodes) => nodes.iter().for_each(|node| collect(node, missing)),
        Value::Map(entries) => entries.iter().for_each(|(_, node)| collect(node, missing)),
    }
}

fn is_empty_value(key: &Info, text: &str) -> bool {
    match key.kind {
        Kind::Text | Kind::Secret => text.trim().is_empty(),
        Kind::List | Kind::Secrets | Kind::Mapping => split(text).is_empty(),
    }
}

/// A list with one value or more still restricts. Within a mapping, a name with an empty list is a restriction of its own: the
/// claim must be there, with any value.
fn comes_out_empty(key: &Info, node: &Node) -> bool {
    match &node.value {
        Value::Scalar(text) => is_empty_value(key, text),
        Value::List(nodes) => nodes.iter().all(|node| comes_out_empty(key, node)),
        Value::Map(entries) => {
            let none = |node: &Node| matches!(&node.value, Value::List(nodes) if nodes.is_empty());
            entries.is_empty() || entries.iter().any(|(_, node)| !none(node) && comes_out_empty(key, node))
        }
    }
}
