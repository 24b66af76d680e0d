//! Builds the parts that need the configuration alone: no server is asked, and no port is bound. `check` builds them exactly as
//! `serve` does, so that both find a configuration with which the service would not start.

use std::sync::Arc;

use super::backend::Backend;
use super::people::People;
use super::{Error, issuers};
use crate::authz::Callers;
use crate::config::{Problems, Provider, Settings};
use crate::credentials::seal::Seal;
use crate::identity::headers;
use crate::metrics::Metrics;
use crate::oidc::OidcProvider;
use crate::telemetry::traces::Traces;

/// The parts that need nothing but the configuration and the files that it names.
pub struct Parts {
    pub(super) callers: Callers<OidcProvider>,
    /// None where `login.enabled` is off.
    pub(super) people: Option<People>,
    pub(super) provisioner: Backend,
    pub(super) seal: Seal,
    pub(super) traces: Option<Traces>,
    /// None where `enable_metrics` is off.
    pub(super) metrics: Option<Arc<Metrics>>,
}

impl Parts {
    /// Reads the files, and derives the sealing key, which takes a good part of a second where it is derived from a password.
    /// Must be called within a runtime, which later sends the traces. Reports all problems at once.
    pub fn new(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let callers = keep(callers(settings), &mut problems);
        let people = callers.as_ref().map(|callers| keep(People::new(settings, callers), &mut problems));
        let metrics = settings.http.metrics.then(|| Arc::new(Metrics::new()));
        let provisioner = keep(Backend::counting(settings, metrics.clone()), &mut problems);
        let seal = keep(Seal::new(&settings.seal), &mut problems);
        let traces = keep(settings.traces.as_ref().map(Traces::new).transpose(), &mut problems);
        match (callers, people.flatten(), provisioner, seal, traces) {
            (Some(callers), Some(people), Some(provisioner), Some(seal), Some(traces)) => {
                Ok(Self { callers, people, provisioner, seal, traces, metrics })
            }
            _ => Err(Problems(problems)),
        }
    }
}

fn keep<T, E: Into<Error>>(made: Result<T, E>, problems: &mut Vec<String>) -> Option<T> {
    made.map_err(|error| problems.push(error.into().to_string())).ok()
}

fn callers(settings: &Settings) -> Result<Callers<OidcProvider>, Error> {
    Ok(match &settings.identity {
        Provider::Oidc(oidc, sources) => {
            let mut issuers = issuers(oidc)?.verifying_at_once(settings.verifications);
            if let Some(login) = &settings.login {
                issuers = issuers.with_login_at(login.issuer);
            }
            Callers::Tokens(Arc::new(issuers), sources.clone())
        }
        Provider::Headers(headers) => Callers::Headers(headers::Reader::new((**headers).clone())?),
    })
}
