use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::*;

const OWN: &str = "/.elastauth";
const EVIL: &str = "\"><script>alert('1')</script>&amp;";

fn path(text: &str) -> ReturnPath {
    ReturnPath::of(text.as_bytes(), OWN)
}

fn all() -> Vec<(&'static str, Response)> {
    let provider = Url::parse("https://id.example.org/logout?id_token_hint=x&client_id=%22y").unwrap();
    vec![
        ("logged_out", logged_out(OWN)),
        ("confirm_logout", confirm_logout(OWN)),
        ("logging_out", logging_out(&provider)),
        ("login_failed", login_failed(403, "login_nonce", EVIL, EVIL, &login_at(OWN, &path("/a?b=\"c\"&d")))),
        ("not_let_in", not_let_in(EVIL, EVIL, EVIL, "1", OWN)),
        (
            "unavailable",
            unavailable("provider_down", "1", &path("/a?b=<c>"), "/.elastauth", Duration::from_millis(1200)),
        ),
        ("too_many_logins", too_many_logins("login_loop", "1", "/")),
    ]
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let mut values = response.headers.iter().filter(|(known, _)| *known == name);
    let (Some((_, value)), None) = (values.next(), values.next()) else { panic!("{name} is there once") };
    value
}

#[test]
fn every_page_is_whole_and_brings_its_own_protection() {
    for (name, page) in all() {
        let body = &page.body;
        assert!(
            body.starts_with("<!doctype html>\n<html lang=\"en\">") && body.ends_with("</html>\n"),
            "{name}: {body}"
        );
        for element in ["<title>", "<h1>", "<main>", "name=\"viewport\""] {
            assert_eq!(body.matches(element).count(), 1, "{name} {element}");
        }
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8", "{name}");
        assert_eq!(header(&page, "cache-control"), "no-store", "{name}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff", "{name}");
        let style = body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(header(&page, "content-security-policy"), policy, "{name}");
    }
}

#[test]
fn pages_run_and_load_nothing_and_show_what_others_wrote_as_text() {
    for (name, page) in all() {
        let body = page.body.to_lowercase();
        for danger in
            ["<script", "javascript:", " style=", "<img", "<link", "<iframe", "src=", "@import", "url(", " onload="]
        {
            assert!(!body.contains(danger), "{name} has {danger}: {body}");
        }
    }
    let shown = &all()[4].1.body;
    assert_eq!(shown.matches("&#60;script&#62;alert(&#39;1&#39;)").count(), 3, "{shown}");
    let again = &all()[3].1.body;
    assert!(again.contains("href=\"/.elastauth/login?return_to=%2Fa%3Fb%3D%2522c%2522%26d\""), "{again}");
}

#[test]
fn each_page_has_its_status_and_what_a_person_can_do() {
    for ((name, page), (status, action)) in all().into_iter().zip([
        (200, "<a class=\"button\" href=\"/.elastauth/login\">Log in again</a>"),
        (200, "<form method=\"post\" action=\"/.elastauth/logout\">"),
        (200, "content=\"0; url=https://id.example.org/logout?id_token_hint=x&#38;client_id=%22y\""),
        (403, ">Try again</a>"),
        (403, "<form method=\"post\" action=\"/.elastauth/logout\">"),
        (503, "<a class=\"button\" href=\"/a?b=%3Cc%3E\">Try again</a>"),
        (429, "<a class=\"button\" href=\"/\">Try again</a>"),
    ]) {
        assert_eq!(page.status, status, "{name}");
        assert!(page.body.contains(action), "{name}: {}", page.body);
        let help = [403, 429, 503].contains(&status);
        assert_eq!(page.body.contains("<dt>Request id</dt>"), help, "{name}");
        assert_eq!(page.body.contains("<dt>Reason</dt>"), help, "{name}");
        // the form of a page with `no-referrer` would come with `Origin: null`
        let form = page.body.contains("<form");
        let referrer = if form { "same-origin" } else { "no-referrer" };
        assert_eq!(header(&page, "referrer-policy"), referrer, "{name}");
    }
    assert_eq!(header(&all()[5].1, "retry-after"), "2", "rounded up");
    assert!(!login_failed(400, "x", "y", "", "/").body.contains("Request id"), "there is none");
}

#[test]
fn programs_get_json() {
    let error = Response::error(401, "session_missing", "authentication required", "r-1");
    let value: serde_json::Value = serde_json::from_str(&error.body).unwrap();
    let expected = serde_json::json!({
        "error": "session_missing", "message": "authentication required", "request_id": "r-1",
    });
    assert_eq!((error.status, value), (401, expected));
    assert_eq!(header(&error, "content-type"), "application/json");
    assert_eq!(header(&error, "cache-control"), "no-store");
    assert!(!Response::error(401, "a", "b", "").body.contains("request_id"));
    assert!(!Response::error(401, "a", EVIL, "").body.contains("</script>\""), "quotes are escaped");
}

#[test]
fn a_redirect_is_kept_by_nobody() {
    let redirect =
        Response::redirect(302, "https://id.example.org/authorize").with_cookies(["a=b".into(), "c=d".into()]);
    assert_eq!((redirect.status, &redirect.body[..]), (302, ""));
    assert_eq!(header(&redirect, "location"), "https://id.example.org/authorize");
    assert_eq!(header(&redirect, "cache-control"), "no-store");
    assert_eq!(redirect.headers.iter().filter(|(name, _)| *name == "set-cookie").count(), 2);
}
