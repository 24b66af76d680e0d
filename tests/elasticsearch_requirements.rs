//! What an administrator of Elasticsearch may expect of elastauth, and the tests that hold it. Numbers are those of the
//! project's reference on Elasticsearch; the names are of functions in `src/` and `tests/`.
//!
//! | | requirement | tests |
//! |---|---|---|
//! | 1 | usernames are `[A-Za-z0-9][A-Za-z0-9._@+-]{0,254}`; others are denied, never rewritten | `a_username_must_be_a_string_that_elasticsearch_accepts` `names_are_valid_where_the_real_server_says_so` |
//! | 2 | no `:`, leading `_`, `.` or `..` | `a_name_is_one_path_segment_whatever_it_holds` `names_are_valid_where_the_real_server_says_so` |
//! | 3 | every byte outside the unreserved ones is encoded; a path has three segments | `the_path_of_a_user_has_exactly_three_segments` |
//! | 4 | reserved names and the account's own are refused before anything is sent | `reserved_names_and_the_administrator_are_refused_without_a_request` `the_account_is_examined_and_its_own_name_learned` |
//! | 5 | a user without our stamp is never written | `users_that_are_not_ours_or_disabled_are_left_exactly_as_they_are` `only_our_own_enabled_user_of_the_same_owner_may_be_written` `a_person_whose_look_a_proxy_answers_with_404_is_never_written` |
//! | 6 | a disabled user stays disabled | `users_that_are_not_ours_or_disabled_are_left_exactly_as_they_are` |
//! | 7 | the case of names is the operator's choice (identity) | `a_username_keeps_its_case_unless_the_policy_says_otherwise_and_is_judged_with_its_prefix` |
//! | 8 | `roles` and `enabled` are always sent | `a_write_sends_roles_stamp_and_enabled_and_the_password_only_when_told_to` `what_elastauth_says_and_the_stand_in_answers_keeps_to_the_specification` |
//! | 9 | no roles: denied, unless the operator says otherwise (roles) | `default_roles_apply_only_when_nothing_matched` |
//! | 10 | mapped roles that do not exist are warned about, at start and now and then | `check_online_examines_the_account_and_names_roles_that_do_not_exist` |
//! | 11 | roles can be denied; `superuser` is warned about | `superuser_is_warned_about_and_denied_roles_cannot_be_mapped` |
//! | 12 | passwords are random, long, ASCII, and short enough for bcrypt (agreement) | `passwords_are_long_distinct_and_fit_basic_and_bcrypt` |
//! | 13 | no password, hash or `Authorization` in a log | `a_request_through_envoy_reaches_elasticsearch_with_its_own_credential_raw_headers_on` `check_online_examines_the_account_and_names_roles_that_do_not_exist` `a_credential_never_shows_its_password` |
//! | 14 | secrets zero themselves (`secrecy`; not the HTTP client's buffers, and no test looks into memory) and are never shown | `a_credential_never_shows_its_password` |
//! | 15 | `refresh=false`, configurable | `refresh_is_what_the_setting_says` |
//! | 16 | plain JSON, or a version on both headers | `a_call_says_on_whose_behalf_it_is_made` `an_api_key_and_vendored_media_types_work_where_a_server_wants_them` |
//! | 17 | nothing is handed out before a 2xx (agreement) | `whatever_goes_wrong_the_replicas_agree` `elasticsearch_down_serves_the_cached_and_keeps_the_agreed_password_for_the_next_attempt` `a_write_that_a_proxy_answers_hands_nothing_out_and_refuses_nobody_for_good` |
//! | 18 | a hundred misses of a process are one (agreement) | `a_hundred_concurrent_callers_share_one_flight` |
//! | 19 | replicas end in one password (agreement) | `two_replicas_that_miss_at_once_end_in_one_password` `whatever_two_things_go_wrong_the_replicas_agree` |
//! | 20 | a change of groups is one write (agreement) | `a_caller_is_let_in_and_a_change_of_groups_changes_the_roles_alone` `the_documented_acl_line_is_enough_and_the_log_says_what_to_grant` |
//! | 21 | a change of roles goes without a password; a missing user is made again | `a_write_is_read_by_its_status_first` `a_user_that_was_deleted_is_made_again` |
//! | 22 | a hard maximum, and jitter (agreement) | `lives_differ_by_up_to_a_tenth_and_end_at_the_hard_maximum` |
//! | 23 | one deadline for all attempts | `all_attempts_share_one_deadline` |
//! | 24 | no connection, 502, 503 and 504 are repeated; 400, 401, 403, 409 and 410 never | `only_what_may_pass_is_repeated` `a_connection_that_breaks_after_a_write_leaves_its_outcome_unknown` |
//! | 25 | 429 is repeated within the deadline, unless the disk is full | `only_what_may_pass_is_repeated` |
//! | 26 | a time-out and a failed clearing of caches are unknown outcomes: the same password again | `a_write_is_read_by_its_status_first` `elasticsearch_down_serves_the_cached_and_keeps_the_agreed_password_for_the_next_attempt` |
//! | 27 | nodes in turn, rests with a cap, the longest rested when all do | `nodes_take_turns_and_one_that_failed_rests_twice_as_long_each_time_up_to_a_cap` `when_all_rest_the_one_that_has_rested_longest_is_tried_once` |
//! | 28 | a user's 401 rotates nothing; the administrator's opens a breaker and alerts | `a_node_whose_security_index_is_unavailable_rotates_nothing` `an_administrator_that_is_rejected_is_not_tried_again_for_a_while` `what_the_administrator_may_not_do_is_no_refusal_of_the_user` `a_confirmation_that_a_proxy_answers_writes_nothing` `a_401_of_something_else_does_not_bar_the_administrator` |
//! | 29 | few writes at once, a bounded queue, a rate; the rest is 503 | `under_load_few_write_at_once_and_those_beyond_the_queue_are_told_to_come_back` `a_rate_spreads_writes_and_refuses_those_whose_turn_comes_too_late` |
//! | 30 | no probes: one GET and one PUT for a new user | `elasticsearch_learns_on_whose_behalf_it_is_asked` `what_passes_ends_well_on_the_same_node_or_on_another` |
//! | 31 | errors of every shape | `errors_of_every_shape_have_a_reason_of_one_line` `nothing_that_stands_between_is_taken_for_the_system` |
//! | 32 | answers are bounded, also when they are compressed | `an_oversize_answer_is_not_read_to_its_end` `the_bound_counts_what_is_decoded_and_stops_there` |
//! | 33 | password, API key, bearer token; read again | `an_administrator_has_exactly_one_kind_of_credential` `each_scheme_has_its_header` `a_rejected_secret_is_read_anew_and_the_call_repeated_once` `a_changed_file_is_taken_and_a_broken_one_changes_nothing` |
//! | 34 | CA file, the system's, a fingerprint, client certificates; nothing switches it off | `only_the_named_authority_is_trusted_whether_by_file_or_by_fingerprint` `a_fingerprint_replaces_no_other_check` `a_client_certificate_is_shown_where_one_is_asked_for` `authorities_come_from_the_system_a_file_or_a_fingerprint_and_nothing_switches_them_off` |
//! | 35 | `cloud_id` | `a_cloud_id_names_the_host` |
//! | 36 | what does not name itself Elasticsearch is warned about, once; what did and no longer does is not believed | `what_does_not_say_that_it_is_elasticsearch_is_warned_about_once` `once_the_product_was_named_an_answer_without_the_name_is_not_elasticsearchs` |
//! | 37 | hashes made here fit; one that is not wanted ends the mode | `what_elastauth_sends_is_accepted_by_the_real_classes_and_its_hash_fits` `a_cluster_that_wants_another_hash_gets_the_password_from_then_on_and_no_other_hash` |
//! | 38 | the account is examined at start; readiness shows it | `an_account_that_may_not_write_users_is_told_of_at_start_and_degrades_readiness` `check_online_examines_the_account_and_names_roles_that_do_not_exist` |
//! | 39 | headers that impersonate are removed (Envoy); there is no `run_as` mode | `allow_overwrites_authorization_and_removes_what_impersonates` |
//! | 40 | users of people who left can be disabled (the `users` commands); the user of an active person shows it | `users_are_disabled_deleted_released_and_rebound_and_their_records_go` `the_day_of_an_active_user_is_written_once_without_a_password` |
//! | 41 | OpenSearch: one writer at a time, none lost (OpenSearch) | `of_fifty_users_by_three_writers_at_once_none_is_lost` `fifty_callers_at_once_are_all_let_in_with_few_writes` |
//! | 42 | the caller's ids are passed on; writes are counted | `elasticsearch_learns_on_whose_behalf_it_is_asked` `each_end_of_a_write_counts_for_itself` |

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use elastauth_support::files;

/// Names of functions under `#[test]` or `#[tokio::test…]`; attributes may stand between.
fn tests_of(folder: &Path, found: &mut BTreeSet<String>) {
    for path in files::with_extension(folder, "rs") {
        let text = fs::read_to_string(&path).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            if let (true, Some(name)) = (marked, name.and_then(|rest| rest.split('(').next())) {
                found.insert(name.to_owned());
                marked = false;
            }
        }
    }
}

#[test]
fn every_requirement_has_tests_and_every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        tests_of(&root.join(folder), &mut tests);
    }
    let rows = include_str!("elasticsearch_requirements.rs").lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows: Vec<(usize, &str)> = rows
        .filter_map(|row| {
            let (number, rest) = row.split_once(" | ")?;
            Some((number.parse().ok()?, rest.rsplit_once(" | ")?.1))
        })
        .collect();
    assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=42).collect::<Vec<_>>());
    for (number, names) in rows {
        let names: Vec<_> = names.split('`').filter(|name| name.contains('_')).collect();
        assert!(!names.is_empty(), "requirement {number} has no test");
        for name in names {
            assert!(tests.contains(name), "requirement {number}: there is no test {name}");
        }
    }
}
