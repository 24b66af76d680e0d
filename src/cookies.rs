//! Reads and removes cookies of a request (RFC 6265 §4.2.1). There is no other parser of cookies.

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

impl Pair<'_> {
    /// Whether it may be read. Browsers protect a name that begins with `__Host-` or `__Secure-` from other hosts, but they allow a
    /// comma in a value: a neighbouring host could set such a cookie behind one (RFC 6265bis §4.1.3, §5.4).
    fn may_be_read(&self) -> bool {
        let protected = ["__Host-", "__Secure-"]
            .iter()
            .any(|prefix| self.name.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(prefix)));
        !(protected && self.before == ",")
    }
}

/// Every value under a name. A header that is not UTF-8 has none.
pub(crate) fn find<'a>(headers: &'a [Bytes], name: &str) -> Vec<&'a str> {
    let texts = headers.iter().filter_map(|header| std::str::from_utf8(header).ok());
    texts.flat_map(pairs).filter(|pair| pair.name == name && pair.may_be_read()).map(|pair| pair.value).collect()
}

/// Name and value of every cookie whose name begins with this text, in the order of the headers.
pub(crate) fn beginning_with<'a>(headers: &'a [Bytes], prefix: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let texts = headers.iter().filter_map(|header| std::str::from_utf8(header).ok());
    texts
        .flat_map(pairs)
        .filter(move |pair| pair.name.starts_with(prefix) && pair.may_be_read())
        .map(|pair| (pair.name, pair.value))
}

/// Whether this can be the name of a cookie: a token of HTTP (RFC 6265 §4.1.1).
#[must_use]
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Which cookies are meant: those of these names, and those whose names begin so. Names of cookies are compared to the letter
/// (RFC 6265 §5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Whole names.
    pub names: Vec<String>,
    /// Beginnings of names.
    pub prefixes: Vec<String>,
}

impl Selection {
    /// Whether no cookie is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.prefixes.is_empty()
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|whole| whole == name) || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }
}

/// The cookies other than the selected ones, as one header; empty where there are no others. `None` where no cookie is selected.
///
/// A header that is not plain text is removed with them, because its cookies cannot be told apart.
#[must_use]
pub(crate) fn without(headers: &[Bytes], selection: &Selection) -> Option<String> {
    let mut rest = String::new();
    let mut found = false;
    for header in headers {
        let Some(text) =
            std::str::from_utf8(header).ok().filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)))
        else {
            found |= !selection.is_empty();
            continue;
        };
        let mut first = true;
        for pair in pairs(text) {
            if selection.has(pair.name) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
    }

    fn selection(names: &[&str], prefixes: &[&str]) -> Selection {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Selection { names: owned(names), prefixes: owned(prefixes) }
    }

    #[test]
    fn a_protected_name_behind_a_comma_is_no_cookie_of_ours() {
        for (sent, expected) in [
            (&["__Host-a=1"][..], &["1"][..]),
            (&["x=1; __Host-a=2"], &["2"]),
            (&["x=1,__Host-a=2"], &[]),
            (&["x=1, __Host-a=2; __Host-a=3"], &["3"]),
            (&["x=1", "__Host-a=2"], &["2"]),
            (&["__Host-a=1; __Host-a=2"], &["1", "2"]),
        ] {
            assert_eq!(find(&headers(sent), "__Host-a"), expected, "{sent:?}");
            let named: Vec<_> = beginning_with(&headers(sent), "__Host-").map(|(_, value)| value.to_owned()).collect();
            assert_eq!(named, expected, "{sent:?}");
            let rest = without(&headers(sent), &selection(&["__Host-a"], &[])).unwrap();
            assert!(!rest.contains("__Host-a"), "it is taken out all the same: {rest}");
        }
        assert_eq!(find(&headers(&["a=1,b=2"]), "b"), ["2"], "other names: Envoy joins headers with commas");
    }

    #[test]
    fn only_selected_cookies_are_taken_out() {
        let selected = selection(&["session", "old"], &["Oauth"]);
        for (sent, expected) in [
            (&["a=1; b=2"][..], None),
            (&[], None),
            (&["session=x"], Some("")),
            (&["session=x; a=1"], Some("a=1")),
            (&["a=1; session=x; b=2"], Some("a=1; b=2")),
            (&["a=1;session=x;b=2,3"], Some("a=1;b=2,3")),
            (&["a=1,session=x,b"], Some("a=1,b")),
            (&["a=1; session=x", "session=y; old=z; b=2"], Some("a=1; b=2")),
            (&["session=x", "a=\u{fc}"], Some("")),
            (&["a=1", "b=\u{fc}"], Some("a=1")),
            (&["OauthHMAC=x; Oauth=y; a=1; OauthNonce-1=z"], Some("a=1")),
            (&["oauthHMAC=x; xOauth=y; sessions=z"], None),
            (&["Oauth"], Some("")),
        ] {
            assert_eq!(without(&headers(sent), &selected).as_deref(), expected, "{sent:?}");
        }
        assert_eq!(without(&headers(&["a=\u{fc}"]), &Selection::default()), None, "nothing is selected");
        assert_eq!(without(&headers(&["a=\u{fc}"]), &selection(&[], &["x"])).as_deref(), Some(""));
    }

    #[test]
    fn cookies_are_found_by_name_and_by_the_beginning_of_their_name() {
        let sent = headers(&["login-1=a; login-2=\"b\"", "x=y,login-1=c; Login-3=d; login"]);
        assert_eq!(find(&sent, "login-1"), ["a", "c"]);
        let found: Vec<_> = beginning_with(&sent, "login-").collect();
        assert_eq!(found, [("login-1", "a"), ("login-2", "b"), ("login-1", "c")]);
    }
}
