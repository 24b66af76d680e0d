//! Health and readiness over HTTP.

/// `listen`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Default `127.0.0.1:5000`.
    pub listen: std::net::SocketAddr,
}
