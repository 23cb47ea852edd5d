# A machine to install packages on: Debian 12 under systemd.
FROM debian:bookworm-slim
# Docker's own image leaves out manual pages.
RUN rm -f /etc/dpkg/dpkg.cfg.d/docker \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl logrotate man-db procps systemd systemd-sysv \
    && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGRTMIN+3
# systemd gives services their credentials by mounts, which have to spread as they do on a machine.
CMD ["sh", "-c", "mount --make-rshared / && exec /sbin/init"]
