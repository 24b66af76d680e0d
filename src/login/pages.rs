//! The pages that people see: short, without scripts, and without anything from elsewhere.

use std::time::Duration;

use url::{Url, form_urlencoded};

use super::response::Response;
use super::return_path::ReturnPath;
use crate::clock::seconds_rounded_up;

mod page;

use page::{Action, Page};

const HELP: &str = "If you need help, tell your administrator the request id.";

/// The address at which a login begins that leads back to this path. `own_path` is `login.path`.
#[must_use]
pub fn login_at(own_path: &str, return_path: &ReturnPath) -> String {
    let to: String = form_urlencoded::byte_serialize(return_path.as_str().as_bytes()).collect();
    format!("{own_path}/login?return_to={to}")
}

/// After a logout, where neither the provider nor the operator has a page for it.
#[must_use]
pub fn logged_out(own_path: &str) -> Response {
    let login = format!("{own_path}/login");
    let texts = ["Your session has ended in all tabs."];
    Page::new("You are logged out", &texts, &[Action::Go { to: &login, label: "Log in again" }]).response(200)
}

/// Asks before a logout that another site may have caused.
#[must_use]
pub fn confirm_logout(own_path: &str) -> Response {
    let logout = format!("{own_path}/logout");
    let actions = [Action::Send { to: &logout, label: "Log out" }, Action::Go { to: "/", label: "Stay logged in" }];
    Page::new("Log out?", &["This ends your session in all tabs of this browser."], &actions).response(200)
}

/// After a logout by a form: sends the browser on by itself to the provider, which ends its session too. It is not a redirect:
/// Chromium also holds the redirects after a form against the `form-action` of the form's page (seen with Chromium; Content Security
/// Policy Level 3 §6.4.1 leaves it open), which would have to name every host on the provider's way.
#[must_use]
pub fn logging_out(to: &Url) -> Response {
    let actions = [Action::Go { to: to.as_str(), label: "Continue" }];
    let texts = ["Your session here has ended. Your identity provider ends its own now."];
    Page::new("Logging you out", &texts, &actions).onward(to.as_str()).response(200)
}

/// A login that did not work, with a constant or bounded text of why.
#[must_use]
pub fn login_failed(status: u16, reason: &str, why: &str, request_id: &str, again: &str) -> Response {
    let actions = [Action::Go { to: again, label: "Try again" }];
    Page::new("The login did not work", &[why, HELP], &actions).with(reason, request_id).response(status)
}

/// A person who is logged in and may not come in.
#[must_use]
pub fn not_let_in(user: &str, reason: &str, why: &str, request_id: &str, own_path: &str) -> Response {
    let logout = format!("{own_path}/logout");
    let who = format!("You are logged in as {user}.");
    let actions = [Action::Send { to: &logout, label: "Log out and use another account" }];
    Page::new("You have no access", &[&who, why, HELP], &actions).with(reason, request_id).response(403)
}

/// Something is down for the moment.
#[must_use]
pub fn unavailable(reason: &str, request_id: &str, again: &ReturnPath, own_path: &str, after: Duration) -> Response {
    let login = login_at(own_path, again);
    let actions =
        [Action::Go { to: again.as_str(), label: "Try again" }, Action::Go { to: &login, label: "Log in again" }];
    let texts = ["Something that is needed to let you in does not answer. Please try again in a moment.", HELP];
    Page::new("Not available at the moment", &texts, &actions)
        .with(reason, request_id)
        .response(503)
        .with("retry-after", seconds_rounded_up(after))
}

/// Instead of a login that would be one of a loop.
#[must_use]
pub fn too_many_logins(reason: &str, request_id: &str, again: &str) -> Response {
    let texts = [
        "This browser has just logged in three times, and was sent back to the login each time. Wait half a minute, then try again.",
        HELP,
    ];
    let actions = [Action::Go { to: again, label: "Try again" }];
    Page::new("Too many logins", &texts, &actions).with(reason, request_id).response(429).with("retry-after", "30")
}

#[cfg(test)]
mod tests;
