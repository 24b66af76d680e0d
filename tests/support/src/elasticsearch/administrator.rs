//! The account in Elasticsearch that elastauth uses.

/// The secrets of the account, any of which authenticates, and its privileges.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// The password for Basic authentication.
    pub password: String,
    /// The API key, as `id:key`.
    pub api_key: String,
    /// The token for Bearer authentication.
    pub token: String,
    /// The names of actions that it has no privilege for.
    pub lacks: Vec<String>,
}

impl Default for Administrator {
    fn default() -> Self {
        Self {
            password: super::ADMIN.1.into(),
            api_key: "provisioner-id:provisioner-key".into(),
            token: "provisioner-token".into(),
            lacks: Vec::new(),
        }
    }
}
