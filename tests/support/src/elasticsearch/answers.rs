//! Builds answers in the form of Elasticsearch's own.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Every answer to an authenticated caller carries the product's name.
pub(super) fn product(status: StatusCode, body: &Value) -> Response {
    (status, [("x-elastic-product", "Elasticsearch")], axum::Json(body.clone())).into_response()
}

/// The body of an error, as `RestResponse` writes it.
pub(super) fn exception(status: u16, kind: &str, reason: &str) -> Value {
    json!({ "error": { "root_cause": [{ "type": kind, "reason": reason }], "type": kind, "reason": reason },
            "status": status })
}

pub(super) fn failure(status: u16, kind: &str, reason: &str) -> Response {
    product(StatusCode::from_u16(status).unwrap(), &exception(status, kind, reason))
}

pub(super) fn unauthorized() -> Response {
    let body = exception(401, "security_exception", "unable to authenticate user for REST request");
    let challenge = [("www-authenticate", r#"Basic realm="security", charset="UTF-8""#)];
    (StatusCode::UNAUTHORIZED, challenge, axum::Json(body)).into_response()
}

/// Vendored media types have to name this version or the one before, and the same one in both headers.
pub(super) fn media_type_trouble(headers: &HeaderMap, major: u8) -> Option<String> {
    let version = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        let version = value.strip_prefix("application/vnd.elasticsearch+json")?.split_once("compatible-with=")?.1;
        Some(version.trim().parse::<u8>().unwrap_or(0))
    };
    let (accept, content) = (version("accept"), version("content-type"));
    let known = |version: Option<u8>| version.is_none_or(|version| version == major || version + 1 == major);
    if !known(accept) || !known(content) {
        return Some(format!("Invalid media-type value on headers: accept {accept:?}, content-type {content:?}"));
    }
    (headers.contains_key("content-type") && accept != content)
        .then(|| format!("A compatible version is required on both headers: {accept:?}, {content:?}"))
}

/// The body of `GET /` of a released version of this major.
pub(super) fn info(major: u8, cluster_uuid: &str) -> Value {
    json!({
        "name": "stand-in", "cluster_name": "stand-in", "cluster_uuid": cluster_uuid,
        "version": {
            "number": format!("{major}.17.0"), "build_flavor": "default", "build_type": "docker",
            "build_hash": "0123456789abcdef0123456789abcdef01234567", "build_date": "2026-01-01T00:00:00.000Z",
            "build_snapshot": false, "lucene_version": "9.12.0",
            "minimum_wire_compatibility_version": format!("{}.17.0", major - 1),
            "minimum_index_compatibility_version": format!("{}.0.0", major - 1),
        },
        "tagline": "You Know, for Search",
    })
}
