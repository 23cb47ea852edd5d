//! The images that ours begin with: pulled, or, where no registry can be reached, stand-ins of the
//! same names, made from Debian's packages and this machine's Rust toolchain.

use super::shell::{SHORT, Shell};
use crate::apt::{self, Tool};

/// Each image, and how its stand-in is made in `deploy/stand-ins`. Debian is the first, since the
/// others begin with it.
const BASES: [(&str, &str); 6] = [
    ("debian:bookworm-slim", DEBIAN),
    ("rust:1.95-slim-bookworm", RUST),
    (
        "postgres:17-bookworm",
        "docker build --tag postgres:17-bookworm --file postgres.Dockerfile .",
    ),
    ("redis:7-bookworm", "docker build --tag redis:7-bookworm --file redis.Dockerfile ."),
    (
        "prom/prometheus:v3.5.0",
        "docker build --tag prom/prometheus:v3.5.0 --file prometheus.Dockerfile .",
    ),
    (
        "prom/node-exporter:v1.9.1",
        "docker build --tag prom/node-exporter:v1.9.1 --file node-exporter.Dockerfile .",
    ),
];

/// Like the real image it has neither manuals nor translations, now and of packages to come, and
/// knows Debian's security fixes.
const DEBIAN: &str = r#"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase bookworm "$work/root"
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
cd "$work/root"
rm -rf usr/share/info usr/share/lintian usr/share/locale usr/share/man
find usr/share/doc ! -type d ! -name copyright -delete
printf 'path-%s\n' 'exclude /usr/share/doc/*' 'include /usr/share/doc/*/copyright' \
    'exclude /usr/share/info/*' 'exclude /usr/share/lintian/*' \
    'exclude /usr/share/locale/*' 'exclude /usr/share/man/*' >etc/dpkg/dpkg.cfg.d/docker
echo 'deb http://deb.debian.org/debian-security bookworm-security main' >>etc/apt/sources.list
tar --create --directory "$work/root" . \
    | docker import --change 'CMD ["bash"]' - debian:bookworm-slim
"#;

/// The layout is that of the real image: rustup, with one toolchain, in /usr/local.
const RUST: &str = r#"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rustup target add "$(uname -m)-unknown-linux-musl"
toolchain=$(readlink --canonicalize "$(rustc --print sysroot)")
mkdir -p "$work/usr/local/cargo/bin" "$work/usr/local/rustup/toolchains"
cp "$(command -v rustup)" "$work/usr/local/cargo/bin/"
for tool in cargo rustc rustdoc; do ln -s rustup "$work/usr/local/cargo/bin/$tool"; done
cp /etc/ssl/certs/ca-certificates.crt "$work/usr/local/cargo/ca.crt"
ln -s "$toolchain" "$work/usr/local/rustup/toolchains/"
tar --create --directory "$work" --dereference --exclude share/doc usr/local/rustup \
    >"$work/image.tar"
tar --append --directory "$work" --file "$work/image.tar" usr/local/cargo
docker import "$work/image.tar" stand-in/toolchain
docker build --tag rust:1.95-slim-bookworm --file rust.Dockerfile .
"#;

/// Provides every image that is missing; the toolchain only if something is built.
pub(super) fn provide(shell: &Shell, build: bool) -> anyhow::Result<()> {
    provide_those(shell, |image| build || !image.starts_with("rust:"))
}

/// Provides Debian alone.
pub(crate) fn provide_debian(shell: &Shell) -> anyhow::Result<()> {
    provide_those(shell, |image| image.starts_with("debian:"))
}

fn provide_those(shell: &Shell, is_needed: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let mut registry = true;
    for (image, recipe) in BASES {
        let is_there = |image| shell.run(&format!("docker image inspect {image}"), SHORT).is_ok();
        if !is_needed(image) || is_there(image) {
            continue;
        }
        println!("looking for {image}");
        registry = registry && shell.run(&format!("docker pull {image}"), SHORT).is_ok();
        if !registry {
            println!("no image registry can be reached: {image} is a stand-in, made here");
            apt::ensure(&[Tool { program: "debootstrap", package: "debootstrap", service: None }])?;
            shell.run(&format!("cd deploy/stand-ins\n{recipe}"), 4 * SHORT)?;
        }
    }
    Ok(())
}
