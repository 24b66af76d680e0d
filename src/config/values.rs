//! Looks keys up, in the environment first, and collects every problem.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::Info;
use super::tree::{Node, Tree, Value};

mod environment;
mod forms;
mod item;
mod items;
mod lists;
mod restrictions;
mod unknown;

use item::Item;

/// The file and the environment, and what is wrong with them.
pub(super) struct Values<'a> {
    tree: &'a Tree,
    env: &'a BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// The settings in force, which `check` prints.
    pub(super) effective: Vec<(String, String)>,
    /// Which item of a list of sections is being read.
    item: Option<Item>,
    /// The restricting keys that were read.
    read: BTreeSet<&'static str>,
}

const PREFIX: &str = "ELASTAUTH_";

impl<'a> Values<'a> {
    pub(super) fn new(tree: &'a Tree, env: &'a BTreeMap<String, String>) -> Self {
        let warnings = tree.warnings.clone();
        let (problems, effective, read) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut values = Self { tree, env, problems, warnings, effective, item: None, read };
        values.unknown_keys("", "", &tree.root);
        values.unknown_variables();
        values.variables_of_the_file();
        values.lost_restrictions();
        values
    }

    pub(super) fn problem(&mut self, key: &Info, what: impl std::fmt::Display) {
        self.problem_at(key.path, what);
    }

    fn problem_at(&mut self, path: &str, what: impl std::fmt::Display) {
        let node = self.node(path);
        let line = node.map_or_else(String::new, |node| format!(" (line {})", node.line));
        let mut problem = format!("{}{line}: {what}", self.shown(path));
        for variable in node.iter().flat_map(|node| &node.missing).map(|name| format!("${{{name}}}")) {
            if !problem.contains(&variable) {
                problem.push_str(&format!("; {variable} is unset or empty"));
            }
        }
        self.add_problem(problem);
    }

    /// Adds a problem once, although a key may be read several times.
    fn add_problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds what an operator should know, although it is no error.
    pub(super) fn warning(&mut self, key: &Info, what: impl std::fmt::Display) {
        self.warnings.push(format!("{}: {what}", self.shown(key.path)));
    }

    /// Adds what `check` prints of a key.
    pub(super) fn show(&mut self, key: &Info, value: impl Into<String>) {
        self.effective.push((self.shown(key.path), value.into()));
    }

    /// Takes back what `check` would print.
    pub(super) fn hide(&mut self, key: &Info) {
        let hidden = self.shown(key.path);
        self.effective.retain(|(shown, _)| *shown != hidden);
    }

    /// Whether the file or the environment gives a value.
    pub(super) fn is_set(&mut self, key: &'static Info) -> bool {
        self.raw(key).is_some()
    }

    /// Whether the file or a variable of the key's own name says anything of it, whatever its form.
    pub(super) fn is_written(&mut self, key: &'static Info) -> bool {
        let variables = self.environment(key);
        let written = |node: &Node| !matches!(&node.value, Value::Scalar(text) if text.is_empty());
        variables.is_some() || self.node(key.path).is_some_and(written)
    }

    /// The text that is given, if one is.
    fn raw(&mut self, key: &'static Info) -> Option<String> {
        self.own(key).or_else(|| self.fallback(key))
    }

    /// What the file or a variable of the key's own name gives.
    fn own(&mut self, key: &'static Info) -> Option<String> {
        self.begin(key);
        if let Some(value) = self.environment(key) {
            return Some(value);
        }
        match &self.node(key.path)?.value {
            Value::Scalar(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            _ => {
                self.problem(key, "must be one value");
                None
            }
        }
    }

    /// A key's path as an operator knows it: `oidc[1].issuer` while the second item is read.
    fn shown(&self, path: &str) -> String {
        self.item_of(path).map_or_else(|| path.to_owned(), |item| item.shown(path))
    }

    /// The item that is being read, if the key is one of its keys.
    fn item_of(&self, path: &str) -> Option<Item> {
        self.item.filter(|item| item.section.has(path))
    }

    fn node(&self, path: &str) -> Option<&'a Node> {
        let item = self.item_of(path);
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
