//! Which of two statements about roles prevails.

use std::sync::Arc;

use crate::credentials::agreement::*;
use crate::credentials::record::{LeaseHolder, Phase, Record};
use crate::credentials::{Existing, Ours, Password};
use crate::digest::Digest;
use crate::identity::{AsOf, Millis, Owner};
use crate::roles::{Roles, Version};

pub(super) const ME: LeaseHolder = LeaseHolder(1);
const OTHER: LeaseHolder = LeaseHolder(2);
pub(super) const THIS: Version = Version { since: 10, digest: Digest(1) };

fn owner(subject: &str) -> Owner {
    Owner { issuer: Arc::from("i"), subject: Arc::from(subject) }
}

pub(super) fn entitlement(role: &str, as_of: AsOf) -> Entitlement {
    Entitlement { owner: owner("s"), roles: Roles::new([role]), as_of, mapping: THIS }
}

pub(super) fn record(role: &str, as_of: Millis, phase: Phase) -> Record {
    Record {
        phase,
        password: Password::known("p".into()),
        roles: Roles::new([role]),
        as_of,
        mapping: THIS,
        owner: owner("s"),
        born: 0,
    }
}

fn pending(holder: LeaseHolder) -> Phase {
    Phase::Pending { holder, again: false, password_known: false }
}

/// The action of a run that finds this record.
pub(super) fn finds(entitlement: Entitlement, record: Record, observation: Observation) -> (State, Action) {
    let (state, action) = step(State::new(ME, entitlement), Event::Start);
    assert_eq!(action, Action::Get);
    step(state, Event::Found { record, lease_expired: false, observation })
}

pub(super) fn at(now: Millis) -> Observation {
    Observation { now, changed_since: false, mapping: THIS }
}

fn just_now(now: Millis) -> Observation {
    Observation { now, changed_since: true, mapping: THIS }
}

#[test]
fn of_two_tokens_the_later_one_prevails_and_of_one_second_always_the_same() {
    for (role, as_of, found, satisfied) in [
        ("a", 5, ("a", 4), true),
        ("a", 5, ("b", 4), false),
        ("a", 5, ("b", 6), true),
        // the same second: either of them, but always the same one
        ("a", 5, ("b", 5), true),
        ("b", 5, ("a", 5), false),
    ] {
        let found = record(found.0, found.1, Phase::Ready);
        assert_eq!(entitlement(role, AsOf::At(as_of)).is_satisfied_by(&found), satisfied, "{role} {as_of}");
    }
}

#[test]
fn roles_without_a_time_are_true_now_and_newer_than_what_is_there() {
    // the clock that dated the record may be ahead of this one
    for (now, there, expected) in [(1000, 500, 1000), (500, 1000, 1001)] {
        let (_, action) = finds(entitlement("b", AsOf::Now), record("a", there, Phase::Ready), at(now));
        let Action::Replace(new, Life::Lease) = action else { panic!("{action:?}") };
        assert_eq!((new.roles, new.as_of), (Roles::new(["b"]), expected));
        assert_eq!(new.phase, Phase::Pending { holder: ME, again: false, password_known: true });
    }
}

#[test]
fn roles_without_a_time_leave_alone_what_has_just_changed() {
    let (_, action) = finds(entitlement("b", AsOf::Now), record("a", 500, Phase::Ready), just_now(1000));
    assert_eq!(action, Action::Finish(Outcome::Ready(record("a", 500, Phase::Ready))));
    let (_, action) = finds(entitlement("b", AsOf::Now), record("a", 500, pending(OTHER)), just_now(1000));
    assert_eq!(action, Action::Wait, "the write of the other roles is awaited, and no other write is requested");
}

#[test]
fn a_token_never_waits_for_the_second_to_pass() {
    let (_, action) = finds(entitlement("b", AsOf::At(501)), record("a", 500, Phase::Ready), just_now(1000));
    assert!(matches!(action, Action::Replace(..)), "{action:?}");
}

