//! The stamp of the user in Elasticsearch takes part in the agreement.

use super::order::*;
use crate::credentials::agreement::*;
use crate::credentials::record::Phase;
use crate::credentials::{DurableCopy, Password, Refused};
use crate::identity::{AsOf, Millis};
use crate::roles::Roles;

fn stamp(role: &str, as_of: Millis) -> Event {
    let stamp = Standing { mapping: THIS, as_of, roles: Roles::new([role]) };
    Event::Inspected(Ok(Inspected::Ours { standing: Some(stamp), kept: None }))
}

/// The state of a run that inspects the user because the caller's record is gone.
fn inspecting(as_of: AsOf) -> State {
    let (state, _) = step(State::new(ME, entitlement("admins", as_of)), Event::Start);
    let (state, _) = step(state, Event::Absent(Fresh { password: Password::known("p".into()), born: 50 }));
    let (state, action) = step(state, Event::Created);
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    state
}

#[test]
fn newer_roles_of_the_stamp_are_agreed_and_then_written() {
    let (state, action) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let Action::Replace(agreed, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((agreed.roles.to_string().as_str(), agreed.as_of), ("developers", 20));
    let (_, action) = step(state, Event::Replaced(Swap::Yes));
    assert_eq!(action, Action::Write { record: agreed, with_password: true }, "without another inspection");
}

#[test]
fn a_stamp_that_is_as_old_or_older_is_overwritten() {
    for as_of in [10, 9] {
        let (_, action) = step(inspecting(AsOf::At(10)), stamp("developers", as_of));
        assert!(matches!(&action, Action::Write { record, .. } if record.as_of == 10), "{as_of}: {action:?}");
    }
}

#[test]
fn roles_without_a_time_are_dated_after_the_stamp() {
    let (_, action) = step(inspecting(AsOf::Now), stamp("developers", 70));
    let Action::Replace(agreed, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((agreed.roles.to_string().as_str(), agreed.as_of), ("admins", 71));
}

#[test]
fn a_write_that_was_outranked_while_it_waited_inspects_again() {
    let (state, _) = step(inspecting(AsOf::At(10)), Event::Inspected(Ok(Inspected::Absent)));
    let (state, action) = step(state, Event::Written(Err(WriteFailure::Outranked)));
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    let (_, action) = step(state, stamp("developers", 20));
    assert!(matches!(action, Action::Replace(record, _) if record.as_of == 20));
}

#[test]
fn an_outage_after_newer_roles_were_agreed_does_not_put_the_old_record_back() {
    let again = State::write_again(ME, record("admins", 10, Phase::Ready), Some(Roles::new(["admins"])));
    let (state, _) = step(again, Event::Start);
    let found = Event::Found { record: record("admins", 10, Phase::Ready), lease_expired: false, observation: at(50) };
    let (state, _) = step(state, found);
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (state, _) = step(state, stamp("developers", 20));
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (_, action) = step(state, Event::Written(Err(WriteFailure::NotApplied)));
    let Action::Replace(left, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((left.roles.to_string().as_str(), left.as_of), ("developers", 20));
}

/// What the inspection finds with a password beside the stamp.
fn kept(role: &str, as_of: Millis) -> Event {
    let Event::Inspected(Ok(Inspected::Ours { standing, .. })) = stamp(role, as_of) else { panic!() };
    let kept = DurableCopy { password: Password::known("kept".into()), born: 3 };
    Event::Inspected(Ok(Inspected::Ours { standing, kept: Some(kept) }))
}

#[test]
fn a_kept_password_that_elasticsearch_accepts_is_used_without_a_write() {
    for (role, as_of) in [("admins", 9), ("admins", 20), ("developers", 20)] {
        let (state, action) = step(inspecting(AsOf::At(10)), kept(role, as_of));
        assert!(matches!(&action, Action::LogIn { password, .. } if password.expose() == "kept"), "{action:?}");
        let (state, action) = step(state, Event::LoggedIn(Ok(true)));
        let Action::Replace(ready, Life::Ready) = action else { panic!("{action:?}") };
        assert_eq!((ready.password.expose(), ready.born), ("kept", 3));
        assert_eq!((ready.roles.to_string().as_str(), ready.as_of, ready.phase.is_ready()), (role, as_of, true));
        assert_eq!(step(state, Event::Replaced(Swap::Yes)).1, Action::Finish(Outcome::Ready(ready)));
    }
}

#[test]
fn with_older_roles_beside_it_the_kept_password_stays_and_the_roles_alone_are_written() {
    let (state, _) = step(inspecting(AsOf::At(10)), kept("developers", 5));
    let (state, action) = step(state, Event::LoggedIn(Ok(true)));
    let Action::Replace(agreed, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((agreed.password.expose(), agreed.roles.to_string().as_str()), ("kept", "admins"));
    let (_, action) = step(state, Event::Replaced(Swap::Yes));
    assert!(matches!(action, Action::Write { with_password: false, .. }), "{action:?}");
}

#[test]
fn a_kept_password_that_is_wrong_is_overwritten() {
    let (state, _) = step(inspecting(AsOf::At(10)), kept("admins", 10));
    let (_, action) = step(state.clone(), Event::LoggedIn(Ok(false)));
    assert!(
        matches!(&action, Action::Write { record, with_password: true } if record.password.expose() == "p"),
        "{action:?}"
    );
    assert_eq!(
        step(state, Event::LoggedIn(Err(Failure::Unavailable))).1,
        Action::Remove,
        "the next request tries again"
    );
}

#[test]
fn a_kept_password_is_not_used_where_another_may_be_on_its_way() {
    let pending = Phase::Pending { holder: ME, again: false, in_force: None, failed: false };
    let (state, action) = finds(entitlement("admins", AsOf::At(10)), record("admins", 10, pending), at(50));
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    assert!(matches!(step(state, kept("admins", 10)).1, Action::Write { with_password: true, .. }));
}

#[test]
fn a_refusal_after_newer_roles_were_agreed_removes_the_record_that_was_made() {
    let (state, _) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (_, action) = step(state, Event::Written(Err(WriteFailure::Refused(Refused::Rejected))));
    assert_eq!(action, Action::Remove);
}

#[test]
fn a_record_that_another_replica_changed_meanwhile_is_not_removed_by_a_refusal() {
    let (state, _) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let (state, action) = step(state, Event::Replaced(Swap::Changed));
    assert_eq!(action, Action::Get);
    let mine = Phase::Pending { holder: ME, again: false, in_force: None, failed: false };
    let found = Event::Found { record: record("developers", 20, mine), lease_expired: false, observation: at(60) };
    let (state, _) = step(state, found);
    let (state, action) = step(state, Event::Inspected(Err(Failure::Refused(Refused::Rejected))));
    let Action::Replace(left, Life::Lease) = action else { panic!("{action:?}") };
    assert!(matches!(left.phase, Phase::Pending { failed: true, .. }), "its lease is given up: {left:?}");
    assert_eq!(step(state, Event::Replaced(Swap::Yes)).1, Action::Finish(Outcome::Refused(Refused::Rejected)));
}
