//! Prints what is cached for a user and what a request would write, line by line.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use elastauth::app::UserPreview;
use elastauth::credentials::agreement::Standing;
use elastauth::credentials::broker::{ObservedUser, PlannedWrite, Preview, StoredRecord};
use elastauth::credentials::record::Phase;
use elastauth::credentials::seal::{OpenError, SealedBy, Which};
use elastauth::credentials::{Existing, InspectError, Ours};
use elastauth::identity::{Millis, Owner};
use elastauth::printable::printable;
use elastauth::roles::Roles;

/// All lines, for a caller with this owner and an entitlement to these roles.
pub fn lines(previewed: &UserPreview, owner: &Owner, roles: &Roles) -> String {
    let UserPreview { preview, unseen, written } = previewed;
    let Preview { key, held, user, next } = preview;
    let mut out = String::new();
    let mut line = |what: &str, text: &str| writeln!(out, "{what:<10} {}", printable(text)).is_ok();
    match (unseen, held) {
        (Some(why), _) => line("cached", &format!("not read: {why}; the rest is as for a first request")),
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
                    Some((path, body)) => format!("PUT {path} {body} with {password}"),
                    None => format!("the user is written with {password}"),
                },
            )
        }
        // the caller prints the refusal
        Err(_) => true,
    };
    out
}

fn describe(held: &StoredRecord) -> String {
    let StoredRecord { sealed_by: SealedBy { which, id }, remaining, seen } = held;
    let state = match seen.as_ref().map(|seen| (&seen.phase, seen.age)) {
        Some((phase, age)) => format!("{} {}", phase_name(phase), since(age)),
        None if matches!(which, Which::Unknown | Which::NewerFormat) => "cannot be opened".to_owned(),
        None => "broken, and will be replaced".to_owned(),
    };
    let key = match which {
        Which::Current => "secret_key",
        Which::Previous => "one of previous_secret_keys",
        Which::Unknown => "none of the keys that are configured here",
        Which::NewerFormat => {
            return format!("{state}, kept for {} more: {}", seconds(*remaining), OpenError::NewerFormat);
        }
    };
    format!("{state}, kept for {} more, sealed with {key} (key id {id:08x})", seconds(*remaining))
}

fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Pending { failed: true, .. } => "pending, not written at the last attempt,",
        Phase::Pending { .. } => "pending",
        Phase::Ready => "ready",
        Phase::Confirmed => "confirmed",
    }
}

/// A record that a backup brought back has an age of more than a month, which means nothing.
fn since(age: Duration) -> String {
    if age > Duration::from_secs(31 * 24 * 3600) { "since unknown".into() } else { format!("for {}", seconds(age)) }
}

fn seconds(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

fn theirs(seen: &ObservedUser, owner: &Owner) -> String {
    if seen.owner == *owner {
        return "for the same subject".into();
    }
    format!("for another subject, {} of {}", seen.owner.subject, seen.owner.issuer)
}

fn agreed(seen: &ObservedUser, roles: &Roles) -> String {
    let as_of = moment(seen.as_of);
    let by = match seen.other_mapping {
        None => String::new(),
        Some(0) => "; derived by an earlier release, which did not note its configuration".into(),
        Some(since) => format!("; derived by another configuration, which is in force since {}", moment(since)),
    };
    if seen.roles == *roles {
        return format!("with the same roles, as of {as_of}{by}");
    }
    format!("with other roles, {}, as of {as_of}{by}", seen.roles)
}

fn moment(at: Millis) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at)).to_string()
}

fn standing(user: &Result<Existing, InspectError>) -> String {
    match user {
        Ok(Existing::Absent) => "does not exist".into(),
        Ok(Existing::Ours(Ours { standing: None, .. })) => {
            "exists, made by elastauth for the same subject, and enabled".into()
        }
        Ok(Existing::Ours(Ours { standing: Some(Standing { roles, as_of, .. }), .. })) => format!(
            "exists, made by elastauth for the same subject, and enabled, with the roles {roles}, as of {}",
            moment(*as_of)
        ),
        Err(InspectError::Refused(refused)) => format!("must not be changed: {refused}"),
        Err(InspectError::Unavailable(why)) => format!("could not be read: {why}"),
    }
}

#[cfg(test)]
mod tests;
