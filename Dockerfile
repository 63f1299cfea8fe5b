# The image that scripts/kubernetes.yaml wants: the program at /usr/local/bin/lsgd-train, run by user
# 10001, who writes to /runs.
#
#   docker build -t lsgd-train .
#   docker run --rm -v lsgd-runs:/runs lsgd-train --config /etc/lsgd/quickstart.toml
#
# For a GPU give the backend's features, and a base image that has its libraries at run time:
#
#   docker build -t lsgd-train --build-arg FEATURES=cuda --build-arg RUNTIME=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .

ARG RUST=1.95.0
ARG RUNTIME=debian:bookworm-slim

# An old C library, so that the program runs on newer ones too.
FROM rust:${RUST}-slim-bookworm AS build
ARG RUST
# The image's own toolchain, without the components that rust-toolchain.toml adds for development.
ENV RUSTUP_TOOLCHAIN=${RUST}
WORKDIR /src
# What decides how dependencies are compiled comes along with the code: .cargo/config.toml sets what
# Zenoh reads at that time.
COPY . .
ARG FEATURES=""
# The build folder is a cache of the builder's, so the program is copied out of it in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked -p lsgd-train --features "${FEATURES}" \
    && cp /target/release/lsgd-train /usr/local/bin/lsgd-train

FROM ${RUNTIME}
COPY --from=build /usr/local/bin/lsgd-train /usr/local/bin/lsgd-train
COPY configs /etc/lsgd
COPY datasets /datasets
RUN mkdir /runs && chown 10001:10001 /runs
# Configs name folders as seen from here: datasets/ to read, runs/ to write.
WORKDIR /
USER 10001:10001
VOLUME /runs
ENTRYPOINT ["/usr/local/bin/lsgd-train"]
CMD ["--help"]
