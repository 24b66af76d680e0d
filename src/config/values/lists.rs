//! Reads lists and mappings.

use secrecy::SecretString;

use super::Values;
use crate::config::keys::{Info, Key, Mapping, Rules};
use crate::config::tree::{Node, Value};

impl<'a> Values<'a> {
    /// A YAML list, or comma-separated text; empty items (unset variables) are left out.
    pub(super) fn list(&mut self, key: &'static Info) -> Vec<String> {
        let items = self.several(key, split);
        if !items.is_empty() {
            self.show(key, format!("{items:?}"));
        }
        items
    }

    /// A YAML list, or text with commas or lines between the secrets.
    pub(super) fn secrets(&mut self, key: &'static Info) -> Vec<SecretString> {
        let items = self.several(key, |text| split(&text.replace(['\n', '\r', ' '], ",")));
        if !items.is_empty() {
            self.show(key, format!("[{} redacted]", items.len()));
        }
        items.into_iter().map(Into::into).collect()
    }

    fn several(&mut self, key: &'static Info, split: impl Fn(&str) -> Vec<String>) -> Vec<String> {
        self.begin(key);
        match (self.environment(key), self.node(key.path).map(|node| &node.value)) {
            (Some(text), _) => split(&text),
            (None, Some(Value::Scalar(text))) => split(text),
            (None, Some(value)) => self.strings(key, value),
            (None, None) => Vec::new(),
        }
    }

    /// A YAML list of items with a structure of their own; from the file only.
    pub(crate) fn rules(&mut self, key: &'static Key<Rules>) -> &'a [Node] {
        self.begin(key);
        match self.node(key.path).map(|node| &node.value) {
            None => &[],
            Some(Value::List(items)) => items,
            Some(Value::Scalar(text)) if text.is_empty() => &[],
            Some(_) => {
                self.problem(key, "must be a list");
                &[]
            }
        }
    }

    fn strings(&mut self, key: &Info, value: &Value) -> Vec<String> {
        let Value::List(items) = value else {
            self.problem(key, "must be a list");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(text) => texts.push(text.clone()),
                _ => self.problem(key, "must be a list of plain values"),
            }
        }
        texts.retain(|text| !text.is_empty());
        texts
    }

    /// Names with a list of values each, in the file's order.
    pub(super) fn mapping(&mut self, key: &'static Info) -> Mapping {
        self.begin(key);
        let Some(node) = self.node(key.path) else { return Vec::new() };
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Scalar(text) if text.is_empty() => return Vec::new(),
            _ => {
                self.problem(key, "must map names to lists");
                return Vec::new();
            }
        };
        let mut mapping = Vec::new();
        for (name, node) in entries {
            let listed = match &node.value {
                Value::Scalar(text) => split(text),
                value => self.strings(key, value),
            };
            mapping.push((name.clone(), listed));
        }
        self.show(key, format!("{mapping:?}"));
        mapping
    }
}

pub(super) fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
