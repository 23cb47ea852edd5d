# Stands in for prom/prometheus where no image can be pulled: Debian's Prometheus.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \
    && mkdir /prometheus && chown 65534:65534 /prometheus
ENTRYPOINT ["prometheus"]