#[test]
fn two_callers_without_a_time_cannot_overwrite_each_other_for_ever() {
    let start = record("a", 500, pending(OTHER));
    let (first, action) = finds(entitlement("b", AsOf::Now), start.clone(), at(1000));
    let Action::Replace(by_first, Life::Remaining) = action else { panic!("{action:?}") };
    let (second, action) = finds(entitlement("c", AsOf::Now), start, at(1001));
    assert!(matches!(action, Action::Replace(..)), "{action:?}");
    // the second one loses the compare-and-set, reads the first one's roles, and is the newer one
    let (second, action) = step(second, Event::Replaced(Swap::Changed));
    assert_eq!(action, Action::Get);
    let (second, action) = step(second, Event::Found { record: by_first, lease_expired: false, observation: at(1002) });
    let Action::Replace(by_second, Life::Remaining) = action else { panic!("{action:?}") };
    let (_, action) = step(second, Event::Replaced(Swap::Yes));
    assert_eq!(action, Action::Wait);
    // and the first one takes nothing back, however late it reads again
    let (first, action) = step(first, Event::Replaced(Swap::Yes));
    assert_eq!(action, Action::Wait);
    let (first, _) = step(first, Event::Waited);
    let (_, action) = step(first, Event::Found { record: by_second, lease_expired: false, observation: at(9000) });
    assert_eq!(action, Action::Wait);
}

#[test]
fn roles_without_a_time_begin_with_the_record() {
    let (state, _) = step(State::new(ME, entitlement("a", AsOf::Now)), Event::Start);
    let fresh = Fresh { password: Password::known("p".into()), born: 77 };
    let (_, action) = step(state, Event::Absent(fresh));
    assert!(matches!(&action, Action::Create(record) if record.as_of == 77), "{action:?}");
}

#[test]
fn a_renewal_writes_no_password_and_a_repair_does() {
    for (state, with_password) in [
        (State::renew(ME, record("a", 1, Phase::Ready)), false),
        (State::repair(ME, record("a", 1, Phase::Ready)), true),
    ] {
        let (state, _) = step(state, Event::Start);
        let found = Event::Found { record: record("a", 1, Phase::Ready), lease_expired: false, observation: at(5) };
        let (state, action) = step(state, found);
        assert!(matches!(action, Action::Replace(..)), "the record is leased first: {action:?}");
        let (state, action) = step(state, Event::Replaced(Swap::Yes));
        assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
        let (state, action) = step(state, Event::Inspected(Ok(Existing::Ours(Ours::default()))));
        assert!(matches!(action, Action::Write { with_password: with, .. } if with == with_password), "{action:?}");
        let (_, action) = step(state, Event::Written(Ok(())));
        assert_eq!(action, Action::Replace(record("a", 1, Phase::Ready), Life::Ready));
    }
}

#[test]
fn an_outage_in_the_middle_of_a_renewal_leaves_the_record_in_use() {
    let ready = || record("a", 1, Phase::Ready);
    let leased = |state: State| {
        let (state, _) = step(state, Event::Start);
        let (state, _) = step(state, Event::Found { record: ready(), lease_expired: false, observation: at(5) });
        step(state, Event::Replaced(Swap::Yes)).0
    };
    let no_look = step(leased(State::renew(ME, ready())), Event::Inspected(Err(Failure::Unavailable)));
    let (writing, _) = step(leased(State::renew(ME, ready())), Event::Inspected(Ok(Existing::Ours(Ours::default()))));
    let no_answer = step(writing, Event::Written(Err(WriteFailure::Unfinished)));
    for (state, action) in [no_look, no_answer] {
        assert_eq!(action, Action::Replace(ready(), Life::Ready));
        assert_eq!(step(state, Event::Replaced(Swap::Yes)).1, Action::Finish(Outcome::Ready(ready())));
    }
    let (_, action) = step(leased(State::repair(ME, ready())), Event::Inspected(Err(Failure::Unavailable)));
    assert_eq!(action, Action::Finish(Outcome::Unavailable), "a repair stays pending: the password is in doubt");
}
