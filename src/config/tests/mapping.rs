//! What the configuration says about the digest of the mapping, and about the name of the cache.

use super::*;

const MAPPED: &str = "group_mappings: {admins: [a, b], devs: [c]}\ndefault_roles: [viewer]\n";

fn digest(text: &str) -> crate::digest::Digest {
    load_text(text, &env(&[])).unwrap().settings.credentials.mapping
}

#[test]
fn whatever_decides_about_roles_is_in_the_digest_of_the_mapping_and_nothing_else() {
    let base = format!("{BASE}{MAPPED}");
    let before = digest(&base);
    let oidc = |more: &str| base.replace("client_id: elastauth", &format!("client_id: elastauth, {more}"));
    for (text, differs) in [
        (base.replace("[a, b]", "[a]"), true),
        (base.replace("devs: [c]", "others: [c]"), true),
        (base.replace("[viewer]", "[]"), true),
        (base.clone() + "allow_no_roles: true\n", true),
        (oidc("groups_prefix: /"), true),
        (oidc("claim_mappings: {groups: roles}"), true),
        (oidc("token_validation: both"), true),
        (base.replace("[a, b]", "[b, a, b]"), false),
        (base.replace("admins", "ADMINS"), false),
        (oidc("username_prefix: x-"), false),
        (base.clone() + "denied_roles: [superuser]\n", false),
        (base.clone() + "log_level: debug\n", false),
    ] {
        assert_eq!(digest(&text) != before, differs, "{text}");
    }
}

#[test]
fn users_are_shown_a_mark_of_the_cache_that_tells_its_address_to_nobody() {
    let store = |secret: &str, host: &str| {
        let text =
            format!("{BASE}cache: {{type: redis, redis_host: \"{host}\"}}\nsecret_key: \"{}\"\n", secret.repeat(64));
        load_text(&text, &env(&[])).unwrap().settings.elasticsearch.store
    };
    let ours = store("a", "10.0.0.1:6379");
    assert!(ours.name.contains("10.0.0.1:6379") && !ours.mark.contains("10.0.0.1"), "{ours:?}");
    assert_eq!(store("a", "10.0.0.1:6379"), ours, "the same on every replica");
    for other in [store("a", "10.0.0.2:6379"), store("b", "10.0.0.1:6379"), ours.name.as_str().into()] {
        assert_ne!(other.mark, ours.mark, "nor can it be found by trying all addresses: {other:?}");
    }
}
