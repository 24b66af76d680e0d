//! The account that elastauth is given.

/// Its secrets, any of which works, and what it may do.
#[derive(Clone, Debug)]
pub struct Administrator {
    /// Of Basic authentication.
    pub password: String,
    /// `id:key`
    pub api_key: String,
    /// A bearer token.
    pub token: String,
    /// Actions that it may not do.
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
