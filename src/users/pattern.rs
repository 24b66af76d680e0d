//! Patterns of usernames, as `--match` takes them.

/// A name in which `*` stands for any characters, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Makes a pattern; any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether the whole name matches. Case counts, as it does in Elasticsearch.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            match name.split_once(part) {
                Some((_, after)) => name = after,
                None => return false,
            }
        }
        name.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_everything_else_for_itself() {
        for (pattern, name, matches) in [
            ("ann", "ann", true),
            ("ann", "anna", false),
            ("*", "", true),
            ("*", "anybody", true),
            ("svc-*", "svc-", true),
            ("svc-*", "svc", false),
            ("*@example.com", "ann@example.com", true),
            ("*@example.com", "ann@example.org", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*aba*aba", "aba", false),
            ("a.c", "abc", false),
            ("Ann*", "anna", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }
}
