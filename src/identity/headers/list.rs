//! The groups of a header: one line of text.

/// Splits at the separator. `\` before a separator or before another `\` takes away its meaning, so that a proxy can
/// send a group `a,b` as `a\,b`; before anything else it is a character like any other. Spaces around a group and empty
/// groups are left out.
///
/// Authelia writes no escapes: there, a group with a comma in its name arrives as two.
pub(super) fn split(text: &str, separator: char) -> Vec<String> {
    let mut groups = Vec::new();
    let mut group = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => group.push(rest.next_if(|next| *next == separator || *next == '\\').unwrap_or(c)),
            c if c == separator => groups.push(std::mem::take(&mut group)),
            c => group.push(c),
        }
    }
    groups.push(group);
    groups.iter().map(|group| group.trim_matches(' ')).filter(|group| !group.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_split_at_separators_that_are_not_escaped() {
        for (text, separator, groups) in [
            ("", ',', &[][..]),
            ("a", ',', &["a"]),
            ("a,b", ',', &["a", "b"]),
            // as agentgateway joins repeated headers
            ("a, b ,  c c", ',', &["a", "b", "c c"]),
            (",a,,b,", ',', &["a", "b"]),
            (r"a\,b,c", ',', &["a,b", "c"]),
            (r"a\\,b", ',', &[r"a\", "b"]),
            (r"a\\\,b", ',', &[r"a\,b"]),
            (r"CORP\admins,b\", ',', &[r"CORP\admins", r"b\"]),
            ("a|b,c", '|', &["a", "b,c"]),
            (r"a\|b|c\,d", '|', &["a|b", r"c\,d"]),
        ] {
            assert_eq!(split(text, separator), groups, "{text}");
        }
    }
}
