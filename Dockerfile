# The gateway as an image: docker build -t parley .    (docs/deploy.md; `make image` builds and tries it without Docker)
# What both stages install is Debian's, from wherever the base image looks for it.

FROM debian:bookworm-slim AS build
WORKDIR /src
# Packages before sources: this layer lasts until the list changes.
COPY scripts/install scripts/packages scripts/
RUN scripts/install build && rm -rf /var/lib/apt/lists/*
COPY . .
# x86-64 for machines older than 2013 (docs/decisions/0003-cpu.md).
ARG PARLEY_CPU=x86-64-v3
# Compilers at once; each may want 1 GB. Empty: one a core.
ARG JOBS=
# ccache's folder outlives the layer, so that a changed source costs its own compilation and not all.
ENV CCACHE_DIR=/ccache
RUN --mount=type=cache,target=/ccache \
    cmake --preset release -DPARLEY_CPU="$PARLEY_CPU" >/dev/null \
    && cmake --build build/release --target parley -- -j "${JOBS:-$(nproc)}" \
    && strip -o /parley build/release/bin/parley

FROM debian:bookworm-slim
# What the binary links (ldd), and two things that it reads: authorities for TLS, and time zones.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates \
        libboost-json1.81.0 \
        libboost-url1.81.0 \
        libfmt9 \
        libmimalloc2.0 \
        libpq5 \
        libprometheus-cpp-core1.0 \
        libsimdjson14 \
        libsqlite3-0 \
        libssl3 \
        libstdc++6 \
        tzdata \
        zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt
# A fixed number, so that the owner of a volume is the same on every machine.
RUN groupadd --gid 10001 parley \
    && useradd --uid 10001 --gid parley --no-create-home --home-dir /var/lib/parley --shell /usr/sbin/nologin parley \
    && install -d -o parley -g parley -m 0750 /var/lib/parley
COPY LICENSE /usr/share/doc/parley/
COPY deploy/image/parley-health /usr/local/bin/
COPY --from=build /parley /usr/local/bin/
# A library that is missing in the list above ends the build here and not the first start.
RUN ! ldd /usr/local/bin/parley | grep 'not found'
# Mount your own over any of these; Parley looks for them, and for .env, in the folder that it is started in.
WORKDIR /etc/parley
COPY agent_config.json mcp.json ./
COPY prompts prompts/

# HOME is where MCP servers that are programs keep their caches; the rest of the file system may be read-only.
ENV HOME=/var/lib/parley PARLEY_DATA_DIR=/var/lib/parley
LABEL org.opencontainers.image.title="Parley" \
      org.opencontainers.image.description="A gateway that makes agents look like models on /v1/chat/completions" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
VOLUME /var/lib/parley
EXPOSE 8000
# Drains: takes no new connections, and streams go on for up to PARLEY_DRAIN_SECONDS. Give `docker stop` as long (--time).
STOPSIGNAL SIGTERM
# /livez and not /readyz: an orchestrator that kills what is unhealthy must not do so while it drains or the store is away.
HEALTHCHECK --interval=15s --timeout=4s --start-period=20s --retries=3 CMD ["parley-health", "/livez"]
# On any address but loopback it does not start without PARLEY_API_KEYS.
ENTRYPOINT ["parley"]
CMD ["serve", "--host", "0.0.0.0"]
