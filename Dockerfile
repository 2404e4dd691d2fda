# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY src src
COPY conf conf
COPY bench bench
COPY docs/verify docs/verify
RUN cargo build --locked --release --bin crossgate

FROM debian:bookworm-slim
# For key sets over https; everything else is in the one binary.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home crossgate \
 && install -d -o 10001 -g 10001 /var/lib/crossgate
COPY --from=build /src/target/release/crossgate /usr/local/bin/crossgate
USER 10001
# Works on a read-only root file system: mount the config at /etc/crossgate, and a volume (or an emptyDir) for what must
# outlive a restart at /var/lib/crossgate (`state_dir` in the config).
VOLUME /var/lib/crossgate
EXPOSE 8080
ENTRYPOINT ["crossgate"]
CMD ["run", "-c", "/etc/crossgate/crossgate.yaml"]
