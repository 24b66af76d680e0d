//! One request to a host where people log in, as the login sees it.

use bytes::Bytes;

use super::cross_site;
use super::settings::Site;
use super::visit::{self, Visit};

/// A request to one of `login.hosts`.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The host, as the configuration has it.
    pub site: &'a Site,
    /// The method as it was sent.
    pub method: &'a [u8],
    /// The path without the query.
    pub path: &'a [u8],
    /// What else the browser says.
    pub visit: &'a Visit,
    /// Every `cookie` header.
    pub cookies: &'a [Bytes],
    /// `x-request-id`, for pages; empty where there is none.
    pub request_id: &'a str,
}

impl Visitor<'_> {
    /// Whether a person opens a page, and can be sent to another one: see [`visit::navigates`].
    #[must_use]
    pub fn navigates(&self) -> bool {
        visit::navigates(self.method, self.visit)
    }

    /// Whether a cookie may authorise the request: see [`cross_site::allowed`].
    #[must_use]
    pub fn is_of_this_site(&self) -> bool {
        cross_site::allowed(self.method, self.site, self.visit)
    }

    /// Whether the browser says that a page of this very origin leads here, which a page of another cannot make it say.
    pub(super) fn is_same_origin(&self) -> bool {
        self.visit.sec_fetch_site.value() == Some(b"same-origin")
    }

    /// Whether the browser says that a form is sent, and that it shows what comes back.
    pub(super) fn sends_form(&self) -> bool {
        self.is_post() && self.visit.sec_fetch_mode.value() == Some(b"navigate")
    }

    pub(super) fn is_get(&self) -> bool {
        matches!(self.method, b"GET" | b"HEAD")
    }

    pub(super) fn is_post(&self) -> bool {
        self.method == b"POST"
    }
}
