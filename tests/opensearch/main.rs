//! The provisioner, and elastauth as a whole, against a real OpenSearch with its security plugin: requirement 41, and 5, 21,
//! 28, 31 for this back end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod costs;
mod directory;
mod ownership;
mod server;
mod together;
mod whole;
mod writes;

use elastauth::credentials::{Day, Login, UserSpec};
use elastauth::identity::{Owner, Username};
use elastauth::roles::{Roles, Version};

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn owner(subject: &str) -> Owner {
    Owner { issuer: "https://issuer".into(), subject: subject.into() }
}

/// A user with its name for the subject.
fn spec(user: &str, roles: &[&str]) -> UserSpec {
    UserSpec {
        username: name(user),
        owner: owner(user),
        roles: Roles::new(roles),
        as_of: 7,
        mapping: Version::default(),
        cluster_uuid: None,
        full_name: Some("Full Name".into()),
        email: None,
        seen: Day::of(0),
        copy: None,
        context: server::context(),
    }
}

/// Whether the login was accepted with these roles, and perhaps others.
fn accepted(login: &Login, wanted: &[&str]) -> bool {
    matches!(login, Login::Accepted { roles, .. } if wanted.iter().all(|role| roles.contains(role)))
}

/// A login that is accepted with these roles and no others.
fn accepted_with(wanted: &[&str]) -> Login {
    Login::Accepted { roles: Roles::new(wanted), seen: None, as_of: None, mapping: None }
}
