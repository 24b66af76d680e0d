//! Makes the bytes of a reply from a [`Decision`](crate::authz::Decision).
//!
//! An unset `CheckResponse.status` means *allow* to Envoy, so replies are built here, by three constructors, and nowhere
//! else.

use ::http::HeaderName;
use bytes::{BufMut as _, BytesMut};
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};

use super::wire::auth::{CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse};
use super::wire::core::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};
use super::wire::{Reply, rpc, status::HttpStatus};
use crate::authz::Refusal;
use crate::clock::seconds_rounded_up;
use crate::credentials::Credential;
use crate::login;

/// Headers that are removed from every allowed request: Elasticsearch's run-as and secondary authentication, and what proxies
/// read.
const REMOVED: [&str; 3] = ["es-security-runas-user", "es-secondary-authorization", "proxy-authorization"];

/// The field of the filter's dynamic metadata that names the user of the injected credential.
pub(super) const USER: &str = "user";

/// Makes replies that let requests through.
pub(super) struct Replies {
    /// The headers to remove. `authorization` is never among them: Envoy removes headers after it sets others.
    removed: Vec<String>,
    /// Whether the user is named in dynamic metadata, which Envoy puts into its access log.
    named: bool,
}

impl Replies {
    /// `identity` are the headers that name the caller. They are removed, so that nothing behind Envoy trusts them.
    /// With `named`, replies that inject a credential name the user in the filter's dynamic metadata.
    pub(super) fn new(identity: &[HeaderName], named: bool) -> Self {
        let identity = identity.iter().map(HeaderName::as_str);
        Self { removed: REMOVED.into_iter().chain(identity).map(str::to_owned).collect(), named }
    }

    /// Lets the request through without any credential, the client's included. `cookies` is as in [`Self::allow`].
    pub(super) fn preflight(&self, cookies: Option<&str>) -> Reply {
        let mut headers_to_remove = self.removed.clone();
        headers_to_remove.push("authorization".to_owned());
        let ok = OkHttpResponse { headers_to_remove, ..OkHttpResponse::default() };
        with_cookies(reply(0, HttpResponse::OkResponse(ok), None), cookies)
    }

    /// Lets the request through with this credential. The reply is kept with it, encoded. `cookies` is the new value of the header
    /// `cookie` where some of the request's were taken out.
    pub(super) fn allow(&self, credential: &Credential, cookies: Option<&str>) -> Reply {
        let user = || string(USER, credential.username().as_str());
        let make = |basic: &str| {
            let (headers, headers_to_remove) = (vec![overwrite("authorization", basic)], self.removed.clone());
            let ok = OkHttpResponse { headers, headers_to_remove, ..OkHttpResponse::default() };
            reply(0, HttpResponse::OkResponse(ok), self.named.then(user)).into_bytes()
        };
        with_cookies(Reply::again(credential.reply(make)), cookies)
    }
}

/// The same reply, which lets a request through, with these cookies in place of the request's: where people log in, every request
/// has one that must not go on. The reply is not encoded again for that: what is appended to an encoded message is merged into it,
/// lists within it too (Protocol Buffers, "Encoding", on repeated messages).
fn with_cookies(reply: Reply, cookies: Option<&str>) -> Reply {
    let ok = match cookies {
        None => return reply,
        // a `cookie` header must not be empty
        Some("") => OkHttpResponse { headers_to_remove: vec!["cookie".to_owned()], ..OkHttpResponse::default() },
        Some(rest) => OkHttpResponse { headers: vec![overwrite("cookie", rest)], ..OkHttpResponse::default() },
    };
    let more = CheckResponse { http_response: Some(HttpResponse::OkResponse(ok)), ..CheckResponse::default() };
    let mut bytes = BytesMut::with_capacity(reply.as_bytes().len() + more.encoded_len());
    bytes.put_slice(reply.as_bytes());
    more.encode_raw(&mut bytes);
    Reply::again(bytes.freeze())
}

/// Refuses the request with a status of 4xx: the caller may not do this.
pub(super) fn deny(refusal: &Refusal) -> Reply {
    let verdict = refusal.verdict();
    let mut headers = Vec::new();
    if let Some(challenge) = refusal.challenge() {
        headers.push(plain("www-authenticate", challenge));
    }
    reply(verdict.code, denied(verdict.http, headers, verdict.text), None)
}

/// Refuses the request with 503, because something is down. It is a denial and not a gRPC error: Envoy lets the request through
/// at a gRPC error when `failure_mode_allow` is on.
pub(super) fn unavailable(refusal: &Refusal) -> Reply {
    let verdict = refusal.verdict();
    let after = seconds_rounded_up(refusal.retry_after());
    reply(verdict.code, denied(verdict.http, vec![plain("retry-after", &after)], verdict.text), None)
}

