//! The variables of the process.

use std::collections::BTreeMap;

/// Stands for bytes that are not UTF-8.
pub(super) const NOT_UTF8: char = char::REPLACEMENT_CHARACTER;

/// The process's environment; names that are not UTF-8 are left out. In values such bytes are `NOT_UTF8`, so that a variable which
/// is asked for is an error, and not unset.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}
