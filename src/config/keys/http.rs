//! The HTTP port of health and metrics, and the end of the process.

use std::time::Duration;

use super::key::{key, section};

section! {
    LISTEN: String = key("listen", "127.0.0.1:5000", "address of HTTP: `/health`, `/live`, `/ready`, `/metrics`")
        .or_from(&["ELASTAUTH_IMAGE_LISTEN"]);
    DRAIN: Option<Duration> = key(
        "drain",
        "3s",
        "how long requests are still answered after SIGTERM, while health says `NOT_SERVING`; 0: not at all",
    );
}
