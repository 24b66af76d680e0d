//! A histogram of durations that counts without a lock: the one of `prometheus-client` takes a lock for each value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The upper ends of the buckets in microseconds: a hit takes some tens, a write to Elasticsearch some hundred thousand.
const BOUNDS: [u32; 16] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
];

#[derive(Clone, Debug, Default)]
pub(super) struct Durations(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// The last bucket is for values above every bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    pub(super) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| u64::from(*bound) < micros);
        if let Some(bucket) = self.0.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.0.micros.fetch_add(micros, Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.buckets.iter().map(|bucket| bucket.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_micros(self.0.micros.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_it_fits_and_all_above() {
        let (durations, mut registry, mut page) = (Durations::default(), Registry::default(), String::new());
        for micros in [25, 26, 1_000_000, 9_000_000] {
            durations.record(Duration::from_micros(micros));
        }
        registry.register("d", "h", durations);
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "d_sum 10.000051\n",
            "d_count 4\n",
            "d_bucket{le=\"0.000025\"} 1\n",
            "d_bucket{le=\"0.00005\"} 2\n",
            "d_bucket{le=\"0.5\"} 2\n",
            "d_bucket{le=\"1.0\"} 3\n",
            "d_bucket{le=\"2.5\"} 3\n",
            "d_bucket{le=\"+Inf\"} 4\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }
}
