//! A key of the configuration: one item from which its parser, default, variable, documentation and known name follow.

use std::ops::Deref;

use super::form::Form;
use super::kind::Kind;

/// A key but for the type of its value, so that keys of all types fit into one list.
#[derive(Debug)]
pub(crate) struct Info {
    /// The names of its sections and its own, as in `cache.redis_host`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    /// The value that holds unless another is given, as an operator would write it; or, in words, where it comes from.
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
    /// Whether more would be let in, trusted or believed if the key were not there. An operator who writes such a key relies on it,
    /// so that one which is written and comes out empty is an error, and never the default.
    pub(crate) restricts: bool,
    /// Variables of a standard or of the image. They apply where neither the file nor a variable of the key's own name gives a value.
    pub(crate) fallbacks: &'static [&'static str],
}

impl Info {
    /// The variable without our prefix: `cache.redis_host` → `CACHE_REDIS_HOST`.
    pub(crate) fn variable(&self) -> String {
        variable(self.path)
    }
}

/// The variable of a path.
pub(crate) fn variable(path: &str) -> String {
    path.replace('.', "_").to_uppercase()
}

/// A key with values of type `T`. Only the sections beside this file make keys, so that a misspelt one does not compile.
#[derive(Debug)]
pub(crate) struct Key<T: 'static> {
    info: Info,
    /// The default, where it depends on the machine and `Info::default` can only describe it.
    pub(crate) computed: Option<fn() -> T>,
}

impl<T> Deref for Key<T> {
    type Target = Info;

    fn deref(&self) -> &Info {
        &self.info
    }
}

impl<T> Key<T> {
    /// For the list of all keys, which is made when the program is compiled.
    pub(super) const fn info(&self) -> &Info {
        &self.info
    }

    pub(super) const fn restricting(self) -> Self {
        Self { info: Info { restricts: true, ..self.info }, ..self }
    }

    pub(super) const fn computed(self, default: fn() -> T) -> Self {
        Self { computed: Some(default), ..self }
    }

    pub(super) const fn or_from(self, fallbacks: &'static [&'static str]) -> Self {
        Self { info: Info { fallbacks, ..self.info }, ..self }
    }
}

pub(super) const fn key<T: Form>(path: &'static str, default: &'static str, help: &'static str) -> Key<T> {
    Key { info: Info { path, kind: T::KIND, default, help, restricts: false, fallbacks: &[] }, computed: None }
}

/// A key without a default.
pub(super) const fn unset<T: Form>(path: &'static str, help: &'static str) -> Key<T> {
    key(path, "", help)
}

/// A section of the file that may also be a list of such sections, each read like the section itself.
#[derive(Clone, Copy)]
pub(crate) struct Repeatable {
    pub(crate) name: &'static str,
}

impl Repeatable {
    /// Whether the path is one of the section's keys.
    pub(crate) fn has(self, path: &str) -> bool {
        path.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// Makes the keys of a section, and `KEYS`, the list of them.
macro_rules! section {
    ($($name:ident: $value:ty = $key:expr;)*) => {
        $(pub(crate) static $name: $crate::config::keys::key::Key<$value> = $key;)*

        pub(super) static KEYS: &[&$crate::config::keys::key::Info] = &[$($name.info()),*];
    };
}

pub(super) use section;
