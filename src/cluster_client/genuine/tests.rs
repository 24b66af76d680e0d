use super::*;
use crate::cluster_client::answer::made;
use crate::cluster_client::foreign::FOREIGN;

const SHAPES: [Shape<'_>; 8] = [
    Shape::User("ann"),
    Shape::Users,
    Shape::Account,
    Shape::Privileges,
    Shape::Roles,
    Shape::Written,
    Shape::Switched,
    Shape::Deleted,
];

fn counts(system: System, shape: Shape<'_>, answer: &Answer) -> bool {
    system.expects(shape, answer) || system.reports(answer)
}

#[test]
fn nothing_that_stands_between_is_taken_for_the_system() {
    for (status, kind, body) in FOREIGN {
        let answer = made(*status, kind, body);
        for system in [System::Elasticsearch, System::OpenSearch, System::Either] {
            for shape in SHAPES {
                assert!(!counts(system, shape, &answer), "{system:?} {shape:?}: {status} {body}");
            }
        }
    }
}

#[test]
fn what_elasticsearch_answers_counts() {
    let user = r#"{"ann":{"username":"ann","roles":[],"full_name":null,"email":null,"metadata":{},"enabled":true}}"#;
    for (shape, status, body) in [
        (Shape::User("ann"), 200, user),
        (Shape::User("ann"), 404, "{}"),
        (Shape::Users, 200, user),
        (Shape::Users, 200, "{}"),
        (Shape::Users, 404, "{}"),
        (Shape::Account, 200, r#"{"username":"ann","roles":["r"],"metadata":{}}"#),
        (Shape::Privileges, 200, r#"{"username":"p","has_all_requested":true,"cluster":{},"index":{}}"#),
        (Shape::Roles, 200, r#"{"r":{"cluster":[]}}"#),
        (Shape::Written, 200, r#"{"created":false}"#),
        (Shape::Switched, 200, "{}"),
        (Shape::Deleted, 200, r#"{"found":true}"#),
        (Shape::Deleted, 404, r#"{"found":false}"#),
    ] {
        let answer = made(status, "application/json", body);
        assert!(System::Elasticsearch.expects(shape, &answer), "{shape:?}: {status} {body}");
    }
    for (status, body) in [
        (400, r#"{"error":{"root_cause":[],"type":"validation_exception","reason":"r"},"status":400}"#),
        (400, r#"{"error":"no handler found for uri [/x] and method [PUT]"}"#),
        (401, r#"{"error":{"root_cause":[],"type":"security_exception","reason":"r"},"status":401}"#),
        (405, r#"{"error":"Incorrect HTTP method for uri [/x] and method [PUT], allowed: [GET]","status":405}"#),
        (406, r#"{"error":"Content-Type header [x] is not supported","status":406}"#),
        (404, r#"{"error":{"root_cause":[],"type":"index_not_found_exception","reason":"r"},"status":404}"#),
    ] {
        let answer = made(status, "application/json", body);
        assert!(System::Elasticsearch.reports(&answer), "{status} {body}");
        for shape in SHAPES {
            assert!(!System::Elasticsearch.expects(shape, &answer), "{shape:?}: {status} {body}");
        }
    }
}

#[test]
fn a_shape_is_of_one_call_and_of_one_status() {
    for (shape, status, body) in [
        (Shape::User("ann"), 200, "{}"),
        (Shape::User("ann"), 200, r#"{"bob":{"roles":[],"metadata":{},"enabled":true}}"#),
        (Shape::User("ann"), 404, r#"{"found":false}"#),
        (Shape::User("ann"), 500, "{}"),
        (Shape::Users, 200, r#"{"ann":{}}"#),
        (Shape::Account, 404, "{}"),
        (Shape::Roles, 404, "{}"),
        (Shape::Written, 404, "{}"),
        (Shape::Written, 200, "{}"),
        (Shape::Written, 201, r#"{"created":true}"#),
        (Shape::Switched, 404, "{}"),
        (Shape::Switched, 200, r#"{"message":"ok"}"#),
        (Shape::Deleted, 404, "{}"),
        (Shape::Deleted, 404, r#"{"found":true}"#),
        (Shape::Deleted, 404, r#"{"_index":"i","_id":"1","found":false}"#),
    ] {
        assert!(
            !counts(System::Elasticsearch, shape, &made(status, "application/json", body)),
            "{shape:?}: {status} {body}"
        );
    }
    let answer = made(404, "application/json", r#"{"error":{"type":"t","reason":"r"},"status":400}"#);
    assert!(!System::Elasticsearch.reports(&answer), "the status in the body is the answer's own");
}

#[test]
fn what_opensearch_answers_counts() {
    let user =
        r#"{"ann":{"hash":"","reserved":false,"hidden":false,"backend_roles":[],"attributes":{},"static":false}}"#;
    for (shape, status, body) in [
        (Shape::User("ann"), 200, user),
        (Shape::Users, 200, user),
        (Shape::Users, 200, "{}"),
        (Shape::Account, 200, r#"{"user_name":"ann","roles":[],"backend_roles":[]}"#),
        (Shape::Privileges, 200, r#"{"user_name":"p","has_api_access":true,"disabled_endpoints":{}}"#),
        (Shape::Written, 201, r#"{"status":"CREATED","message":"'ann' created."}"#),
        (Shape::Written, 200, r#"{"status":"OK","message":"Resource updated."}"#),
        (Shape::Deleted, 200, r#"{"status":"OK","message":"'ann' deleted."}"#),
    ] {
        assert!(
            System::OpenSearch.expects(shape, &made(status, "application/json", body)),
            "{shape:?}: {status} {body}"
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
        assert!(System::OpenSearch.reports(&made(status, "text/plain", body)), "{status} {body}");
    }
    for (status, body) in [
        (404, r#"{"status":"FORBIDDEN","message":"m"}"#),
        (404, "{}"),
        (200, r#"{"status":"OK"}"#),
        (200, r#"{"created":true}"#),
    ] {
        assert!(
            !counts(System::OpenSearch, Shape::Written, &made(status, "application/json", body)),
            "{status} {body}"
        );
    }
}