/// Answers in the place of the application: a redirect, a page or JSON. To Envoy every such answer is a denial.
pub(super) fn respond(response: &login::Response) -> Reply {
    let login::Response { status, headers, body } = response;
    let sound = |(name, value): &(&'static str, String)| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && value.bytes().all(|b| (b' '..=b'~').contains(&b))
    };
    debug_assert!(headers.iter().all(sound), "Envoy would answer 503 instead");
    let headers = headers.iter().map(|(name, value)| plain(name, value)).collect();
    let denied =
        DeniedHttpResponse { status: Some(HttpStatus { code: i32::from(*status) }), headers, body: body.clone() };
    reply(code(*status), HttpResponse::DeniedResponse(denied), None)
}

/// The gRPC code that goes with an HTTP status; never 0, which would let the request through.
fn code(status: u16) -> i32 {
    match status {
        300..400 | 401 => 16,
        400 => 3,
        503 => 14,
        _ => 7,
    }
}

fn denied(http: u16, mut headers: Vec<HeaderValueOption>, text: &str) -> HttpResponse {
    headers.push(plain("content-type", "text/plain; charset=utf-8"));
    HttpResponse::DeniedResponse(DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(http) }),
        headers,
        // Envoy sends this text to gRPC clients as grpc-message
        body: text.to_owned(),
    })
}

fn reply(code: i32, http_response: HttpResponse, dynamic_metadata: Option<Struct>) -> Reply {
    let status = Some(rpc::Status { code, ..rpc::Status::default() });
    Reply::encode(&CheckResponse { status, http_response: Some(http_response), dynamic_metadata })
}

fn string(name: &str, value: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(value.to_owned())) };
    Struct { fields: [(name.to_owned(), value)].into() }
}

/// A header that overwrites the client's. Released Envoys read `append` only, one development line reads `append_action` only:
/// both say overwrite. Values go into `value`, since Envoy ignores `raw_value` here.
fn overwrite(name: &'static str, value: &str) -> HeaderValueOption {
    #[expect(deprecated, reason = "the only field that released Envoys look at")]
    HeaderValueOption {
        append: Some(false),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..plain(name, value)
    }
}

