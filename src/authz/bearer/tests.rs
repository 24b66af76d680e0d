use super::*;

fn value(text: &'static [u8]) -> Header {
    Header::One(Bytes::from_static(text))
}

fn outcome(sources: &Sources, attributes: &RequestAttributes) -> String {
    match sources.token(attributes) {
        Ok(found) => found.token.into_owned(),
        Err(refusal) => refusal.verdict().reason.to_owned(),
    }
}

#[test]
fn only_one_plain_bearer_token_is_taken() {
    for (text, expected) in [
        (&b"Bearer abc.def"[..], "abc.def"),
        (b"bEARER   abc", "abc"),
        (b"", "credentials_missing"),
        (b"Bearer", "credentials_not_bearer"),
        (b"Bearer ", "credentials_not_bearer"),
        (b"Bearer a b", "credentials_not_bearer"),
        (b"Bearer a\tb", "credentials_not_bearer"),
        (b"Basic abc", "credentials_not_bearer"),
        (b"Bearer abc!", "credentials_not_bearer"),
        (b"Bearer ab\xff", "credentials_not_bearer"),
        (b"Bearer A,Basic B", "credentials_repeated"),
        (b"Bearer A, Bearer A", "credentials_repeated"),
    ] {
        let attributes = RequestAttributes { authorization: value(text), ..RequestAttributes::default() };
        assert_eq!(outcome(&Sources::default(), &attributes), expected, "{:?}", String::from_utf8_lossy(text));
    }
}

fn named() -> Sources {
    Sources { headers: vec![HeaderName::from_static("x-token")], cookies: vec!["session".into(), "old".into()] }
}

#[test]
fn another_place_counts_only_when_it_is_named_and_those_before_it_are_empty() {
    let attributes = |authorization, header, cookies: &'static str| RequestAttributes {
        authorization,
        headers: vec![header],
        cookies: vec![Bytes::from_static(cookies.as_bytes())],
        ..RequestAttributes::default()
    };
    let absent = || Header::Absent;
    for (case, expected) in [
        (attributes(value(b"Bearer a"), value(b"b"), "session=c"), "a"),
        (attributes(value(b"Basic a"), value(b"b"), "session=c"), "credentials_not_bearer"),
        (attributes(Header::Several, value(b"b"), "session=c"), "credentials_repeated"),
        (attributes(absent(), value(b"b"), "session=c"), "b"),
        (attributes(absent(), value(b"bearer  b"), ""), "b"),
        (attributes(absent(), value(b"Basic b"), "session=c"), "credentials_not_bearer"),
        (attributes(absent(), value(b"b,b"), "session=c"), "credentials_repeated"),
        (attributes(absent(), Header::Several, "session=c"), "credentials_repeated"),
        (attributes(absent(), value(b""), "x=y; session=c;old=d"), "c"),
        (attributes(absent(), absent(), "x=y; old=d"), "d"),
        (attributes(absent(), absent(), "session=\"c\""), "c"),
        (attributes(absent(), absent(), "session=c; session=c"), "credentials_repeated"),
        (attributes(absent(), absent(), "a=1,session=c,session=d"), "credentials_repeated"),
        (attributes(absent(), absent(), "session="), "credentials_not_bearer"),
        (attributes(absent(), absent(), "session=c d"), "credentials_not_bearer"),
        (attributes(absent(), absent(), "Session=c; xsession=d"), "credentials_missing"),
    ] {
        assert_eq!(outcome(&named(), &case), expected, "{:?}", case.cookies);
    }
    let elsewhere = RequestAttributes { cookies: vec!["session=c".into()], ..RequestAttributes::default() };
    assert_eq!(outcome(&Sources::default(), &elsewhere), "credentials_missing");
    let twice =
        RequestAttributes { cookies: vec!["session=c".into(), "session=d".into()], ..RequestAttributes::default() };
    assert_eq!(outcome(&named(), &twice), "credentials_repeated", "in two headers");
    assert_eq!(Sources::default().selection(), AttributeSelection::default());
}
