//! The configuration that is in force, and its replacement when a file has changed.

use std::sync::Arc;

use parking_lot::RwLock;
use ring::digest::Digest;
use rustls::server::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, Material, Settings};

/// What new connections are accepted with.
#[derive(Debug)]
pub struct Watched {
    settings: Settings,
    current: RwLock<Arc<ServerConfig>>,
    digest: Digest,
}

impl Watched {
    /// Reads the files.
    pub fn load(settings: Settings) -> Result<Self, Error> {
        let material = Material::read(&settings)?;
        let config = material.config(&settings)?;
        let (current, digest) = (RwLock::new(Arc::new(config)), material.digest());
        Ok(Self { settings, current, digest })
    }

    pub(in crate::envoy) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(in crate::envoy) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }

    /// Looks at the files again and again. By their content: a mounted secret changes by an exchange of links, which
    /// neither times nor names of the files show. What cannot be used, as when the key is written before the
    /// certificate, is logged once, and the old configuration stays.
    pub(in crate::envoy) async fn watch(self: Arc<Self>) {
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
