//! What elastauth answers itself, instead of letting a request through or only refusing it.

/// An answer to a browser or another client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values without control characters. A name may repeat, as `set-cookie` does.
    pub headers: Vec<(&'static str, String)>,
    /// The body; its type is among the headers.
    pub body: String,
}
