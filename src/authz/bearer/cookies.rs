//! Reads and removes cookies of a request (RFC 6265 §4.2.1).

use bytes::Bytes;

/// A cookie, and the text that separates it from the one before it.
struct Pair<'a> {
    before: &'a str,
    name: &'a str,
    value: &'a str,
    text: &'a str,
}

/// Cookies end at a semicolon, and at a comma, which is how Envoy joins repeated headers: where any other program would read a
/// second cookie, this one does too.
fn pairs(header: &str) -> impl Iterator<Item = Pair<'_>> {
    let mut start = 0;
    header.split_inclusive([';', ',']).map(move |piece| {
        let text = piece.trim_end_matches([';', ',']);
        let before = &header[start.max(1) - 1..start];
        start += piece.len();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.trim_matches(' ');
        // RFC 6265 §4.1.1: a value may be in quotes
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        Pair { before, name: name.trim_matches(' '), value, text }
    })
}

/// Every value under a name. A header that is not UTF-8 has none.
pub(super) fn find<'a>(headers: &'a [Bytes], name: &str) -> Vec<&'a str> {
    let texts = headers.iter().filter_map(|header| std::str::from_utf8(header).ok());
    texts.flat_map(pairs).filter(|pair| pair.name == name).map(|pair| pair.value).collect()
}

/// The cookies other than these names, as one header; empty where there are no others. `None` where no cookie has these names.
///
/// A header that is not plain text is removed with them, because its cookies cannot be told apart.
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
                // the first cookie of a header, joined to those of the header before
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
