//! Which of two statements about roles prevails.

use std::sync::Arc;

use crate::credentials::agreement::*;
use crate::credentials::record::{LeaseHolder, Phase, Record};
use crate::credentials::{Password, Refused};
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
    Phase::Pending { holder, again: false, in_force: None, failed: false }
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
        assert_eq!(
            new.phase,
            Phase::Pending { holder: ME, again: false, in_force: Some(Roles::new(["a"])), failed: false }
        );
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
        (State::write_again(ME, record("a", 1, Phase::Ready), Some(Roles::new(["a"]))), false),
        (State::write_again(ME, record("a", 1, Phase::Ready), None), true),
    ] {
        let (state, _) = step(state, Event::Start);
        let found = Event::Found { record: record("a", 1, Phase::Ready), lease_expired: false, observation: at(5) };
        let (state, action) = step(state, found);
        assert!(matches!(action, Action::Replace(..)), "the record is leased first: {action:?}");
        let (state, action) = step(state, Event::Replaced(Swap::Yes));
        assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
        let (state, action) = step(state, Event::Inspected(Ok(Inspected::Ours { standing: None, kept: None })));
        assert!(matches!(action, Action::Write { with_password: with, .. } if with == with_password), "{action:?}");
        let (_, action) = step(state, Event::Written(Ok(())));
        assert_eq!(action, Action::Replace(record("a", 1, Phase::Ready), Life::Ready));
    }
}

/// A run that has taken the lease of a ready record to write it again, and the action after it.
fn written_again(in_force: Option<Roles>) -> State {
    let (state, _) = step(State::write_again(ME, record("a", 1, Phase::Ready), in_force), Event::Start);
    let found = Event::Found { record: record("a", 1, Phase::Ready), lease_expired: false, observation: at(5) };
    let (state, _) = step(state, found);
    step(state, Event::Replaced(Swap::Yes)).0
}

