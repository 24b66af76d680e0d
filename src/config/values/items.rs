//! Sections that may be written several times, as a list: each item is read like the section itself.

use super::item::Item;
use super::{PREFIX, Values};
use crate::config::keys::{self, Info, Repeatable};
use crate::config::tree::Value;

impl Values<'_> {
    /// Reads the section once, or once per item where it is a list. Variables give values for the section alone: there are no
    /// names for items; their values may be `${VAR}` instead.
    pub(crate) fn each<T>(&mut self, section: Repeatable, mut read: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let name = section.name;
        let node = self.tree.root.iter().find(|(known, _)| known == name).map(|(_, node)| &node.value);
        let Some(Value::List(nodes)) = node else { return vec![read(self)] };
        if nodes.is_empty() {
            self.problem_at(name, "must have at least one item");
        }
        let prefix = format!("{PREFIX}{}_", keys::variable(name));
        for variable in self.env.keys().filter(|variable| variable.starts_with(&prefix)) {
            self.problems.push(format!("{variable} (environment): {name} is a list; write ${{…}} into its items"));
        }
        // names without our prefix may be what the items put in, but a restriction that is meant for all of them must not be lost
        for key in keys::all().filter(|key| key.restricts && section.has(key.path)) {
            let variable = key.variable();
            if self.variable(&variable).is_some() && !self.tree.variables.contains(&variable) {
                self.problems
                    .push(format!("{variable} (environment): {name} is a list; write ${{{variable}}} into its items"));
            }
        }
        let read = |at| {
            self.item = Some(Item { section, at });
            read(self)
        };
        let all = (0..nodes.len()).map(read).collect();
        self.item = None;
        all
    }

    /// Adds a problem of an item that has been read before.
    pub(crate) fn problem_in(&mut self, section: Repeatable, at: usize, key: &Info, what: &str) {
        self.item = Some(Item { section, at });
        self.problem(key, what);
        self.item = None;
    }
}
