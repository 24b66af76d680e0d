//! Keys of earlier versions that are none any more, each with what to do instead.

/// A key of an earlier version.
pub(crate) struct Removed {
    pub(crate) path: &'static str,
    /// What an error says after the key's name where it is still set.
    pub(crate) instead: &'static str,
}

pub(crate) static REMOVED: &[Removed] = &[
    Removed {
        path: "cache.refused_token_max_entries",
        instead: "is not a key any more: a tenth of cache.token_max_entries is the limit for refused tokens",
    },
    Removed {
        path: "cache.redis_idle_timeout",
        instead: "is not a key any more, and is not needed: connections that have not been used for five minutes are closed",
    },
    Removed {
        path: "tracing.service_name",
        instead: "is not a key any more: set OpenTelemetry's variable OTEL_SERVICE_NAME",
    },
    Removed {
        path: "tracing.sampler",
        instead: "is not a key any more: set OpenTelemetry's variable OTEL_TRACES_SAMPLER",
    },
    Removed {
        path: "tracing.sampler_arg",
        instead: "is not a key any more: set OpenTelemetry's variable OTEL_TRACES_SAMPLER_ARG",
    },
];
