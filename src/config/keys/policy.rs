//! `policy`: which requests get through.

use super::choice::Preflight;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Name,
    Groups,
    Claims,
    Hosts,
    Paths,
    Methods,
}

impl Condition {
    pub(crate) const ALL: [Self; 6] = [Self::Name, Self::Groups, Self::Claims, Self::Hosts, Self::Paths, Self::Methods];

    /// As in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Groups => "groups",
            Self::Claims => "claims",
            Self::Hosts => "hosts",
            Self::Paths => "paths",
            Self::Methods => "methods",
        }
    }
}
