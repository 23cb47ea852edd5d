# Stands in for redis:7-bookworm where no image can be pulled: Debian's Redis.
FROM debian:bookworm-slim
RUN groupadd --system --gid 999 redis && useradd --system --uid 999 --gid redis redis \
    && apt-get update && apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir /data && chown 999:999 /data
WORKDIR /data
CMD ["redis-server"]