/// A header of a denied reply, in which Envoy drops entries with `append`.
fn plain(name: &'static str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.to_owned().into(), ..HeaderValue::default() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authz::testing::refusals;
    use crate::credentials::{Busy, Password, broker};
    use crate::identity::Username;

    fn decode(reply: &Reply) -> CheckResponse {
        CheckResponse::decode(reply.as_bytes().clone()).unwrap()
    }

    #[test]
    fn allow_overwrites_authorization_and_removes_what_impersonates() {
        let credential = Credential::new(Username::parse("ann").unwrap(), &Password::generate().unwrap());
        let replies = Replies::new(&[HeaderName::from_static("remote-user")], false);
        let response = decode(&replies.allow(&credential, None));
        assert_eq!(response.status.unwrap().code, 0);
        let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("not ok_response") };
        let [header] = ok.headers.as_slice() else { panic!("one header") };
        #[expect(deprecated, reason = "what released Envoys look at")]
        let append = header.append;
        assert_eq!(append, Some(false));
        assert_eq!(header.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
        let value = header.header.clone().unwrap();
        assert_eq!((&value.key[..], &value.value[..]), (&b"authorization"[..], credential.expose_header().as_bytes()));
        assert!(value.raw_value.is_empty());
        let removed = ["es-security-runas-user", "es-secondary-authorization", "proxy-authorization", "remote-user"];
        assert_eq!(ok.headers_to_remove, removed);
        assert!(!ok.headers_to_remove.iter().any(|h| h == "authorization"), "Envoy removes after it sets");
    }

    #[test]
    fn a_preflight_request_goes_on_without_any_credential() {
        let response = decode(&Replies::new(&[HeaderName::from_static("remote-user")], false).preflight(None));
        assert_eq!(response.status.unwrap().code, 0);
        let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("not ok_response") };
        assert!(ok.headers.is_empty());
        for name in ["authorization", "remote-user", "es-security-runas-user"] {
            assert!(ok.headers_to_remove.iter().any(|removed| removed == name), "{name}");
        }
    }

    #[test]
    fn our_cookie_is_overwritten_by_what_is_left_or_removed() {
        let credential = Credential::new(Username::parse("ann").unwrap(), &Password::generate().unwrap());
        let replies = Replies::new(&[], false);
        for (rest, set, removed) in [(None, None, false), (Some(""), None, true), (Some("a=1"), Some("a=1"), false)] {
            let Some(HttpResponse::OkResponse(ok)) = decode(&replies.allow(&credential, rest)).http_response else {
                panic!("not ok_response")
            };
            let cookie = ok.headers.iter().find(|header| header.header.as_ref().unwrap().key == "cookie");
            let value = |header: &HeaderValueOption| header.header.as_ref().unwrap().value.clone();
            assert_eq!(cookie.map(value).as_deref(), set.map(str::as_bytes), "{rest:?}");
            assert_eq!(ok.headers_to_remove.iter().any(|name| name == "cookie"), removed, "{rest:?}");
            let authorization =
                ok.headers.iter().filter(|header| header.header.as_ref().unwrap().key == "authorization");
            assert_eq!(authorization.count(), 1);
            let all = REMOVED.iter().all(|name| ok.headers_to_remove.iter().any(|removed| removed == name));
            assert!(all, "what is always removed: {rest:?}");
        }
    }

    #[test]
    fn the_user_is_named_to_envoy_only_where_that_is_wanted_and_with_a_credential() {
        let credential = |name| Credential::new(Username::parse(name).unwrap(), &Password::generate().unwrap());
        let named = |replies: &Replies, cookies| {
            decode(&replies.allow(&credential("ann"), cookies)).dynamic_metadata.map(|metadata| {
                let fields: Vec<_> = metadata.fields.into_iter().collect();
                assert_eq!(fields, [("user".to_owned(), Value { kind: Some(Kind::StringValue("ann".to_owned())) })]);
            })
        };
        for cookies in [None, Some("a=1")] {
            assert!(named(&Replies::new(&[], true), cookies).is_some(), "{cookies:?}");
            assert!(named(&Replies::new(&[], false), cookies).is_none(), "{cookies:?}");
        }
        assert_eq!(decode(&Replies::new(&[], true).preflight(None)).dynamic_metadata, None);
        assert!(refusals().iter().all(|refusal| decode(&deny(refusal)).dynamic_metadata.is_none()));
    }

    #[test]
    fn every_refusal_has_a_status_an_http_status_and_a_short_text() {
        for refusal in refusals() {
            let reply = if refusal.is_outage() { unavailable(&refusal) } else { deny(&refusal) };
            let response = decode(&reply);
            assert_ne!(response.status.unwrap().code, 0, "{refusal:?}");
            let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else { panic!("{refusal:?}") };
            let code = denied.status.unwrap().code;
            assert!((400..600).contains(&code), "{refusal:?}");
            assert!(!denied.body.is_empty() && denied.body.len() < 100, "{refusal:?}");
            let has = |name: &str| denied.headers.iter().any(|h| h.header.as_ref().unwrap().key == name);
            assert_eq!(has("www-authenticate"), code == 401, "{refusal:?}");
            assert_eq!(has("retry-after"), code == 503, "{refusal:?}");
            assert!(denied.headers.iter().all(|h| !h.header.as_ref().unwrap().value.is_empty()));
        }
    }

    #[test]
    fn an_answer_of_the_login_is_a_denial_with_everything_in_it() {
        let page = login::Response::new(200)
            .with("content-type", "text/html; charset=utf-8")
            .with_cookies(["a=1; Path=/".to_owned(), "b=; Max-Age=0".to_owned()]);
        let response = decode(&respond(&login::Response { body: "<h1>é</h1>".into(), ..page }));
        assert_eq!(response.status.unwrap().code, 7);
        assert_eq!(response.dynamic_metadata, None);
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else { panic!("not denied_response") };
        assert_eq!((denied.status.unwrap().code, &denied.body[..]), (200, "<h1>é</h1>"));
        let headers: Vec<(String, String)> = denied
            .headers
            .iter()
            .map(|option| {
                #[expect(deprecated, reason = "Envoy drops a header of a denial that has it")]
                let append = option.append;
                assert_eq!((append, option.append_action), (None, 0));
                let header = option.header.as_ref().unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(&header.key), text(&header.value))
            })
            .collect();
        let expected = [
            ("cache-control", "no-store"),
            ("content-type", "text/html; charset=utf-8"),
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=; Max-Age=0"),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn no_answer_of_the_login_lets_a_request_through() {
        for status in 0..1000 {
            let response = decode(&respond(&login::Response::new(status)));
            assert_ne!(response.status.unwrap().code, 0, "{status}");
        }
        for (status, expected) in
            [(200, 7), (302, 16), (303, 16), (400, 3), (401, 16), (403, 7), (404, 7), (429, 7), (500, 7), (503, 14)]
        {
            assert_eq!(code(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let busy = |millis| {
            let again = Duration::from_millis(millis);
            Refusal::Credentials(broker::Error::Busy(Busy { again }))
        };
        for (refusal, expected) in [
            (busy(2_001), "3"),
            (busy(60_000), "60"),
            (busy(15), "1"),
            (Refusal::Overload, "1"),
            (Refusal::Deadline, "1"),
        ] {
            let Some(HttpResponse::DeniedResponse(denied)) = decode(&unavailable(&refusal)).http_response else {
                panic!("{refusal:?}")
            };
            let headers = denied.headers.iter().filter_map(|option| option.header.as_ref());
            let after: Vec<_> = headers.filter(|header| header.key == "retry-after").map(|h| &h.value[..]).collect();
            assert_eq!(after, [expected.as_bytes()], "{refusal:?}");
        }
    }
}
