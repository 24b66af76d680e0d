//! Lists of secrets.

use secrecy::SecretString;

use super::{Value, Values, split};

impl Values<'_> {
    /// A YAML list, or text with commas or lines between the secrets.
    pub(in crate::config) fn secrets(&mut self, path: &'static str) -> Vec<SecretString> {
        let Some(key) = self.key(path) else { return Vec::new() };
        let lines = |text: &str| split(&text.replace(['\n', '\r', ' '], ","));
        let items = match (self.environment(key), self.node(path).map(|node| &node.value)) {
            (Some(text), _) => lines(&text),
            (None, Some(Value::Scalar(text))) => lines(text),
            (None, Some(value)) => self.strings(path, value),
            (None, None) => Vec::new(),
        };
        if !items.is_empty() {
            self.show(path, format!("[{} redacted]", items.len()));
        }
        items.into_iter().map(Into::into).collect()
    }
}
