use super::envelope::{HEADER_LEN, VERSION};
use super::*;
use crate::credentials::Password;

fn seal(key: u8, cluster: &str) -> Seal {
    let key = Key::Given(SecretBox::new(Box::new([key; 32])));
    Seal::new(&Settings { key, previous: Vec::new(), cluster: cluster.into() }).unwrap()
}

fn key(name: &str) -> CacheKey {
    CacheKey::of(&Username::parse(name).unwrap())
}

#[test]
fn what_is_sealed_opens_again() {
    let sealed = seal(1, "c").seal(&key("ann"), b"plain").unwrap();
    assert_eq!(seal(1, "c").open(&key("ann"), &sealed).unwrap().as_slice(), b"plain");
    assert!(!sealed.windows(5).any(|w| w == b"plain"));
}

#[test]
fn every_seal_has_a_fresh_nonce() {
    let s = seal(1, "c");
    assert_ne!(s.seal(&key("ann"), b"x").unwrap(), s.seal(&key("ann"), b"x").unwrap());
}

#[test]
fn an_entry_cannot_be_moved_to_another_user_or_cluster() {
    let sealed = seal(1, "c").seal(&key("ann"), b"x").unwrap();
    assert_eq!(seal(1, "c").open(&key("bob"), &sealed), Err(OpenError::Broken));
    assert_eq!(seal(1, "d").open(&key("ann"), &sealed), Err(OpenError::Broken));
}

#[test]
fn a_changed_or_cut_entry_does_not_open() {
    let s = seal(1, "c");
    let sealed = s.seal(&key("ann"), b"x").unwrap();
    for at in (0..sealed.len()).filter(|at| !(1..=KEY_ID_LEN).contains(at)) {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(s.open(&key("ann"), &changed), Err(OpenError::Broken), "byte {at}");
    }
    for len in [0, 1, HEADER_LEN, sealed.len() - 1] {
        assert_eq!(s.open(&key("ann"), &sealed[..len]), Err(OpenError::Broken), "length {len}");
    }
}

