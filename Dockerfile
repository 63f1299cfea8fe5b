# The image that scripts/kubernetes.yaml uses: the program at /usr/local/bin/lsgd-train, run by user
# 10001, which writes to /runs.
#
#   docker build -t lsgd-train .
#   docker run --rm -v lsgd-runs:/runs lsgd-train --config /etc/lsgd/quickstart.toml
#
# For a GPU, set the backend's features and a base image with its runtime libraries:
#
#   docker build -t lsgd-train --build-arg FEATURES=cuda --build-arg RUNTIME=nvidia/cuda:12.8.1-runtime-ubuntu24.04 .

ARG RUST=1.95.0
ARG RUNTIME=debian:bookworm-slim

# An old C library, so that the program also runs on systems with newer ones.
FROM rust:${RUST}-slim-bookworm AS build
ARG RUST
# Use the image's own toolchain, without the development components that rust-toolchain.toml adds.
ENV RUSTUP_TOOLCHAIN=${RUST}
WORKDIR /src
# Copied together with the code because it affects how dependencies are compiled: .cargo/config.toml sets
# a variable that Zenoh reads at build time.
COPY . .
ARG FEATURES=""
# The target folder is a build cache and not part of the image, so this step copies the program out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked -p lsgd-train --features "${FEATURES}" \
    && cp /target/release/lsgd-train /usr/local/bin/lsgd-train

FROM ${RUNTIME}
COPY --from=build /usr/local/bin/lsgd-train /usr/local/bin/lsgd-train
COPY configs /etc/lsgd
COPY datasets /datasets
RUN mkdir /runs && chown 10001:10001 /runs
# Paths in the configs are relative to this folder: datasets/ is read, runs/ is written.
WORKDIR /
USER 10001:10001
VOLUME /runs
ENTRYPOINT ["/usr/local/bin/lsgd-train"]
CMD ["--help"]
