//! The steps of a login and of its end that elastauth answers itself.

use std::fmt;

/// A step that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A browser was sent to the provider.
    Started,
    /// A person logged in, and was sent to where it wanted to go.
    LoggedIn,
    /// A person came back from the provider in a browser that is logged in, and did not begin this login.
    LoggedInAlready,
    /// A page asks whether the person wants to log out.
    LogoutAsked,
    /// A session was ended, and the browser was sent to the provider or to where `login.after_logout` says.
    LoggedOut,
    /// A session was ended by a form, and a page sends the browser on.
    LoggedOutByForm,
    /// A session was ended by a script, which is told where to go.
    LoggedOutByScript,
    /// The page after a logout.
    Farewell,
    /// A client was told who it is.
    SessionShown,
    /// The provider said that sessions have ended (`OpenID` Connect Back-Channel Logout 1.0).
    BackChannelLogout,
}

impl Step {
    /// Every step, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Started,
        Self::LoggedIn,
        Self::LoggedInAlready,
        Self::LogoutAsked,
        Self::LoggedOut,
        Self::LoggedOutByForm,
        Self::LoggedOutByScript,
        Self::Farewell,
        Self::SessionShown,
        Self::BackChannelLogout,
    ];

    /// The name in metrics and traces; it never changes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "login_started",
            Self::LoggedIn => "logged_in",
            Self::LoggedInAlready => "logged_in_already",
            Self::LogoutAsked => "logout_asked",
            Self::LoggedOut => "logged_out",
            Self::LoggedOutByForm => "logged_out_by_form",
            Self::LoggedOutByScript => "logged_out_by_script",
            Self::Farewell => "logged_out_page",
            Self::SessionShown => "session_shown",
            Self::BackChannelLogout => "back_channel_logout",
        }
    }

    /// The HTTP status of its answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Started => 302,
            Self::LoggedIn | Self::LoggedInAlready | Self::LoggedOut => 303,
            Self::LogoutAsked
            | Self::LoggedOutByForm
            | Self::LoggedOutByScript
            | Self::Farewell
            | Self::SessionShown
            | Self::BackChannelLogout => 200,
        }
    }
}

/// As log lines have it.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "Browser sent to the identity provider",
            Self::LoggedIn => "Login finished",
            Self::LoggedInAlready => "Login of another tab finished before",
            Self::LogoutAsked => "Logout asked for by another page: the person is asked",
            Self::LoggedOut | Self::LoggedOutByForm | Self::LoggedOutByScript => "Session ended by a logout",
            Self::Farewell => "Page after a logout",
            Self::SessionShown => "Session shown",
            Self::BackChannelLogout => "Logout by the identity provider",
        })
    }
}
