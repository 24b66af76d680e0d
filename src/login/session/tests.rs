use super::*;

fn session() -> Session {
    Session {
        identity: Identity {
            username: Username::parse("ann").unwrap(),
            owner: Owner { issuer: "https://issuer".into(), subject: "s".into() },
            email: Some("ann@example.org".into()),
            full_name: Some("Ann".into()),
            groups: vec!["a,b".into(), "c".into()],
            claims: vec![("x".into(), vec!["y".into()])],
            as_of: AsOf::At(1000),
            expires: UNIX_EPOCH + Duration::from_millis(9001),
        },
        sid: Some("sid".into()),
        signed_in: 1000,
        born: 2000,
        id_token: "id".to_owned().into(),
        refresh_token: Some("refresh".to_owned().into()),
        received: 3000,
        lifetime: Duration::from_secs(60),
        generation: 7,
        claim: Some(Claim { id: ClaimId(u128::from(u64::MAX)), attempt: 2 }),
        life: Duration::from_millis(1234),
        unknown: serde_json::Map::new(),
    }
}

fn json(session: &Session) -> serde_json::Value {
    serde_json::from_slice(&session.encode().unwrap()).unwrap()
}

fn read(plain: &serde_json::Value) -> Session {
    Session::decode(plain.to_string().as_bytes()).unwrap()
}

#[test]
fn a_session_survives_the_store() {
    let bare = || {
        let mut session = session();
        (session.sid, session.refresh_token, session.claim) = (None, None, None);
        session.identity.email = None;
        session
    };
    for session in [session(), bare()] {
        let again = read(&json(&session));
        assert_eq!(again.identity, session.identity);
        assert_eq!(json(&again), json(&session));
        assert_eq!(again.refresh_token.is_some(), session.refresh_token.is_some());
    }
}

#[test]
fn a_session_of_another_release_is_read_as_far_as_it_is_known() {
    let mut plain = json(&session());
    plain["of_a_later_release"] = serde_json::json!({ "x": [1] });
    let later = read(&plain);
    assert_eq!(json(&later), plain, "what a later release adds is kept");
    let renewed = Renewed { signed_in: None, refresh_token: None, lifetime: Duration::from_secs(1) };
    let renewed = json(&later.renewed(&renewed, UNIX_EPOCH));
    assert_eq!(renewed["of_a_later_release"], plain["of_a_later_release"], "also by a refresh");
    for added in ["of_a_later_release", "email", "full_name", "groups", "claims", "sid", "generation", "claim"] {
        plain.as_object_mut().unwrap().remove(added);
    }
    let earlier = read(&plain);
    assert_eq!((earlier.generation, earlier.claim, earlier.identity.groups.len()), (0, None, 0));
}

#[test]
fn what_is_no_session_is_not_read() {
    let mut plain = json(&session());
    plain["username"] = "_password".into();
    for bytes in [plain.to_string().into_bytes(), b"{}".to_vec(), b"".to_vec(), b"null".to_vec(), b"\xff".to_vec()] {
        assert!(Session::decode(&bytes).is_err());
    }
}

#[test]
fn a_refresh_replaces_what_it_brings_and_keeps_the_rest() {
    let now = UNIX_EPOCH + Duration::from_secs(100);
    let session = session();
    let kept =
        session.renewed(&Renewed { signed_in: None, refresh_token: None, lifetime: Duration::from_secs(8) }, now);
    assert_eq!((kept.generation, kept.claim, kept.received), (8, None, 100_000));
    assert_eq!(
        (kept.tokens_end(), kept.renewal_due()),
        (now + Duration::from_secs(8), Some(now + Duration::from_secs(6)))
    );
    assert_eq!(kept.refresh_token.as_ref().unwrap().expose_secret(), "refresh");
    assert_eq!((kept.identity.clone(), kept.sid.as_deref()), (session.identity.clone(), Some("sid")));
    let identity = Identity { groups: vec!["new".into()], as_of: AsOf::Now, ..session.identity.clone() };
    let signed_in = Some(SignedIn { identity, sid: None, id_token: "id 2".to_owned().into() });
    let refresh_token = Some("refresh 2".to_owned().into());
    let new = session.renewed(&Renewed { signed_in, refresh_token, lifetime: Duration::from_secs(8) }, now);
    assert_eq!((new.identity.groups.clone(), new.identity.as_of), (vec!["new".to_owned()], AsOf::At(100_000)));
    assert_eq!((new.id_token.expose_secret(), new.refresh_token.unwrap().expose_secret()), ("id 2", "refresh 2"));
    assert_eq!((new.sid.as_deref(), new.signed_in, new.born), (Some("sid"), 1000, 2000), "it is still the same login");
}

#[test]
fn the_age_of_a_claim_is_the_part_of_its_life_that_has_passed_and_unknown_means_old() {
    let session = session();
    for (remaining, age) in [(1234, 0), (1000, 234), (0, 1234)] {
        assert_eq!(session.age(Duration::from_millis(remaining)), Duration::from_millis(age));
    }
    assert_eq!(session.age(Duration::from_millis(1235)), Duration::MAX, "restored");
}

#[test]
fn no_time_overflows() {
    let mut session = session();
    (session.born, session.received, session.lifetime) = (u64::MAX, u64::MAX, Duration::from_secs(1 << 32));
    let _times = (session.ends(Duration::from_secs(1 << 32)), session.tokens_end(), session.renewal_due());
}