#[test]
fn another_key_is_known_by_its_id() {
    let sealed = seal(1, "c").seal(&key("ann"), b"x").unwrap();
    assert_eq!(seal(2, "c").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
}

#[test]
fn a_previous_key_opens_and_does_not_seal() {
    let given = |key: u8| Key::Given(SecretBox::new(Box::new([key; 32])));
    let settings = Settings { key: given(1), previous: vec![given(2), given(3)], cluster: "c".into() };
    let s = Seal::new(&settings).unwrap();
    for (sealed_by, current) in [(1, true), (2, false), (3, false)] {
        let sealed = seal(sealed_by, "c").seal(&key("ann"), b"x").unwrap();
        assert_eq!(s.open(&key("ann"), &sealed).unwrap().as_slice(), b"x");
        assert_eq!(s.open(&key("bob"), &sealed), Err(OpenError::Broken), "nor does it move a record");
        assert_eq!(s.is_current(&sealed), current);
    }
    assert!(s.is_current(&s.seal(&key("ann"), b"x").unwrap()) && !s.is_current(b"x"));
    let unknown = seal(4, "c").seal(&key("ann"), b"x").unwrap();
    assert_eq!(s.open(&key("ann"), &unknown), Err(OpenError::UnknownKey));
}

fn derived(password: &str, cluster: &str) -> Seal {
    let key = Key::Derived { secret: password.to_owned().into(), guessable: false };
    Seal::new(&Settings { key, previous: Vec::new(), cluster: cluster.into() }).unwrap()
}

#[test]
fn a_derived_key_is_the_same_on_every_replica_of_a_cluster_and_another_for_another_cluster() {
    let sealed = derived("pw", "c").seal(&key("ann"), b"x").unwrap();
    assert!(derived("pw", "c").open(&key("ann"), &sealed).is_ok());
    assert_eq!(derived("pw", "d").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
    assert_eq!(derived("other", "c").open(&key("ann"), &sealed), Err(OpenError::UnknownKey));
}

/// An attacker with a copy of the store has the id, and tries passwords until one gives it.
#[test]
fn the_public_id_of_a_derived_key_costs_as_many_rounds_for_each_guess_as_owasp_asks_for() {
    let sealed = derived("pw", "c").seal(&key("ann"), b"x").unwrap();
    let mut slow = [0; 32];
    let salt = b"elastauth seal\0elasticsearch password\0c";
    pbkdf2::derive(PBKDF2_HMAC_SHA256, NonZeroU32::new(600_000).unwrap(), salt, b"pw", &mut slow);
    let key = derive::<32>(&slow, b"elasticsearch password").unwrap();
    let id = derive::<KEY_ID_LEN>(key.as_ref(), b"key id").unwrap();
    assert_eq!(sealed[1..=KEY_ID_LEN], *id);
    let quick = derive::<32>(b"pw", b"elasticsearch password").unwrap();
    assert_ne!(sealed[1..=KEY_ID_LEN], *derive::<KEY_ID_LEN>(quick.as_ref(), b"key id").unwrap());
}

/// What is in a format that this release must not read is no broken record: to replace it would make an end of a password that
/// the later release, which runs beside this one, serves.
#[test]
fn a_record_in_the_format_of_a_later_release_is_refused_and_not_called_broken() {
    let s = seal(1, "c");
    let sealed = s.seal(&key("ann"), b"x").unwrap();
    for (version, error) in [
        (0, OpenError::Broken),
        (VERSION + 1, OpenError::NewerFormat),
        (31, OpenError::NewerFormat),
        (b' ', OpenError::Broken),
        (b'4', OpenError::Broken),
        (255, OpenError::Broken),
    ] {
        let newer = [&[version], &sealed[1..]].concat();
        assert_eq!(s.open(&key("ann"), &newer), Err(error), "{version}");
        assert_eq!(s.open(&key("ann"), &newer[..1]), Err(error), "{version} alone");
        let which = if error == OpenError::NewerFormat { Which::NewerFormat } else { Which::Current };
        assert_eq!(s.sealed_by(&newer).which, which, "{version}");
    }
    assert_eq!(s.open(&key("ann"), b"4fa20e, as the Go service wrote"), Err(OpenError::Broken));
}

fn ann() -> Username {
    Username::parse("ann").unwrap()
}

fn copy() -> DurableCopy {
    DurableCopy { password: Password::generate().unwrap(), born: 1_732_500_000_000 }
}

fn sealed_copy(seal: &Seal, copy: &DurableCopy) -> SealedCopy {
    seal.seal_copy(&ann(), copy).unwrap().unwrap()
}

#[test]
fn a_durable_copy_opens_for_its_user_and_cluster_and_for_no_other() {
    let copy = copy();
    let sealed = sealed_copy(&seal(1, "c"), &copy);
    assert_eq!(seal(1, "c").open_copy(&ann(), &sealed).unwrap(), copy);
    let bob = Username::parse("bob").unwrap();
    assert_eq!(seal(1, "c").open_copy(&bob, &sealed), Err(OpenError::Broken));
    assert_eq!(seal(1, "d").open_copy(&ann(), &sealed), Err(OpenError::Broken));
    assert_eq!(seal(2, "c").open_copy(&ann(), &sealed), Err(OpenError::UnknownKey));
    assert!(sealed.as_bytes().len() < 200, "{sealed:?}");
    let secret = copy.password.expose().as_bytes();
    assert!(!sealed.as_bytes().windows(secret.len()).any(|w| w == secret));
    assert_ne!(sealed, sealed_copy(&seal(1, "c"), &copy), "each has a nonce of its own");
}

#[test]
fn a_changed_or_cut_copy_does_not_open() {
    let s = seal(1, "c");
    let sealed = sealed_copy(&s, &copy());
    for at in 0..sealed.as_bytes().len() {
        let mut changed = sealed.as_bytes().to_vec();
        changed[at] ^= 1;
        let error = if (1..=KEY_ID_LEN).contains(&at) { OpenError::UnknownKey } else { OpenError::Broken };
        assert_eq!(s.open_copy(&ann(), &SealedCopy::new(changed).unwrap()), Err(error), "byte {at}");
    }
    for len in [0, 1, HEADER_LEN, sealed.as_bytes().len() - 1] {
        let cut = SealedCopy::new(sealed.as_bytes()[..len].to_vec()).unwrap();
        assert_eq!(s.open_copy(&ann(), &cut), Err(OpenError::Broken), "length {len}");
    }
    let newer = SealedCopy::new([&[VERSION + 1], &sealed.as_bytes()[1..]].concat()).unwrap();
    assert_eq!(s.open_copy(&ann(), &newer), Err(OpenError::NewerFormat));
}

#[test]
fn neither_a_record_opens_as_a_copy_nor_a_copy_as_a_record() {
    let s = seal(1, "c");
    let sealed = sealed_copy(&s, &copy());
    assert_eq!(s.open(&key("ann"), sealed.as_bytes()), Err(OpenError::UnknownKey));
    let record = SealedCopy::new(s.seal(&key("ann"), &copy().encode().unwrap()).unwrap()).unwrap();
    assert_eq!(s.open_copy(&ann(), &record), Err(OpenError::UnknownKey));
    // and not because of the ids alone: with the other id in its header neither opens either
    let with_id_of =
        |bytes: &[u8], other: &[u8]| [&bytes[..1], &other[1..=KEY_ID_LEN], &bytes[1 + KEY_ID_LEN..]].concat();
    let posed = with_id_of(sealed.as_bytes(), record.as_bytes());
    assert_eq!(s.open(&key("ann"), &posed), Err(OpenError::Broken));
    let posed = SealedCopy::new(with_id_of(record.as_bytes(), sealed.as_bytes())).unwrap();
    assert_eq!(s.open_copy(&ann(), &posed), Err(OpenError::Broken));
}

#[test]
fn a_copy_of_a_previous_key_opens_and_is_told_from_one_of_the_current_key() {
    let given = |key: u8| Key::Given(SecretBox::new(Box::new([key; 32])));
    let settings = Settings { key: given(1), previous: vec![given(2)], cluster: "c".into() };
    let (s, copy) = (Seal::new(&settings).unwrap(), copy());
    for (by, current) in [(1, true), (2, false)] {
        let sealed = sealed_copy(&seal(by, "c"), &copy);
        assert_eq!(s.open_copy(&ann(), &sealed).unwrap(), copy);
        assert_eq!(s.current.copies.sealed(sealed.as_bytes()), current);
    }
    let sealed = sealed_copy(&s, &copy);
    assert!(s.current.copies.sealed(sealed.as_bytes()) && !s.is_current(sealed.as_bytes()));
}

/// Each user can read its own copy, and would have all the time there is to try passwords of the administrator's against it.
#[test]
fn a_key_that_follows_from_a_password_seals_no_copies_and_one_from_an_api_key_does() {
    let of = |guessable| {
        let key = Key::Derived { secret: "of the administrator".to_owned().into(), guessable };
        let previous = vec![Key::Given(SecretBox::new(Box::new([1; 32])))];
        Seal::new(&Settings { key, previous, cluster: "c".into() }).unwrap()
    };
    let copy = copy();
    assert_eq!(of(true).seal_copy(&ann(), &copy).unwrap(), None);
    let former = sealed_copy(&seal(1, "c"), &copy);
    assert_eq!(of(true).open_copy(&ann(), &former).unwrap(), copy, "what a secret_key sealed is of use all the same");
    assert!(!of(true).current.copies.sealed(former.as_bytes()));
    let (one, other) = (of(false), of(false));
    assert_eq!(other.open_copy(&ann(), &sealed_copy(&one, &copy)).unwrap(), copy, "the same after a restart");
}

#[test]
fn an_attempt_to_log_in_opens_at_its_host_and_is_no_record_and_no_copy() {
    let s = seal(1, "c");
    let sealed = s.seal_attempt("kibana.example.org", b"attempt").unwrap();
    assert_eq!(s.open_attempt("kibana.example.org", &sealed).unwrap().as_slice(), b"attempt");
    assert_eq!(s.open_attempt("kibana.example.com", &sealed).err(), Some(OpenError::Broken), "another host");
    assert_eq!(s.open_attempt("", &sealed).err(), Some(OpenError::Broken), "no host");
    assert_eq!(seal(1, "d").open_attempt("kibana.example.org", &sealed).err(), Some(OpenError::Broken));
    assert_eq!(seal(2, "c").open_attempt("kibana.example.org", &sealed).err(), Some(OpenError::UnknownKey));
    assert_eq!(s.open(&key("ann"), &sealed).err(), Some(OpenError::UnknownKey), "another purpose");
    let record = s.seal(&key("ann"), b"x").unwrap();
    assert_eq!(s.open_attempt("kibana.example.org", &record).err(), Some(OpenError::UnknownKey));
    let with_id_of =
        |bytes: &[u8], other: &[u8]| [&bytes[..1], &other[1..=KEY_ID_LEN], &bytes[1 + KEY_ID_LEN..]].concat();
    let posed = with_id_of(&record, &sealed);
    assert_eq!(s.open_attempt("kibana.example.org", &posed).err(), Some(OpenError::Broken), "and not by its id alone");
}

#[test]
fn an_attempt_that_began_before_the_keys_were_exchanged_can_be_finished() {
    let given = |key: u8| Key::Given(SecretBox::new(Box::new([key; 32])));
    let settings = Settings { key: given(2), previous: vec![given(1)], cluster: "c".into() };
    let sealed = seal(1, "c").seal_attempt("h", b"attempt").unwrap();
    assert_eq!(Seal::new(&settings).unwrap().open_attempt("h", &sealed).unwrap().as_slice(), b"attempt");
}

/// Anybody can begin to log in, and would have all the time there is to try passwords of the administrator's against the cookie.
#[test]
fn a_key_that_follows_from_a_password_seals_no_attempts() {
    let key = Key::Derived { secret: "of the administrator".to_owned().into(), guessable: true };
    let s = Seal::new(&Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap();
    assert!(s.seal_attempt("h", b"attempt").is_err());
}
