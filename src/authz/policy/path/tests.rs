use std::cell::Cell;

use super::*;

thread_local! {
    /// Bytes that this thread has decoded.
    static DECODED: Cell<usize> = const { Cell::new(0) };
}

/// Called by the code under test: durations prove nothing on a busy machine.
pub(super) fn count(bytes: usize) {
    DECODED.with(|decoded| decoded.set(decoded.get() + bytes));
}

/// `%` under so many layers of encoding.
fn nested(layers: usize) -> Vec<u8> {
    [b"/%".as_slice(), &b"25".repeat(layers)].concat()
}

#[test]
fn the_work_for_a_path_grows_with_its_length_and_not_with_how_often_it_is_encoded() {
    for layers in [10, 1_000, 4_000] {
        let path = nested(layers);
        let before = DECODED.get();
        let judged = unambiguous(&path);
        let decoded = DECODED.get() - before;
        assert!(decoded <= 5 * path.len(), "{decoded} bytes decoded of a path of {}", path.len());
        assert_eq!(judged, Err(Ambiguity::Layers));
    }
}

#[test]
fn a_path_that_is_encoded_four_times_over_can_be_read_and_five_times_over_is_refused() {
    // `%25` is one layer: what is left of it is a percent sign
    for (layers, expected) in [(1, Ok(())), (2, Ok(())), (4, Ok(())), (5, Err(Ambiguity::Layers))] {
        assert_eq!(unambiguous(&nested(layers)), expected, "{layers}");
    }
}

#[test]
fn paths_that_two_programs_may_read_in_two_ways_are_refused() {
    use Ambiguity::{Character, DotSegment, EmptySegment, Encoding, NoSlash, Slash};
    // they include the rows of Istio's normalization tests
    for (path, expected) in [
        (&b"/"[..], Ok(())),
        (b"/a/b", Ok(())),
        (b"/a/b/", Ok(())),
        (b"/a.b/..c/c../...", Ok(())),
        (b"/a%20b/j%C3%BCrgen", Ok(())),
        (b"/%3Clogs-%7Bnow%7D%3E/_search", Ok(())),
        (b"/100%25", Ok(())),
        (b"/a;v=1/b", Ok(())),
        (b"", Err(NoSlash)),
        (b"*", Err(NoSlash)),
        (b"a/b", Err(NoSlash)),
        (b"http://x/a", Err(NoSlash)),
        (b"/%", Err(Encoding)),
        (b"/%4", Err(Encoding)),
        (b"/%zz", Err(Encoding)),
        (b"//", Err(EmptySegment)),
        (b"//a", Err(EmptySegment)),
        (b"/a//b", Err(EmptySegment)),
        (b"/.", Err(DotSegment)),
        (b"/..", Err(DotSegment)),
        (b"/a/./b", Err(DotSegment)),
        (b"/a/../b", Err(DotSegment)),
        (b"/a/b/..", Err(DotSegment)),
        (b"/a/..;/b", Err(DotSegment)),
        (b"/a/%2e%2E/b", Err(DotSegment)),
        (b"/a/.%2e/b", Err(DotSegment)),
        (b"/a/%252e%252e/b", Err(DotSegment)),
        (b"/a/%25252e./b", Err(DotSegment)),
        (b"/a/%2e%2e%3b/b", Err(DotSegment)),
        (b"/a%2fb", Err(Slash)),
        (b"/a%2Fb", Err(Slash)),
        (b"/a%252Fb", Err(Slash)),
        (b"/%2e%2e%2fb", Err(Slash)),
        (b"/a\\b", Err(Slash)),
        (b"/a%5cb", Err(Slash)),
        (b"/a%255Cb", Err(Slash)),
        (b"/a\0b", Err(Character)),
        (b"/a%00b", Err(Character)),
        (b"/a%2500b", Err(Character)),
        (b"/a%0d%0ab", Err(Character)),
        (b"/a b", Err(Character)),
        (b"/a#b", Err(Character)),
        (b"/j\xc3\xbcrgen", Err(Character)),
    ] {
        assert_eq!(unambiguous(path), expected, "{}", String::from_utf8_lossy(path));
    }
}

#[test]
fn a_prefix_is_whole_segments_unless_a_star_says_otherwise() {
    for (prefix, path, expected) in [
        ("/logs", "/logs", true),
        ("/logs", "/logs/_search", true),
        ("/logs/", "/logs", true),
        ("/logs", "/logs-secret", false),
        ("/logs", "/log", false),
        ("/logs", "/LOGS", false),
        ("/logs", "/other/logs", false),
        ("/logs-*", "/logs-2026/_search", true),
        ("/logs-*", "/logs-", true),
        ("/logs-*", "/logs", false),
        // what is encoded without need matches nothing
        ("/logs", "/lo%67s", false),
        ("/", "/anything", true),
        ("/*", "/anything", true),
    ] {
        assert_eq!(Prefix::parse(prefix).unwrap().matches(path.as_bytes()), expected, "{prefix} {path}");
    }
}

#[test]
fn a_rule_with_an_ambiguous_path_is_no_rule() {
    for text in ["", "logs", "*", "/a/../b", "/a//b", "/a?x", "/a%2fb", "/a%41", "/*/b", "/a b"] {
        assert!(Prefix::parse(text).is_err(), "{text}");
    }
}
