use super::*;
use crate::cluster_client::answer::answer_with;
use crate::cluster_client::foreign_answers::FOREIGN_ANSWERS;

const EXPECTED: [ExpectedAnswer<'_>; 8] = [
    ExpectedAnswer::User("ann"),
    ExpectedAnswer::Users,
    ExpectedAnswer::Account,
    ExpectedAnswer::Privileges,
    ExpectedAnswer::Roles,
    ExpectedAnswer::Written,
    ExpectedAnswer::Switched,
    ExpectedAnswer::Deleted,
];

fn counts(system: System, expected: ExpectedAnswer<'_>, answer: &Answer) -> bool {
    system.expects(expected, answer) || system.reports_error(answer)
}

#[test]
fn nothing_that_stands_between_is_taken_for_the_system() {
    for (status, kind, body) in FOREIGN_ANSWERS {
        let answer = answer_with(*status, kind, body);
        for system in [System::Elasticsearch, System::OpenSearch, System::Either] {
            for expected in EXPECTED {
                assert!(!counts(system, expected, &answer), "{system:?} {expected:?}: {status} {body}");
            }
        }
    }
}

#[test]
fn what_elasticsearch_answers_counts() {
    let user = r#"{"ann":{"username":"ann","roles":[],"full_name":null,"email":null,"metadata":{},"enabled":true}}"#;
    for (expected, status, body) in [
        (ExpectedAnswer::User("ann"), 200, user),
        (ExpectedAnswer::User("ann"), 404, "{}"),
        (ExpectedAnswer::Users, 200, user),
        (ExpectedAnswer::Users, 200, "{}"),
        (ExpectedAnswer::Users, 404, "{}"),
        (ExpectedAnswer::Account, 200, r#"{"username":"ann","roles":["r"],"metadata":{}}"#),
        (ExpectedAnswer::Privileges, 200, r#"{"username":"p","has_all_requested":true,"cluster":{},"index":{}}"#),
        (ExpectedAnswer::Roles, 200, r#"{"r":{"cluster":[]}}"#),
        (ExpectedAnswer::Written, 200, r#"{"created":false}"#),
        (ExpectedAnswer::Switched, 200, "{}"),
        (ExpectedAnswer::Deleted, 200, r#"{"found":true}"#),
        (ExpectedAnswer::Deleted, 404, r#"{"found":false}"#),
    ] {
        let answer = answer_with(status, "application/json", body);
        assert!(System::Elasticsearch.expects(expected, &answer), "{expected:?}: {status} {body}");
    }
    for (status, body) in [
        (400, r#"{"error":{"root_cause":[],"type":"validation_exception","reason":"r"},"status":400}"#),
        (400, r#"{"error":"no handler found for uri [/x] and method [PUT]"}"#),
        (401, r#"{"error":{"root_cause":[],"type":"security_exception","reason":"r"},"status":401}"#),
        (405, r#"{"error":"Incorrect HTTP method for uri [/x] and method [PUT], allowed: [GET]","status":405}"#),
        (406, r#"{"error":"Content-Type header [x] is not supported","status":406}"#),
        (404, r#"{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"r"},"status":404}"#),
    ] {
        let answer = answer_with(status, "application/json", body);
        assert!(System::Elasticsearch.reports_error(&answer), "{status} {body}");
        for expected in EXPECTED {
            assert!(!System::Elasticsearch.expects(expected, &answer), "{expected:?}: {status} {body}");
        }
    }
}

#[test]
fn a_expected_is_of_one_call_and_of_one_status() {
    for (expected, status, body) in [
        (ExpectedAnswer::User("ann"), 200, "{}"),
        (ExpectedAnswer::User("ann"), 200, r#"{"bob":{"roles":[],"metadata":{},"enabled":true}}"#),
        (ExpectedAnswer::User("ann"), 404, r#"{"found":false}"#),
        (ExpectedAnswer::User("ann"), 500, "{}"),
        (ExpectedAnswer::Users, 200, r#"{"ann":{}}"#),
        (ExpectedAnswer::Account, 404, "{}"),
        (ExpectedAnswer::Roles, 404, "{}"),
        (ExpectedAnswer::Written, 404, "{}"),
        (ExpectedAnswer::Written, 200, "{}"),
        (ExpectedAnswer::Written, 201, r#"{"created":true}"#),
        (ExpectedAnswer::Switched, 404, "{}"),
        (ExpectedAnswer::Switched, 200, r#"{"message":"ok"}"#),
        (ExpectedAnswer::Deleted, 404, "{}"),
        (ExpectedAnswer::Deleted, 404, r#"{"found":true}"#),
        (ExpectedAnswer::Deleted, 404, r#"{"_index":"i","_id":"1","found":false}"#),
    ] {
        assert!(
            !counts(System::Elasticsearch, expected, &answer_with(status, "application/json", body)),
            "{expected:?}: {status} {body}"
        );
    }
    let answer = answer_with(404, "application/json", r#"{"error":{"type":"t","reason":"r"},"status":400}"#);
    assert!(!System::Elasticsearch.reports_error(&answer), "the status in the body is the answer's own");
}

#[test]
fn what_opensearch_answers_counts() {
    let user =
        r#"{"ann":{"hash":"","reserved":false,"hidden":false,"backend_roles":[],"attributes":{},"static":false}}"#;
    for (expected, status, body) in [
        (ExpectedAnswer::User("ann"), 200, user),
        (ExpectedAnswer::Users, 200, user),
        (ExpectedAnswer::Users, 200, "{}"),
        (ExpectedAnswer::Account, 200, r#"{"user_name":"ann","roles":[],"backend_roles":[]}"#),
        (ExpectedAnswer::Privileges, 200, r#"{"user_name":"p","has_api_access":true,"disabled_endpoints":{}}"#),
        (ExpectedAnswer::Written, 201, r#"{"status":"CREATED","message":"'ann' created."}"#),
        (ExpectedAnswer::Written, 200, r#"{"status":"OK","message":"Resource updated."}"#),
        (ExpectedAnswer::Deleted, 200, r#"{"status":"OK","message":"'ann' deleted."}"#),
    ] {
        assert!(
            System::OpenSearch.expects(expected, &answer_with(status, "application/json", body)),
            "{expected:?}: {status} {body}"
        );
    }
    for (status, body) in [
        (400, r#"{"status":"error","reason":"Weak password"}"#),
        (401, "Unauthorized"),
        (401, "Authentication finally failed"),
        (403, r#"{"status":"FORBIDDEN","message":"m"}"#),
        (404, r#"{"status":"NOT_FOUND","message":"user 'ann' not found."}"#),
        (409, r#"{"status":"CONFLICT","message":"m"}"#),
        (500, r#"{"error":{"root_cause":[],"type":"exception","reason":"r"},"status":500}"#),
        (503, "OpenSearch Security not initialized."),
    ] {
        assert!(System::OpenSearch.reports_error(&answer_with(status, "text/plain", body)), "{status} {body}");
    }
    for (status, body) in [
        (404, r#"{"status":"FORBIDDEN","message":"m"}"#),
        (404, "{}"),
        (200, r#"{"status":"OK"}"#),
        (200, r#"{"created":true}"#),
    ] {
        assert!(
            !counts(System::OpenSearch, ExpectedAnswer::Written, &answer_with(status, "application/json", body)),
            "{status} {body}"
        );
    }
}
