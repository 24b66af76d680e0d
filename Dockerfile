# Two stages: the release build, and an image with the binary, the authorities to trust, and curl for health checks.
#
#   docker build -t elastauth .
#
# The configuration is /config.yml, as it was for the Go service's image; /health answers on port 5000.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /source
# the compiler's toolchain comes with the image; ring needs its C compiler
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
COPY benches benches
COPY tests/support tests/support
COPY tests/model tests/model
RUN cargo build --locked --release --bin elastauth

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/elastauth /usr/local/bin/elastauth
# The service listens on every address, so that the kubelet reaches the probes; `listen` in the configuration file or in a variable wins over it. The
# gRPC port keeps to loopback until the configuration says otherwise, because any client that reaches it can ask for passwords.
ENV ELASTAUTH_IMAGE_LISTEN=0.0.0.0:5000
EXPOSE 5000 9001
# a number, because Kubernetes cannot tell from a name that the user is not root
USER 65532:65532
HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD ["curl", "-fsS", "http://localhost:5000/health"]
ENTRYPOINT ["/usr/local/bin/elastauth"]
