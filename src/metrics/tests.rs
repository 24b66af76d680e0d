use super::*;
use crate::authz::testing::refusals;

fn page(metrics: &Metrics) -> String {
    metrics.scrape(Vitals { cache: true, elasticsearch: true, keys: Vec::new(), login: None }, 0).unwrap()
}

#[test]
fn every_reason_is_there_before_it_happens_and_counts_in_its_own_series() {
    let metrics = Metrics::new();
    let before = page(&metrics);
    for refusal in refusals() {
        let verdict = refusal.verdict();
        let series = format!("elastauth_decisions_total{{reason=\"{}\",status=\"{}\"}}", verdict.reason, verdict.http);
        assert!(before.contains(&format!("{series} 0\n")), "{series} is not in\n{before}");
        metrics.decided(&Decision::Deny(refusal), Duration::from_millis(1));
        assert!(!page(&metrics).contains(&format!("{series} 0\n")), "{series}");
    }
    let after = page(&metrics);
    assert!(after.contains("elastauth_decisions_total{reason=\"other\",status=\"none\"} 0\n"), "{after}");
    let denied = format!("elastauth_decision_duration_seconds_count{{way=\"denied\"}} {}\n", refusals().len());
    assert!(after.contains(&denied), "{after}");
    assert_eq!(before.lines().count(), after.lines().count(), "no series was added");
}

#[test]
fn values_that_are_not_counted_are_those_at_the_scrape() {
    let metrics = Metrics::new();
    let keys = vec![("https://login.example.com".to_owned(), Duration::from_secs(90))];
    let refreshes = [("renewed", 3), ("refused", 0), ("not_sent", 0), ("unanswered", 1), ("store_failed", 0)];
    let login = Some(crate::login::Vitals { sessions: 2, refreshes });
    let down = metrics.scrape(Vitals { cache: false, elasticsearch: false, keys, login }, 7).unwrap();
    for line in [
        "elastauth_in_flight 7\n",
        "elastauth_cache_breaker_open 1\n",
        "elastauth_elasticsearch_up 0\n",
        "elastauth_login_sessions 2\n",
        "elastauth_session_refreshes_total{outcome=\"renewed\"} 3\n",
        "elastauth_session_refreshes_total{outcome=\"unanswered\"} 1\n",
        "elastauth_keys_age_seconds{issuer=\"https://login.example.com\"} 90.0\n",
    ] {
        assert!(down.contains(line), "{line} is not in\n{down}");
    }
    let up = page(&metrics);
    assert!(up.contains("elastauth_cache_breaker_open 0\n") && up.contains("elastauth_elasticsearch_up 1\n"), "{up}");
}

#[test]
fn each_end_of_a_write_counts_for_itself() {
    let metrics = Metrics::new();
    let refused = WriteError::Refused { refused: crate::credentials::Refused::Rejected, detail: String::new() };
    metrics.wrote(Ok(()), Duration::from_millis(3));
    for error in [refused, WriteError::Missing, WriteError::Unavailable("x".into()), WriteError::Unknown("x".into())] {
        metrics.wrote(Err(&error), Duration::from_millis(3));
    }
    let page = page(&metrics);
    for outcome in ["acknowledged", "refused", "missing", "unavailable", "unknown"] {
        let line = format!("elastauth_write_duration_seconds_count{{outcome=\"{outcome}\"}} 1\n");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}