/// The record that a run leaves behind when its attempt failed.
fn left_behind((state, action): (State, Action)) -> Record {
    let Action::Replace(left, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!(step(state, Event::Replaced(Swap::Yes)).1, Action::Finish(Outcome::Unavailable));
    left
}

const UNAVAILABLE: Event = Event::Inspected(Err(Failure::Unavailable));

#[test]
fn an_outage_in_the_middle_of_a_renewal_leaves_the_record_in_use() {
    let known = || written_again(Some(Roles::new(["a"])));
    let no_look = step(known(), UNAVAILABLE);
    let ours = Event::Inspected(Ok(Inspected::Ours { standing: None, kept: None }));
    let no_answer = step(step(known(), ours).0, Event::Written(Err(WriteFailure::Unknown)));
    for failed in [no_look, no_answer] {
        let left = left_behind(failed);
        assert_eq!(left.roles_in_force(), Some(Roles::new(["a"])));
        assert!(entitlement("a", AsOf::At(1)).allows(&left) && entitlement("b", AsOf::At(0)).allows(&left));
        assert!(!entitlement("b", AsOf::At(2)).allows(&left), "a newer token without the role");
    }
    let left = left_behind(step(written_again(None), UNAVAILABLE));
    assert_eq!(left.roles_in_force(), None, "after a repair that failed the password is in doubt");
    assert!(!entitlement("a", AsOf::At(1)).allows(&left));
}

/// A run that writes a change of roles from `a` to `b`.
fn changing() -> State {
    let (state, action) = finds(entitlement("b", AsOf::At(2)), record("a", 1, Phase::Ready), at(5));
    assert!(matches!(action, Action::Replace(..)), "{action:?}");
    let (state, action) = step(state, Event::Replaced(Swap::Yes));
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    state
}

#[test]
fn a_change_of_roles_that_was_not_applied_leaves_the_former_roles_in_force_and_an_unknown_one_both() {
    let ours = || Event::Inspected(Ok(Inspected::Ours { standing: None, kept: None }));
    for (outcome, in_force) in [(WriteFailure::NotApplied, vec!["a"]), (WriteFailure::Unknown, vec!["a", "b"])] {
        let left = left_behind(step(step(changing(), ours()).0, Event::Written(Err(outcome))));
        assert_eq!(left.roles, Roles::new(["b"]), "the wish is kept");
        assert_eq!(left.roles_in_force(), Some(Roles::new(&in_force)));
        // an older token has these roles by itself, or the newer ones; the newer one must not have what it lost
        assert!(entitlement("a", AsOf::At(1)).allows(&left), "{outcome:?}");
        assert!(!entitlement("b", AsOf::At(2)).allows(&left), "{outcome:?}");
        let gains = Entitlement { roles: Roles::new(["a", "b"]), ..entitlement("b", AsOf::At(3)) };
        assert!(gains.allows(&left), "{outcome:?}");
    }
}

#[test]
fn the_next_run_takes_over_what_an_attempt_left_behind_and_remembers_what_may_have_been_written() {
    let left = left_behind(step(changing(), UNAVAILABLE));
    // another replica, with a token that gives another role
    let (state, action) = finds(entitlement("c", AsOf::At(3)), left, at(5));
    let Action::Replace(taken, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((taken.roles.to_string().as_str(), taken.is_leased_by(ME)), ("c", true));
    assert_eq!(taken.roles_in_force(), Some(Roles::new(["a", "c"])), "b was never written, c is about to be");
    let (_, action) = step(state, Event::Replaced(Swap::Yes));
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
}

#[test]
fn a_record_of_which_nothing_was_written_is_removed() {
    let (state, _) = step(State::new(ME, entitlement("a", AsOf::At(1))), Event::Start);
    let fresh = Fresh { password: Password::known("p".into()), born: 7 };
    let (state, _) = step(step(state, Event::Absent(fresh)).0, Event::Created);
    let (removing, action) = step(state, UNAVAILABLE);
    assert_eq!(action, Action::Remove);
    assert_eq!(step(removing.clone(), Event::Removed(true)).1, Action::Finish(Outcome::Unavailable));
    assert_eq!(step(removing, Event::Removed(false)).1, Action::Get, "another replica has changed it");
}

#[test]
fn the_owner_of_the_user_is_not_kept_out_by_another_subject_that_nothing_writes_for() {
    let others = |failed| {
        let phase = Phase::Pending { holder: OTHER, again: false, in_force: None, failed };
        Record { owner: owner("x"), ..record("a", 1, phase) }
    };
    let (_, action) = finds(entitlement("a", AsOf::At(1)), others(false), at(5));
    assert_eq!(action, Action::Wait, "its lease holder may be writing");
    let (state, action) = finds(entitlement("a", AsOf::At(1)), others(true), at(5));
    assert_eq!(action, Action::Inspect { owner: owner("s"), or_callers: false });
    let ours = Event::Inspected(Ok(Inspected::Ours { standing: None, kept: None }));
    let (removing, action) = step(state.clone(), ours);
    assert_eq!(action, Action::Remove);
    assert_eq!(step(removing, Event::Removed(true)).1, Action::Get);
    assert_eq!(step(state.clone(), Event::Inspected(Ok(Inspected::Absent))).1, Action::Wait, "the first one keeps it");
    let refused = Event::Inspected(Err(Failure::Refused(Refused::OtherOwner)));
    assert_eq!(step(state, refused).1, Action::Finish(Outcome::Refused(Refused::OtherOwner)));
}

#[test]
fn a_new_password_that_was_not_written_gives_way_to_the_former_one() {
    let ready = record("a", 1, Phase::Ready);
    let fresh = Fresh { password: Password::known("new".into()), born: 9 };
    let (state, _) = step(State::rotate(ME, ready.clone(), fresh), Event::Start);
    let found = Event::Found { record: ready.clone(), lease_expired: false, observation: at(5) };
    let (state, action) = step(state, found);
    let Action::Replace(new, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((new.password.expose(), new.born, new.roles_in_force()), ("new", 9, None));
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (writing, action) = step(state.clone(), Event::Inspected(Ok(Inspected::Ours { standing: None, kept: None })));
    assert!(matches!(action, Action::Write { with_password: true, .. }), "{action:?}");
    assert_eq!(step(state, UNAVAILABLE).1, Action::Replace(ready, Life::Ready));
    let left = left_behind(step(writing, Event::Written(Err(WriteFailure::Unknown))));
    assert_eq!(left.password.expose(), "new", "the former one may be wrong by now");
}
