//! The deadline of one call: Envoy's `grpc-timeout`, bounded by the configuration.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The time that is left for the reply to reach Envoy. At the time-out itself tonic answers CANCELLED, with which Envoy lets the
/// request through when `failure_mode_allow` is on: the denial with 503 must come before.
const MARGIN: Duration = Duration::from_millis(10);

/// The caller's `grpc-timeout` less the margin, and no more than `cap`.
pub(super) fn of(metadata: &MetadataMap, cap: Duration) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    asked.map_or(cap, |asked| asked.saturating_sub(MARGIN).min(cap))
}

/// Reads at most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_timeout_counts_under_our_cap() {
        let cap = Duration::from_secs(3);
        for (header, expected) in [
            (Some("200m"), Duration::from_millis(190)),
            (Some("5m"), Duration::ZERO),
            (Some("1S"), Duration::from_millis(990)),
            (Some("600S"), cap),
            (Some("99999999H"), cap),
            (Some("1"), cap),
            (Some("x1S"), cap),
            (Some("123456789m"), cap),
            (None, cap),
        ] {
            let mut metadata = MetadataMap::new();
            if let Some(header) = header {
                metadata.insert("grpc-timeout", header.parse().unwrap());
            }
            assert_eq!(of(&metadata, cap), expected, "{header:?}");
        }
    }
}
