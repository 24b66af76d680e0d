//! Matches the paths that rules name, and recognises paths that programs may read in different ways.

/// The beginning of a path: whole segments (`/logs` is `/logs` and what is below it, not `/logs-secret`), or, written with a `*`
/// at its end, any text (`/logs-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    text: String,
    open: bool,
}

/// A rule's path that could never match, or could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPrefix {
    /// The rule's own path is ambiguous.
    #[error("{0}")]
    Ambiguous(#[from] Ambiguity),
    /// The path has `*`, `?` or `%` before its end.
    #[error("takes a * at its end only, no query, and no encoded characters")]
    Characters,
}

impl Prefix {
    /// Reads a path as the configuration has it.
    pub fn parse(text: &str) -> Result<Self, NoPrefix> {
        let (rest, open) = text.strip_suffix('*').map_or((text, false), |rest| (rest, true));
        unambiguous(rest.as_bytes())?;
        if rest.contains(['*', '?', '%']) {
            return Err(NoPrefix::Characters);
        }
        let whole = if open { rest } else { rest.trim_end_matches('/') };
        Ok(Self { text: whole.to_owned(), open })
    }

    /// Compares the path as it was sent: a character that is encoded without need does not match, and so the request is not let
    /// through.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.text.as_bytes())
            .is_some_and(|rest| self.open || rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// Why two programs may disagree about what a path means. The class of CVE-2021-31920: the one that judges sees another path
/// than the one that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// The path is empty, `*`, or does not begin with a slash.
    #[error("does not begin with a slash")]
    NoSlash,
    /// The path has `//`.
    #[error("has an empty segment")]
    EmptySegment,
    /// A segment is `.` or `..`, plain or encoded, with or without parameters.
    #[error("has a dot segment")]
    DotSegment,
    /// The path has a backslash, or a slash or backslash that is encoded.
    #[error("has an encoded slash or a backslash")]
    Slash,
    /// The path has control characters, plain or encoded, a fragment, or bytes beyond ASCII.
    #[error("has a character that does not belong there")]
    Character,
    /// The path has `%` without two hexadecimal digits after it.
    #[error("has a broken percent-encoding")]
    Encoding,
    /// The path is encoded many times over: programs differ in how often they decode it, and each time costs a pass over the
    /// path.
    #[error("is percent-encoded more than {LAYERS} times over")]
    Layers,
}

/// Layers of percent-encoding that are taken off a path. Links within links have two; a path with more than this is an
/// attempt to be misread, or to keep this process busy: a path of n bytes can have n/2 layers.
const LAYERS: usize = 4;

/// Whether there is only one way to read the path, which has no query.
pub(super) fn unambiguous(path: &[u8]) -> Result<(), Ambiguity> {
    if path.first() != Some(&b'/') {
        return Err(Ambiguity::NoSlash);
    }
    characters(path, false)?;
    segments(path)?;
    let mut path = decode(path)?;
    for _ in 0..LAYERS {
        characters(&path, true)?;
        segments(&path)?;
        match decode(&path) {
            Ok(further) if further != path => path = further,
            // a percent sign that was itself encoded
            Ok(_) | Err(Ambiguity::Encoding) => return Ok(()),
            Err(ambiguity) => return Err(ambiguity),
        }
    }
    Err(Ambiguity::Layers)
}

/// With `decoded`, spaces and text beyond ASCII are allowed: they are no danger where they were encoded.
fn characters(path: &[u8], decoded: bool) -> Result<(), Ambiguity> {
    let strange = |b: &u8| b.is_ascii_control() || !decoded && (*b == b'#' || !b.is_ascii_graphic());
    if path.iter().any(strange) {
        return Err(Ambiguity::Character);
    }
    if path.contains(&b'\\') { Err(Ambiguity::Slash) } else { Ok(()) }
}

fn segments(path: &[u8]) -> Result<(), Ambiguity> {
    let segments: Vec<&[u8]> = path[1..].split(|b| *b == b'/').collect();
    for (at, segment) in segments.iter().enumerate() {
        // some servers take `..;x` for `..` with a parameter
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        if matches!(name, b"." | b"..") {
            return Err(Ambiguity::DotSegment);
        }
        if segment.is_empty() && at + 1 < segments.len() {
            return Err(Ambiguity::EmptySegment);
        }
    }
    Ok(())
}

/// Removes one layer of percent-encoding. An encoded slash is refused, because servers disagree about whether it separates
/// segments.
fn decode(path: &[u8]) -> Result<Vec<u8>, Ambiguity> {
    #[cfg(test)]
    tests::count(path.len());
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or(Ambiguity::Encoding)?;
        let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else { return Err(Ambiguity::Encoding) };
        match high << 4 | low {
            b'/' | b'\\' => return Err(Ambiguity::Slash),
            byte => decoded.push(byte),
        }
        rest = behind;
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests;
