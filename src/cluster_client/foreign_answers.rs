//! Foreign answers for tests: what load balancers, gateways, login pages and firewalls were seen to answer in a cluster's
//! place.

/// Status, content type and body of an answer.
pub(crate) type ForeignAnswer = (u16, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

/// From none of them anything follows about a user, a write or a password.
pub(crate) const FOREIGN_ANSWERS: &[ForeignAnswer] = &[
    (200, HTML, "<!doctype html><html><head><title>Sign in</title></head><body><form></form></body></html>"),
    (200, HTML, ""),
    (200, JSON, ""),
    (200, JSON, "[]"),
    (200, JSON, "null"),
    (200, JSON, "\"ok\""),
    (200, JSON, r#"{"message":"ok"}"#),
    (200, JSON, r#"{"status":"ok"}"#),
    (200, JSON, r#"{"ann":{"roles":["superuser"],"metadata":{"manag"#),
    (200, JSON, r#"{"ann":"superuser","username":7,"created":"true","found":"true","cluster":[],"roles":{}}"#),
    (200, JSON, r#"{"created":1}"#),
    (201, JSON, r#"{"id":"ann"}"#),
    (202, JSON, r#"{"queued":true}"#),
    (204, TEXT, ""),
    (301, HTML, "<html><head><title>301 Moved Permanently</title></head></html>"),
    (302, HTML, "<a href=\"https://login.example.com/\">Found</a>"),
    (400, HTML, "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"),
    (400, JSON, r#"{"message":"Bad Request"}"#),
    (401, HTML, "<html><head><title>401 Authorization Required</title></head></html>"),
    (401, JSON, r#"{"message":"Unauthorized"}"#),
    (401, JSON, r#"{"timestamp":"2026-01-01T00:00:00Z","status":401,"error":"Unauthorized","path":"/"}"#),
    (401, TEXT, ""),
    (401, TEXT, "Unauthorized\n"),
    (403, HTML, "<html><head><title>Access denied</title></head></html>"),
    (403, JSON, r#"{"message":"Forbidden"}"#),
    (403, JSON, r#"{"Message":"User: anonymous is not authorized to perform: es:ESHttpPut"}"#),
    (403, TEXT, "RBAC: access denied"),
    (404, TEXT, "default backend - 404"),
    (404, HTML, "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>nginx</body></html>"),
    (404, TEXT, "404 page not found\n"),
    (404, TEXT, ""),
    (404, JSON, ""),
    (404, JSON, "[]"),
    (404, JSON, "null"),
    (404, JSON, r#"{"message":"no Route matched with those values"}"#),
    (404, JSON, r#"{"status":404,"error":"Not Found"}"#),
    (404, JSON, r#"{"timestamp":"2026-01-01T00:00:00Z","status":404,"error":"Not Found","path":"/"}"#),
    (404, JSON, r#"{"type":"about:blank","title":"Not Found","status":404}"#),
    (404, JSON, r#"{"ok":false,"message":"Unknown deployment."}"#),
    (404, JSON, r#"{"found":"no"}"#),
    (404, "application/xml", "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>"),
    (405, HTML, "<html><head><title>405 Not Allowed</title></head></html>"),
    (409, JSON, r#"{"message":"conflict"}"#),
    (410, TEXT, ""),
    (413, HTML, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    (500, HTML, "<html><head><title>500 Internal Server Error</title></head></html>"),
    (500, JSON, r#"{"message":"An unexpected error occurred"}"#),
];
