//! Names of headers that carry a caller's identity.

use ::http::HeaderName;

use crate::config::keys::Info;
use crate::config::values::Values;

/// Set by elastauth itself, or never to be removed from a request.
const NEVER: [&str; 4] = ["authorization", "host", "cookie", "connection"];

/// A name in which a client's identity may come, and that can be removed afterwards.
pub(super) fn header_name(v: &mut Values<'_>, key: &Info, text: &str) -> HeaderName {
    let name = match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if NEVER.contains(&name.as_str()) => Err(format!("{name} cannot name the caller")),
        Ok(name) => Ok(name),
        Err(_) if text.starts_with(':') => Err("pseudo headers are the client's request, not its name".into()),
        Err(_) => Err("must be the name of a header".into()),
    };
    name.unwrap_or_else(|why| {
        v.problem(key, why);
        // whatever it is, the configuration does not load
        HeaderName::from_static("x")
    })
}
