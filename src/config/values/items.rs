//! Sections that may stand several times, as a list: each item is read like the section itself.

use super::{KEYS, PREFIX, Values, keys};
use crate::config::tree::{Node, Value};

/// An item of a list of sections.
#[derive(Clone, Copy)]
pub(super) struct Item {
    /// Of the section.
    name: &'static str,
    at: usize,
}

/// Sections that may be lists, with the dot.
pub(super) fn may_be_a_list(section: &str) -> bool {
    section == "oidc."
}

impl<'a> Values<'a> {
    /// Reads the section once, or once per item where it is a list. The environment speaks of the section only: it has no names for
    /// items, whose values may be `${VAR}` instead.
    pub(in crate::config) fn each<T>(&mut self, name: &'static str, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let section = self.tree.root.iter().find(|(known, _)| known == name).map(|(_, node)| &node.value);
        let Some(Value::List(nodes)) = section else { return vec![read(self)] };
        if nodes.is_empty() {
            self.problem(name, "must have at least one item");
        }
        let prefix = format!("{PREFIX}{}_", keys::variable(name));
        for variable in self.env.keys().filter(|variable| variable.starts_with(&prefix)) {
            self.problems.push(format!("{variable} (environment): {name} is a list; write ${{…}} into its items"));
        }
        // names without our prefix may be what the items put in, but a restriction that is meant for all of them must not be lost
        for key in KEYS.iter().filter(|key| key.restricts && key.path.starts_with(&format!("{name}."))) {
            let variable = keys::variable(key.path);
            if self.env.get(&variable).is_some_and(|value| !value.is_empty())
                && !self.tree.variables.contains(&variable)
            {
                self.problems
                    .push(format!("{variable} (environment): {name} is a list; write ${{{variable}}} into its items"));
            }
        }
        let read = |at| {
            self.item = Some(Item { name, at });
            read(self)
        };
        let all = (0..nodes.len()).map(read).collect();
        self.item = None;
        all
    }

    /// Says something about an item that has been read.
    pub(in crate::config) fn problem_in(&mut self, name: &'static str, at: usize, path: &str, what: &str) {
        self.item = Some(Item { name, at });
        self.problem(path, what);
        self.item = None;
    }

    /// Whether the key is one of the item that is being read.
    pub(super) fn within(&self, path: &str) -> bool {
        self.item.is_some_and(|item| path.strip_prefix(item.name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// A key's path as people know it: `oidc[1].issuer`.
    pub(super) fn shown(&self, path: &str) -> String {
        match self.item.filter(|_| self.within(path)) {
            Some(Item { name, at }) => format!("{name}[{at}]{}", &path[name.len()..]),
            None => path.to_owned(),
        }
    }

    pub(super) fn node(&self, path: &str) -> Option<&'a Node> {
        let item = self.item.filter(|_| self.within(path));
        let mut entries = &self.tree.root;
        let mut found = None;
        for name in path.split('.') {
            let mut node = entries.iter().find(|(known, _)| known == name).map(|(_, node)| node)?;
            if let (Some(item), Value::List(items)) = (item, &node.value) {
                node = if found.is_none() { items.get(item.at)? } else { node };
            }
            found = Some(node);
            entries = match &node.value {
                Value::Map(inner) => inner,
                _ => return found.filter(|_| path.ends_with(name)),
            };
        }
        found
    }
}
