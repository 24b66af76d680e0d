//! Keeps the TLS configuration in force, and replaces it when one of its files has changed.

use std::sync::Arc;

use parking_lot::RwLock;
use ring::digest::Digest;
use rustls::server::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, Material, Settings};

/// The configuration for new connections, with the files that it comes from.
#[derive(Debug)]
pub(crate) struct Watched {
    settings: Settings,
    current: RwLock<Arc<ServerConfig>>,
    digest: Digest,
}

impl Watched {
    /// Reads the files for the first time.
    pub(crate) fn load(settings: Settings) -> Result<Self, Error> {
        let material = Material::read(&settings)?;
        let config = material.config(&settings)?;
        let (current, digest) = (RwLock::new(Arc::new(config)), material.digest());
        Ok(Self { settings, current, digest })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// Reads the files again and again, and compares their contents: a mounted secret changes by an exchange of links, which
    /// neither times nor names of the files show. Files that cannot be used, as when the key is written before the
    /// certificate, are logged once, and the old configuration stays in force.
    pub(crate) async fn watch(self: Arc<Self>) {
        let (mut seen, mut failure) = (self.digest, None);
        let mut ticks = interval(self.settings.reload_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let settings = self.settings.clone();
            let reading = tokio::task::spawn_blocking(move || newer(&settings, &seen));
            match reading.await {
                Ok(Ok(None)) | Err(_) => {}
                Ok(Ok(Some((config, digest)))) => {
                    *self.current.write() = Arc::new(config);
                    (seen, failure) = (digest, None);
                    tracing::info!("TLS files read again");
                }
                Ok(Err(error)) => {
                    let error = Some(error.to_string());
                    if error != failure {
                        tracing::warn!(error, "The new TLS files cannot be used, the old ones stay in force");
                        failure = error;
                    }
                }
            }
        }
    }
}

fn newer(settings: &Settings, seen: &Digest) -> Result<Option<(ServerConfig, Digest)>, Error> {
    let material = Material::read(settings)?;
    let digest = material.digest();
    if digest.as_ref() == seen.as_ref() {
        return Ok(None);
    }
    Ok(Some((material.config(settings)?, digest)))
}
