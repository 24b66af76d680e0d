//! Makes text from elsewhere safe to show. A name, a claim, a role or an error text of another server may have characters
//! that move a terminal's cursor, clear its screen, or begin a line that looks like one of elastauth's.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The same text with `\n`, `\t`, `\r` or `\u001b` in place of every character that is not shown as itself: the control
/// characters of C0 and C1, the line and paragraph separators, and those that reverse the direction of writing. These are
/// JSON's escapes, so that JSON stays what it is.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // writing to a String does not fail
            c if is_unsafe(c) => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.into()
}

fn is_unsafe(c: char) -> bool {
    // UAX #9 §2: the explicit directional characters
    let directs = matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directs || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead_and_everything_else_stays() {
        for (text, shown) in [
            ("ann.müller@例え.jp \"q\" \\ 🙂", "ann.müller@例え.jp \"q\" \\ 🙂"),
            ("\u{1b}[2J", "\\u001b[2J"),
            ("\u{9b}2J\u{7f}\0", "\\u009b2J\\u007f\\u0000"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("x\u{202e}y\u{2066}z\u{2028}", "x\\u202ey\\u2066z\\u2028"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let value = serde_json::json!({ "sub": "\u{9b}2J\u{202e}\u{1b}\n" });
        let shown = printable(&value.to_string()).into_owned();
        assert!(!shown.contains(is_unsafe), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
