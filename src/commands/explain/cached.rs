//! What is cached and what would be written, line by line.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use elastauth::app::UserPreview;
use elastauth::credentials::agreement::Standing;
use elastauth::credentials::broker::{ObservedUser, PlannedWrite, Preview, StoredRecord};
use elastauth::credentials::record::Phase;
use elastauth::credentials::seal::{SealedBy, Which};
use elastauth::credentials::{Existing, InspectError};
use elastauth::identity::{Millis, Owner};
use elastauth::printable::printable;
use elastauth::roles::Roles;

/// All of it, for a caller who is this owner and is entitled to these roles.
pub fn lines(previewed: &UserPreview, owner: &Owner, roles: &Roles) -> String {
    let UserPreview { preview, unseen, written } = previewed;
    let Preview { key, held, user, next } = preview;
    let mut out = String::new();
    let mut line = |what: &str, text: &str| writeln!(out, "{what:<10} {}", printable(text)).is_ok();
    match (unseen, held) {
        (Some(why), _) => line("cached", &format!("not looked at: {why}; the rest is as for a first request")),
        (None, None) => line("cached", &format!("nothing under {}", key.as_str())),
        (None, Some(held)) => line("cached", &format!("{}: {}", key.as_str(), describe(held))),
    };
    if let Some(seen) = held.as_ref().and_then(|held| held.seen.as_ref()) {
        line("", &theirs(seen, owner));
        line("", &agreed(seen, roles));
    }
    line("user", &standing(user));
    match next {
        Ok(PlannedWrite::Served) => line("next", "the request gets the cached credential, and nothing is written"),
        Ok(PlannedWrite::Waits) => line("next", "another replica is writing the user: the request waits for it"),
        Ok(PlannedWrite::Written { with_password, .. }) => {
            let password = if *with_password { "a password" } else { "no password: the user keeps the one there is" };
            line(
                "next",
                &match written {
                    Some((path, body)) => format!("PUT {path} {body} and {password}"),
                    None => format!("the user is written with {password}"),
                },
            )
        }
        // said as the refusal that it is
        Err(_) => true,
    };
    out
}

fn describe(held: &StoredRecord) -> String {
    let StoredRecord { sealed_by: SealedBy { which, id }, remaining, seen } = held;
    let state = match seen.as_ref().map(|seen| (seen.phase, seen.age)) {
        Some((phase, age)) => format!("{} {}", phase_name(phase), since(age)),
        None if *which == Which::Unknown => "cannot be opened".to_owned(),
        None => "broken, and will be replaced".to_owned(),
    };
    let key = match which {
        Which::Current => "secret_key",
        Which::Previous => "one of previous_secret_keys",
        Which::Unknown => "none of the keys that are configured here",
    };
    format!("{state}, kept for {} more, sealed with {key} (key id {id:08x})", seconds(*remaining))
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending { .. } => "pending",
        Phase::Ready => "ready",
        Phase::Confirmed => "confirmed",
    }
}

/// More than a month is the age of what a backup brought back.
fn since(age: Duration) -> String {
    if age > Duration::from_secs(31 * 24 * 3600) { "since unknown".into() } else { format!("for {}", seconds(age)) }
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

fn theirs(seen: &ObservedUser, owner: &Owner) -> String {
    if seen.owner == *owner {
        return "of the same subject".into();
    }
    format!("of another subject, {} of {}", seen.owner.subject, seen.owner.issuer)
}

fn agreed(seen: &ObservedUser, roles: &Roles) -> String {
    let as_of = moment(seen.as_of);
    let by = match seen.other_mapping {
        None => String::new(),
        Some(0) => "; an earlier release derived them, which did not note its configuration".into(),
        Some(since) => format!("; a configuration that counts since {} derived them, not this one", moment(since)),
    };
    if seen.roles == *roles {
        return format!("with the same roles, true at {as_of}{by}");
    }
    format!("with other roles, {}, true at {as_of}{by}", seen.roles)
}

fn moment(at: Millis) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at)).to_string()
}

fn standing(user: &Result<Existing, InspectError>) -> String {
    match user {
        Ok(Existing::Absent) => "is not there".into(),
        Ok(Existing::Ours(None)) => "is there, elastauth's, of the same subject, and enabled".into(),
        Ok(Existing::Ours(Some(Standing { roles, as_of, .. }))) => format!(
            "is there, elastauth's, of the same subject, and enabled, with the roles {roles}, true at {}",
            moment(*as_of)
        ),
        Err(InspectError::Refused(refused)) => format!("is to be left alone: {refused}"),
        Err(InspectError::Unavailable(why)) => format!("could not be looked at: {why}"),
    }
}

#[cfg(test)]
mod tests;
