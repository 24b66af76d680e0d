//! The cookies of the login: their names, and how browsers are told to keep and to end them.
//!
//! All have the prefix `__Host-`: browsers keep such a cookie only if the host itself set it over TLS, so that no neighbouring host
//! can give a person another's session (RFC 6265bis §4.1.3.2).

use std::time::Duration;

use cookie::{Cookie, CookieBuilder, SameSite};

/// The cookie with the id of a session. It has no end of its own: the session has. The names of all other cookies begin with it.
pub const SESSION: &str = "__Host-elastauth";

/// What the names of attempts to log in begin with.
pub const ATTEMPT: &str = "__Host-elastauth-login-";

/// The cookie with the moments of the last logins.
pub const LOGINS: &str = "__Host-elastauth-logins";

fn cookie<'c>(name: &'c str, value: &'c str) -> CookieBuilder<'c> {
    // Lax: the cookie comes along when the provider sends the browser back, and when another site links here
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax)
}

/// `Set-Cookie` for a cookie that lasts until the browser is closed.
#[must_use]
pub fn set(name: &str, value: &str) -> String {
    cookie(name, value).to_string()
}

/// `Set-Cookie` for a cookie that lasts for this time, in whole seconds.
#[must_use]
pub fn set_for(name: &str, value: &str, life: Duration) -> String {
    let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    cookie(name, value).max_age(cookie::time::Duration::seconds(seconds)).to_string()
}

/// `Set-Cookie` that makes the browser forget a cookie.
#[must_use]
pub fn end(name: &str) -> String {
    set_for(name, "", Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_belong_to_one_host_over_tls_and_to_no_script() {
        let id = "A".repeat(43);
        assert_eq!(set(SESSION, &id), format!("__Host-elastauth={id}; HttpOnly; SameSite=Lax; Secure; Path=/"));
        assert!(SESSION.len() + 1 + id.len() <= 80, "what each request carries");
        assert_eq!(
            set_for(LOGINS, "1", Duration::from_secs(30)),
            "__Host-elastauth-logins=1; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=30"
        );
        assert_eq!(end(SESSION), "__Host-elastauth=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0");
    }

    #[test]
    fn no_name_is_mistaken_for_another() {
        assert!(ATTEMPT.starts_with(SESSION) && LOGINS.starts_with(SESSION), "one prefix takes all of them off");
        assert!(!LOGINS.starts_with(ATTEMPT));
    }
}
