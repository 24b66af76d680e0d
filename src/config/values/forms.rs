//! Reads the value of a key as its type asks.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use tracing::Level;

use super::Values;
use crate::config::keys::{Choice, Form, Info, Key, Mapping};

/// A type that [`Values::get`] can read.
pub(crate) trait Read: Form {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self;
}

impl Values<'_> {
    /// The value of a key: what the environment or the file gives, else its default.
    pub(crate) fn get<T: Read>(&mut self, key: &'static Key<T>) -> T {
        T::read(self, key)
    }

    /// The text that is given, or the default; `check` shows it as it is.
    fn text(&mut self, key: &'static Info) -> String {
        let value = self.raw(key).unwrap_or_else(|| key.default.to_owned());
        self.show(key, value.clone());
        value
    }

    fn optional(&mut self, key: &'static Info) -> Option<String> {
        let value = self.raw(key);
        if let Some(value) = &value {
            self.show(key, value.clone());
        }
        value
    }

    /// A whole number, quoted or not, for which another default holds than the one of the key.
    pub(crate) fn number_or<N: FromStr + ToString>(&mut self, key: &'static Info, default: N) -> N {
        let value = match self.raw(key).map(|text| text.trim().parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.problem(key, "must be a whole number");
                default
            }
        };
        self.show(key, value.to_string());
        value
    }

    /// The value of a key without which nothing starts.
    pub(crate) fn required(&mut self, key: &'static Key<Option<String>>) -> String {
        self.get(key).unwrap_or_else(|| {
            let variable = match self.item_of(key.path) {
                Some(_) => String::new(),
                None => format!(" or as {}", key.variable()),
            };
            self.problem(key, format!("is required; set it in the file{variable}"));
            String::new()
        })
    }
}

/// The default, where it is a value and no description.
fn default_of<T: FromStr>(key: &Key<T>) -> Option<T> {
    key.computed.map(|compute| compute()).or_else(|| key.default.parse().ok())
}

impl Read for String {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.text(key)
    }
}

impl Read for Option<String> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.optional(key)
    }
}

impl Read for PathBuf {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.text(key).into()
    }
}

impl Read for Option<PathBuf> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.optional(key).map(Into::into)
    }
}

impl Read for Option<SecretString> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let value = values.raw(key)?;
        values.show(key, "[redacted]");
        Some(value.into())
    }
}

impl Read for Vec<SecretString> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.secrets(key)
    }
}

impl Read for Vec<String> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.list(key)
    }
}

impl Read for Mapping {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.mapping(key)
    }
}

impl Read for bool {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let default = default_of(key).unwrap_or_default();
        let value = match values.raw(key).map(|text| text.trim().to_lowercase()).as_deref() {
            None => default,
            Some("false" | "no" | "off" | "0") => false,
            Some("true" | "yes" | "on" | "1") => true,
            Some(_) => {
                values.problem(key, "must be true or false");
                default
            }
        };
        values.show(key, value.to_string());
        value
    }
}

impl Read for u32 {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.number_or(key, default_of(key).unwrap_or_default())
    }
}

impl Read for usize {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        values.number_or(key, default_of(key).unwrap_or_default())
    }
}

/// A whole number that must be at least 1.
impl Read for NonZeroUsize {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let number = values.number_or(key, default_of(key).unwrap_or(Self::MIN).get());
        Self::new(number).unwrap_or_else(|| {
            values.problem(key, "must be at least 1");
            Self::MIN
        })
    }
}

/// A time that is longer than nothing, such as `250ms`, `90s` or `1h30m`.
impl Read for Duration {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let text = values.text(key);
        match humantime::parse_duration(&text) {
            Ok(duration) if duration.is_zero() => {
                values.problem(key, "must be longer than nothing");
                Self::from_secs(1)
            }
            Ok(duration) => duration,
            Err(_) => {
                values.problem(key, "must be a duration such as 250ms, 90s or 1h30m");
                Self::from_secs(1)
            }
        }
    }
}

/// A duration, or `0` for none.
impl Read for Option<Duration> {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let text = values.text(key);
        if text.trim() == "0" {
            return None;
        }
        let Ok(duration) = humantime::parse_duration(&text) else {
            values.problem(key, "must be a duration such as 250ms, 90s or 1h30m, or 0");
            return None;
        };
        Some(duration).filter(|duration| !duration.is_zero())
    }
}

/// Also `warning`, as the Go service had it.
impl Read for Level {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        match values.text(key).to_lowercase().as_str() {
            "warning" => Self::WARN,
            other => other.parse().unwrap_or_else(|_| {
                values.problem(key, "must be error, warn, info, debug or trace");
                Self::INFO
            }),
        }
    }
}

impl<T: Choice> Read for T {
    fn read(values: &mut Values<'_>, key: &'static Key<Self>) -> Self {
        let text = values.text(key);
        if let Some(value) = T::named(&text) {
            return value;
        }
        let listed = match T::listed().as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            all => all.concat(),
        };
        values.problem(key, format!("must be {listed}"));
        T::NAMES[0].1
    }
}
