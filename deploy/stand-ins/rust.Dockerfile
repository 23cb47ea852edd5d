# Stands in for rust:1.95-slim-bookworm where no image can be pulled: the toolchain of this machine.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=stand-in/toolchain / /
# The registries that this machine's cargo reaches, it reaches by what this machine trusts.
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo CARGO_HTTP_CAINFO=/usr/local/cargo/ca.crt \
    PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN rustup default "$(ls /usr/local/rustup/toolchains)"
