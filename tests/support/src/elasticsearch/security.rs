//! Answers the security API (`/_security/…`).

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::answers::{failure, product};
use super::login::Principal;
use crate::faults::{Ending, Fate};

type Request<'a> = (Method, &'a str, Option<&'a str>);

/// The definition of a role; its content does not matter to the tests.
pub(super) fn role() -> Value {
    json!({ "cluster": [], "indices": [], "applications": [], "run_as": [], "metadata": {},
            "transient_metadata": { "enabled": true } })
}

pub(super) async fn answer(
    shared: Arc<Shared>,
    caller: &Principal,
    sender: &str,
    (method, path, query): Request<'_>,
    body: Bytes,
) -> Response {
    if let Some(unknown) = query.into_iter().flat_map(|query| query.split('&')).find(|pair| !is_known(pair)) {
        let reason = format!("request [/_security/{path}] contains unrecognized parameter: [{unknown}]");
        return failure(400, "illegal_argument_exception", &reason);
    }
    let segments: Vec<String> = path.split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let write = method == Method::PUT || method == Method::POST;
    match segments.as_slice() {
        ["_authenticate"] if method == Method::GET => return product(StatusCode::OK, &caller.shown),
        ["user", "_has_privileges"] => return has_privileges(&shared, caller, &body),
        _ => {}
    }
    let action = match segments.first() {
        Some(&"role") => "role/get",
        _ if method == Method::GET => "user/get",
        _ if method == Method::DELETE => "user/delete",
        _ if matches!(segments.last(), Some(&("_enable" | "_disable"))) => "user/set_enabled",
        _ => "user/put",
    };
    let action = format!("cluster:admin/xpack/security/{action}");
    if !caller.administrator || shared.administrator.lock().unwrap().lacks.contains(&action) {
        let reason = format!(
            "action [{action}] is unauthorized for user [{}] with effective roles {:?}",
            caller.name, caller.roles
        );
        return failure(403, "security_exception", &reason);
    }
    if shared.faults.lock().unwrap().security_index_down && segments.first() == Some(&"user") {
        return failure(
            503,
            "unavailable_shards_exception",
            "at least one primary shard for the index [.security-7] is unavailable",
        );
    }
    match segments.as_slice() {
        ["role"] if method == Method::GET => {
            let roles: Map<String, Value> = shared.roles.lock().unwrap().clone().into_iter().collect();
            product(StatusCode::OK, &roles.into())
        }
        ["user"] if method == Method::GET => list(&shared),
        ["user", names] if method == Method::GET => get(&shared, names),
        ["user", name] if write => put(shared, sender, (*name).to_owned(), body).await,
        ["user", name] if method == Method::DELETE => {
            let found = shared.users.lock().unwrap().all.remove(*name).is_some();
            let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
            product(status, &json!({ "found": found }))
        }
        ["user", name, "_enable"] if write => set_enabled(&shared, name, true),
        ["user", name, "_disable"] if write => set_enabled(&shared, name, false),
        _ => failure(405, "illegal_argument_exception", "Incorrect HTTP method for uri"),
    }
}

fn is_known(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    match name {
        "refresh" => ["true", "false", "wait_for", ""].contains(&value),
        "with_profile_uid" | "pretty" | "human" | "error_trace" | "filter_path" => true,
        _ => false,
    }
}

/// The administrator has every privilege but those taken away by a test; other users have none.
fn has_privileges(shared: &Shared, caller: &Principal, body: &Bytes) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(cluster) = asked["cluster"].as_array() else {
        return failure(400, "parse_exception", "failed to parse privileges to check. No privileges are specified");
    };
    let lacks = shared.administrator.lock().unwrap().lacks.clone();
    let may = |action: &str| caller.administrator && !lacks.iter().any(|lack| lack == action);
    let cluster: Map<String, Value> =
        cluster.iter().filter_map(Value::as_str).map(|action| (action.to_owned(), may(action).into())).collect();
    let all = cluster.values().all(|may| *may == true);
    let body = json!({ "username": caller.name, "has_all_requested": all, "cluster": cluster, "index": {}, "application": {} });
    product(StatusCode::OK, &body)
}

fn decode(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn status(code: u16) -> Response {
    failure(code, "fault", "as the test wants it")
}

fn list(shared: &Shared) -> Response {
    if let Some(code) = shared.faults.lock().unwrap().get_status {
        return status(code);
    }
    let users = shared.users.lock().unwrap();
    let all: Map<String, Value> = users.all.iter().map(|(name, user)| (name.clone(), user.shown(name))).collect();
    product(StatusCode::OK, &all.into())
}

/// Several names are separated by commas; those that do not exist are left out.
fn get(shared: &Shared, names: &str) -> Response {
    if let Some(code) = shared.faults.lock().unwrap().get_status {
        return status(code);
    }
    let users = shared.users.lock().unwrap();
    let found = names.split(',').filter_map(|name| Some((name.to_owned(), users.all.get(name)?.shown(name))));
    let found: Map<String, Value> = found.collect();
    let status = if found.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    product(status, &found.into())
}

fn set_enabled(shared: &Shared, name: &str, enabled: bool) -> Response {
    match shared.users.lock().unwrap().all.get_mut(name) {
        Some(user) => {
            user.enabled = enabled;
            product(StatusCode::OK, &json!({}))
        }
        None => failure(
            400,
            "validation_exception",
            "Validation Failed: 1: only existing users can be enabled or disabled;",
        ),
    }
}

async fn put(shared: Arc<Shared>, sender: &str, name: String, body: Bytes) -> Response {
    let faults = shared.faults.lock().unwrap().clone();
    let Fate { delay, ending } = faults.of_a_put();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let underway = Arc::new(shared.puts.begin(sender.trim_start_matches('/'), &name, &body, ending));
    let apply = {
        let underway = Arc::clone(&underway);
        async move {
            tokio::time::sleep(delay).await;
            let mut users = shared.users.lock().unwrap();
            let outcome = users.put(&name, &body);
            if outcome.is_ok() {
                underway.applied();
            }
            outcome
        }
    };
    let applied = match ending {
        Ending::Refused(code) => {
            let answer = status(code);
            underway.answered(answer.status());
            return answer;
        }
        Ending::Lost => std::future::pending().await,
        Ending::Late => tokio::spawn(apply).await.unwrap(),
        _ if faults.apply_after_client_gave_up => tokio::spawn(apply).await.unwrap(),
        Ending::Answered | Ending::AnswerLost => apply.await,
    };
    if matches!(ending, Ending::AnswerLost | Ending::Late) {
        std::future::pending::<()>().await;
    }
    let answer = match applied {
        Ok(created) => product(StatusCode::OK, &json!({ "created": created })),
        Err(refused) => failure(400, refused.kind, &refused.reason),
    };
    underway.answered(answer.status());
    answer
}
