//! The types that values of keys have, and how each is written.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use tracing::Level;

use super::choice::Choice;
use super::kind::Kind;

/// A type that a key may have.
pub(crate) trait Form: Sized + 'static {
    const KIND: Kind = Kind::Text;
}

/// Optional: an empty value is none.
impl Form for Option<String> {}
/// A value that holds its default unless given.
impl Form for String {}
impl Form for PathBuf {}
impl Form for Option<PathBuf> {}
impl Form for bool {}
impl Form for u32 {}
impl Form for i64 {}
impl Form for usize {}
impl Form for NonZeroUsize {}
impl Form for Duration {}
/// A duration that `0` turns off.
impl Form for Option<Duration> {}
impl Form for Level {}

impl Form for Vec<String> {
    const KIND: Kind = Kind::List;
}

impl Form for Option<SecretString> {
    const KIND: Kind = Kind::Secret;
}

impl Form for Vec<SecretString> {
    const KIND: Kind = Kind::Secrets;
}

/// Names with a list of values each, in the file's order.
pub(crate) type Mapping = Vec<(String, Vec<String>)>;

impl Form for Mapping {
    const KIND: Kind = Kind::Mapping;
}

/// The rules of `policy.allow`. They have a structure of their own, which `config::build::policy` reads.
pub(crate) struct Rules;

impl Form for Rules {
    const KIND: Kind = Kind::Mapping;
}

impl<T: Choice> Form for T {}
