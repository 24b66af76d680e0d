//! Cookies of a request (RFC 6265 §4.2.1).

use bytes::Bytes;

/// A cookie, and the text before it that separates it from the last.
struct Pair<'a> {
    before: &'a str,
    name: &'a str,
    value: &'a str,
    text: &'a str,
}

/// Cookies end at a semicolon, and at a comma, which is how Envoy joins repeated headers: what would make a second cookie for
/// anybody is one here.
fn pairs(header: &str) -> impl Iterator<Item = Pair<'_>> {
    let mut start = 0;
    header.split_inclusive([';', ',']).map(move |piece| {
        let text = piece.trim_end_matches([';', ',']);
        let before = &header[start.max(1) - 1..start];
        start += piece.len();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.trim_matches(' ');
        // RFC 6265 §4.1.1: a value may stand in quotes
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        Pair { before, name: name.trim_matches(' '), value, text }
    })
}

/// Every value under a name. A header that is not UTF-8 has none.
pub(super) fn find<'a>(headers: &'a [Bytes], name: &str) -> Vec<&'a str> {
    let texts = headers.iter().filter_map(|header| std::str::from_utf8(header).ok());
    texts.flat_map(pairs).filter(|pair| pair.name == name).map(|pair| pair.value).collect()
}

/// What is left of the cookies without these names, as one header; empty where nothing is. `None` where none of them is there.
///
/// What cannot be told apart, since it is not plain text, goes with them.
#[must_use]
pub fn without(headers: &[Bytes], names: &[String]) -> Option<String> {
    let ours = |name: &str| names.iter().any(|ours| ours == name);
    let mut rest = String::new();
    let mut found = false;
    for header in headers {
        let Some(text) =
            std::str::from_utf8(header).ok().filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)))
        else {
            found |= !names.is_empty();
            continue;
        };
        let mut first = true;
        for pair in pairs(text) {
            if ours(pair.name) {
                found = true;
                continue;
            }
            if first {
                // the first of a header: joined as cookies are
                rest.push_str(if rest.is_empty() { "" } else { "; " });
                rest.push_str(pair.text.trim_start_matches(' '));
            } else {
                rest.push_str(pair.before);
                rest.push_str(pair.text);
            }
            first = false;
        }
    }
    found.then_some(rest)
}
