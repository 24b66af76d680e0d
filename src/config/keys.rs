//! All keys of the configuration, in sections. Unknown keys, names of variables and the documentation follow from this list.

pub(super) mod auth;
pub(super) mod authelia;
pub(super) mod cache;
mod choice;
pub(super) mod elasticsearch;
mod form;
pub(super) mod grpc;
pub(super) mod http;
mod key;
mod kind;
pub(super) mod login;
pub(super) mod observability;
pub(super) mod oidc;
pub(super) mod opensearch;
pub(super) mod policy;
mod processors;
pub(super) mod redis;
mod removed;
pub(super) mod roles;

pub(super) use choice::{CacheKind, Choice, HashPlace, Preflight, ProviderKind};
pub(super) use form::{Form, Mapping, Rules};
pub(super) use key::{Info, Key, Repeatable, variable};
pub(super) use kind::Kind;
pub(super) use processors::processors;
pub(super) use removed::{REMOVED, Removed};

/// A chapter of `docs/configuration.md` with the keys that it documents.
pub(super) struct Section {
    /// What the chapter explains, in Markdown, with its heading and an example.
    pub(super) text: &'static str,
    pub(super) keys: &'static [&'static Info],
}

/// In the order of the documentation.
pub(super) static SECTIONS: &[Section] = &[
    Section { text: include_str!("keys/auth.md"), keys: auth::KEYS },
    Section { text: include_str!("keys/oidc.md"), keys: oidc::KEYS },
    Section { text: include_str!("keys/login.md"), keys: login::KEYS },
    Section { text: include_str!("keys/authelia.md"), keys: authelia::KEYS },
    Section { text: include_str!("keys/roles.md"), keys: roles::KEYS },
    Section { text: include_str!("keys/policy.md"), keys: policy::KEYS },
    Section { text: include_str!("keys/cache.md"), keys: cache::KEYS },
    Section { text: include_str!("keys/redis.md"), keys: redis::KEYS },
    Section { text: include_str!("keys/elasticsearch.md"), keys: elasticsearch::KEYS },
    Section { text: include_str!("keys/opensearch.md"), keys: opensearch::KEYS },
    Section { text: include_str!("keys/grpc.md"), keys: grpc::KEYS },
    Section { text: include_str!("keys/http.md"), keys: http::KEYS },
    Section { text: include_str!("keys/observability.md"), keys: observability::KEYS },
];

/// Every key there is.
pub(super) fn all() -> impl Iterator<Item = &'static Info> {
    SECTIONS.iter().flat_map(|section| section.keys).copied()
}

/// The key of a path that another part names, as in an error.
pub(super) fn named(path: &str) -> Option<&'static Info> {
    all().find(|key| key.path == path)
}

/// The known name that is most like this one, if one is like it at all.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    known.min_by_key(distance).filter(|best| distance(best) <= 1 + name.len() / 4)
}
