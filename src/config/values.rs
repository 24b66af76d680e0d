//! Looks keys up, in the environment first, and collects every problem.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use secrecy::SecretString;

use super::keys::{self, KEYS, Key};
use super::tree::{Node, Tree, Value};

mod durations;
mod environment;
mod items;
mod restrictions;
mod secrets;
mod standard;
mod unknown;

use items::Item;

/// The file and the environment, and what is wrong with them.
pub(super) struct Values<'a> {
    tree: &'a Tree,
    env: &'a BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// What `check` prints.
    pub(super) effective: Vec<(String, String)>,
    /// Which item of a list of sections is being read.
    item: Option<Item>,
    /// The restricting keys that were read.
    asked: BTreeSet<&'static str>,
}

const PREFIX: &str = "ELASTAUTH_";

impl<'a> Values<'a> {
    pub(super) fn new(tree: &'a Tree, env: &'a BTreeMap<String, String>) -> Self {
        let warnings = tree.warnings.clone();
        let (problems, effective, asked) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut values = Self { tree, env, problems, warnings, effective, item: None, asked };
        values.unknown_keys("", "", &tree.root);
        values.unknown_variables();
        values.variables_of_the_file();
        values.lost_restrictions();
        values
    }

    pub(super) fn problem(&mut self, path: &str, what: impl std::fmt::Display) {
        let node = self.node(path);
        let line = node.map_or_else(String::new, |node| format!(" (line {})", node.line));
        let mut problem = format!("{}{line}: {what}", self.shown(path));
        for variable in node.iter().flat_map(|node| &node.missing).map(|name| format!("${{{name}}}")) {
            if !problem.contains(&variable) {
                problem.push_str(&format!("; {variable} is unset or empty"));
            }
        }
        self.say(problem);
    }

    /// Once, although a key may be read several times.
    fn say(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Something to know that is no error.
    pub(super) fn warning(&mut self, path: &str, what: impl std::fmt::Display) {
        self.warnings.push(format!("{}: {what}", self.shown(path)));
    }

    /// Takes back what `check` would print.
    pub(super) fn hide(&mut self, path: &str) {
        let hidden = self.shown(path);
        self.effective.retain(|(shown, _)| *shown != hidden);
    }

    fn raw(&mut self, path: &'static str) -> Option<String> {
        self.own(path).or_else(|| self.standard(path))
    }

    /// What is said to us, by the environment or the file.
    fn own(&mut self, path: &'static str) -> Option<String> {
        let key = self.key(path)?;
        if let Some(value) = self.environment(key) {
            return Some(value);
        }
        match &self.node(path)?.value {
            Value::Scalar(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            _ => {
                self.problem(path, "must be one value");
                None
            }
        }
    }

    pub(super) fn show(&mut self, path: &'static str, value: impl Into<String>) {
        self.effective.push((self.shown(path), value.into()));
    }

    pub(super) fn text(&mut self, path: &'static str) -> Option<String> {
        let value = self.raw(path);
        if let Some(value) = &value {
            self.show(path, value.clone());
        }
        value
    }

    /// As text, or the default of the table of keys.
    pub(super) fn setting(&mut self, path: &'static str) -> String {
        let value = self.raw(path).unwrap_or_else(|| keys::default(path).to_owned());
        self.show(path, value.clone());
        value
    }

    /// Whether somebody says it, in the file or in the environment.
    pub(super) fn said(&mut self, path: &'static str) -> bool {
        self.raw(path).is_some()
    }

    pub(super) fn required(&mut self, path: &'static str) -> String {
        self.text(path).unwrap_or_else(|| {
            let variable = if self.within(path) { String::new() } else { format!(" or as {}", keys::variable(path)) };
            self.problem(path, format!("is required; set it in the file{variable}"));
            String::new()
        })
    }

    pub(super) fn secret(&mut self, path: &'static str) -> Option<SecretString> {
        let value = self.raw(path)?;
        self.show(path, "[redacted]");
        Some(value.into())
    }

    /// Whole numbers, quoted or not; `default` is for what the table of keys can only describe.
    pub(super) fn number<T: FromStr + ToString + Default>(&mut self, path: &'static str, default: Option<T>) -> T {
        let default = default.or_else(|| keys::default(path).parse().ok()).unwrap_or_default();
        let value = match self.raw(path).map(|text| text.trim().parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.problem(path, "must be a whole number");
                default
            }
        };
        self.show(path, value.to_string());
        value
    }

    pub(super) fn boolean(&mut self, path: &'static str) -> bool {
        let value = match self.raw(path).map(|text| text.trim().to_lowercase()).as_deref() {
            None | Some("false" | "no" | "off" | "0") => false,
            Some("true" | "yes" | "on" | "1") => true,
            Some(_) => {
                self.problem(path, "must be true or false");
                false
            }
        };
        self.show(path, value.to_string());
        value
    }

    /// A YAML list, or comma-separated text; empty items (unset variables) are left out.
    pub(super) fn list(&mut self, path: &'static str) -> Vec<String> {
        let Some(key) = self.key(path) else { return Vec::new() };
        let items = match (self.environment(key), self.node(path).map(|node| &node.value)) {
            (Some(text), _) => split(&text),
            (None, Some(Value::Scalar(text))) => split(text),
            (None, Some(value)) => self.strings(path, value),
            (None, None) => Vec::new(),
        };
        if !items.is_empty() {
            self.show(path, format!("{items:?}"));
        }
        items
    }

    /// A YAML list of things with a form of their own; from the file only.
    pub(super) fn items(&mut self, path: &'static str) -> &'a [Node] {
        self.key(path);
        match self.node(path).map(|node| &node.value) {
            None => &[],
            Some(Value::List(items)) => items,
            Some(Value::Scalar(text)) if text.is_empty() => &[],
            Some(_) => {
                self.problem(path, "must be a list");
                &[]
            }
        }
    }

    fn strings(&mut self, path: &str, value: &Value) -> Vec<String> {
        let Value::List(items) = value else {
            self.problem(path, "must be a list");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(text) => texts.push(text.clone()),
                _ => self.problem(path, "must be a list of plain values"),
            }
        }
        texts.retain(|text| !text.is_empty());
        texts
    }

    /// Group to roles, in the file's order.
    pub(super) fn mapping(&mut self, path: &'static str) -> Vec<(String, Vec<String>)> {
        self.key(path);
        let Some(node) = self.node(path) else { return Vec::new() };
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(text) if text.is_empty() => return Vec::new(),
            _ => {
                self.problem(path, "must map names to lists");
                return Vec::new();
            }
        };
        let mut mapping = Vec::new();
        for (group, node) in entries {
            let roles = match &node.value {
                Value::Scalar(text) => split(text),
                value => self.strings(path, value),
            };
            mapping.push((group.clone(), roles));
        }
        self.show(path, format!("{mapping:?}"));
        mapping
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
