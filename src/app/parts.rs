//! What is made of the configuration alone: no server is asked, and no port is bound. `check` makes it exactly as `serve` does, so
//! that a configuration with which the service would not start is found by both.

use super::backend::Backend;
use super::{Error, issuers};
use crate::authz::Callers;
use crate::config::{Problems, Provider, Settings};
use crate::credentials::seal::Seal;
use crate::identity::headers;
use crate::oidc::OidcProvider;
use crate::telemetry::traces::Traces;

/// The parts that need nothing but the configuration and the files that it names.
pub struct Parts {
    pub(super) callers: Callers<OidcProvider>,
    pub(super) provisioner: Backend,
    pub(super) seal: Seal,
    pub(super) traces: Option<Traces>,
}

impl Parts {
    /// Reads the files, and derives the sealing key, which takes a good part of a second where that is made of a password. Must be
    /// called within a runtime, which later sends the traces. All problems are reported at once.
    pub fn new(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let callers = keep(callers(settings), &mut problems);
        let provisioner = keep(Backend::new(settings), &mut problems);
        let seal = keep(Seal::new(&settings.seal), &mut problems);
        let traces = keep(settings.traces.as_ref().map(Traces::new).transpose(), &mut problems);
        match (callers, provisioner, seal, traces) {
            (Some(callers), Some(provisioner), Some(seal), Some(traces)) => {
                Ok(Self { callers, provisioner, seal, traces })
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
            Callers::Tokens(issuers(oidc)?.verifying_at_once(settings.verifications), sources.clone())
        }
        Provider::Headers(headers) => Callers::Headers(headers::Reader::new((**headers).clone())?),
    })
}
