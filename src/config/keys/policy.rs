//! `policy`: which requests get through.

use super::choice::{Choice, Preflight};
use super::form::Rules;
use super::key::{key, section, unset};

section! {
    ALLOW: Rules = unset("policy.allow", "rules; the first that matches lets the caller through").restricting();
    PREFLIGHT: Preflight = key(
        "policy.preflight",
        "deny",
        "`allow` lets CORS preflight requests through, without a credential",
    );
}

/// What a rule of `policy.allow` may consist of.
#[derive(Clone, Copy)]
pub(crate) enum Condition {
    Name,
    Groups,
    Claims,
    Hosts,
    Paths,
    Methods,
}

impl Choice for Condition {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("name", Self::Name),
        ("groups", Self::Groups),
        ("claims", Self::Claims),
        ("hosts", Self::Hosts),
        ("paths", Self::Paths),
        ("methods", Self::Methods),
    ];
}
