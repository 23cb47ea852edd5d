//! Certificates of the operator's own: picked by name and by what the client can verify, read again
//! when their files change, and imported into the store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, CrlDistributionPoint, KeyPair};
use tempfile::TempDir;

use crate::harness::certificate::{openssl, until};
use crate::harness::{Pebble, TestProxy, TestUpstream};

/// A CA of the test's, and the folder where it puts what it signs.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the root of a test");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.path().join("root.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Signs a certificate for `hosts`, valid for so many days, and writes `NAME.pem` and
    /// `NAME.key`.
    pub(crate) fn sign(&self, name: &str, hosts: &[&str], days: i64, key: &KeyPair) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let now = std::time::SystemTime::now();
        let day = Duration::from_secs(86_400);
        params.not_before = (now - day * 60).into();
        let length = day * u32::try_from(days.abs()).unwrap();
        params.not_after = if days < 0 { now - length } else { now + length }.into();
        let uris = vec!["http://crl.invalid/root.crl".to_owned()];
        params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
    }
}

/// An RSA key, which openssl makes.
fn rsa() -> KeyPair {
    let output = Command::new("openssl").args(["genrsa", "2048"]).output().unwrap();
    KeyPair::from_pem(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

pub(crate) fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn text(
    upstream: &TestUpstream,
    authority: &Authority,
    names: &[&str],
    sites: &str,
) -> String {
    let mut text = "[listen]\nhttp = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n\
                    admin = \"127.0.0.1:0\"\nworkers = 2\ndrain_timeout = \"5s\"\n\
                    [tls]\nstore = \"DIRECTORY/certs\"\n\
                    [log]\naccess = \"DIRECTORY/access.log\"\n"
        .to_owned();
    for name in names {
        let file = |kind| authority.path(&format!("{name}.{kind}")).display().to_string();
        let (cert, key) = (file("pem"), file("key"));
        text += &format!("[[tls.certificate]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    }
    for hosts in sites.split_whitespace() {
        let hosts = hosts.split(',').collect::<Vec<_>>();
        text += &format!(
            "[[site]]\nhosts = {hosts:?}\nissuer = \"files\"\nupstream = \"http://{}\"\n",
            upstream.address
        );
    }
    text
}

#[tokio::test]
async fn a_host_gets_the_certificate_that_names_it_and_that_the_client_can_verify() {
    let (upstream, authority) = (TestUpstream::start().await, Authority::new());
    authority.sign("wild", &["*.example.com"], 30, &ecdsa());
    authority.sign("www", &["www.example.com"], 30, &ecdsa());
    authority.sign("rsa", &["www.example.com", "other.example"], 30, &rsa());
    let names = ["wild", "www", "rsa"];
    let sites = "www.example.com api.example.com other.example";
    let proxy = TestProxy::start_text(&text(&upstream, &authority, &names, sites));
    let root = authority.root();
    let served = |name: &str, file: &str, more: &[&str]| {
        let (verified, said) = openssl(proxy.https(), &root, name, more);
        let pem = std::fs::read_to_string(authority.path(&format!("{file}.pem"))).unwrap();
        let first = pem.lines().nth(2).unwrap();
        assert!(verified && said.contains(first), "{name} {more:?}: {said}");
    };
    served("api.example.com", "wild", &[]);
    served("www.example.com", "www", &[]);
    for more in [&["-sigalgs", "rsa_pss_rsae_sha256"][..], &["-tls1_2", "-sigalgs", "RSA+SHA256"]] {
        served("www.example.com", "rsa", more);
    }
    served("other.example", "rsa", &[]);
    let (verified, said) = openssl(proxy.https(), &root, "deep.api.example.com", &[]);
    assert!(!verified && said.contains("no peer certificate available"), "{said}");
    proxy.finish().await;
}

#[tokio::test]
async fn files_that_change_are_read_again_and_what_does_not_hold_replaces_nothing() {
    let (upstream, authority) = (TestUpstream::start().await, Authority::new());
    authority.sign("a", &["a.example"], 30, &ecdsa());
    let proxy = TestProxy::start_text(&text(&upstream, &authority, &["a"], "a.example"));
    let root = authority.root();
    let first = until(&proxy, |of| of["issued"] == true).await;
    assert_eq!((&first["issuer"], &first["failures"]), (&"files".into(), &0.into()), "{first:#}");
    let refuses = async |why: &str| {
        let state = until(&proxy, |of| of["error"].as_str().is_some_and(|e| e.contains(why))).await;
        assert_eq!((&state["not_after"], &state["issued"]), (&first["not_after"], &true.into()));
        assert!(openssl(proxy.https(), &root, "a.example", &[]).0, "the old one stays");
    };
    authority.sign("a", &["b.example"], 60, &ecdsa());
    refuses("it is not for a.example").await;
    authority.sign("a", &["a.example"], -1, &ecdsa());
    refuses("it has expired").await;
    std::fs::write(authority.path("a.key"), ecdsa().serialize_pem()).unwrap();
    authority.sign("b", &["a.example"], 60, &ecdsa());
    std::fs::copy(authority.path("b.pem"), authority.path("a.pem")).unwrap();
    refuses("its key does not belong to it").await;
    let pem = std::fs::read_to_string(authority.path("b.pem")).unwrap();
    std::fs::write(authority.path("a.pem"), &pem[..pem.len() / 2]).unwrap();
    refuses("it is not a private key and a certificate chain").await;
    std::fs::remove_file(authority.path("a.pem")).unwrap();
    refuses("it cannot be read").await;
    // A whole one at last, in the way of a volume that is updated.
    authority.sign("b", &["a.example"], 60, &ecdsa());
    std::fs::copy(authority.path("b.key"), authority.path("a.key")).unwrap();
    std::fs::rename(authority.path("b.pem"), authority.path("a.pem")).unwrap();
    let last = until(&proxy, |of| of["error"].is_null()).await;
    assert_ne!(last["not_after"], first["not_after"]);
    assert!(openssl(proxy.https(), &root, "a.example", &[]).0);
    proxy.finish().await;
}

#[tokio::test]
async fn an_imported_certificate_is_served_at_the_next_reload_and_not_ordered_again() {
    let (pebble, upstream) = (Pebble::start(3_600), TestUpstream::start().await);
    let authority = Authority::new();
    let proxy = TestProxy::start_text(&crate::acme::text(&pebble, &upstream, ""));
    until(&proxy, |of| of["issued"] == true).await;
    let import = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
        command.args(["certs", "import"]).args(arguments);
        let output = command.arg("--config").arg(proxy.file()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    authority.sign("other", &["other.example"], 30, &ecdsa());
    let (code, said) =
        import(&[&authority.path("other.pem"), Path::new("--key"), &authority.path("other.key")]);
    assert!(code == Some(1) && said.contains("which is for: other.example"), "{said}");
    let (code, said) = import(&[&authority.path("other.pem")]);
    assert!(code == Some(1) && said.contains("there is no key"), "{said}");
    // What other programs have, or have given up.
    let convert = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(authority.path(""));
        assert!(command.output().unwrap().status.success(), "{arguments}");
    };
    authority.sign("old", &["app.example.com"], -1, &ecdsa());
    convert("x509 -in other.pem -outform DER -out other.der");
    convert("pkey -in other.key -aes256 -passout pass:x -out locked.key");
    convert("ec -in other.key -aes256 -passout pass:x -out older.key");
    for (chain, key, why) in [
        ("other.pem", "old.key", "its key does not belong to it"),
        ("old.pem", "old.key", "it has expired"),
        ("other.der", "other.key", "it is not PEM"),
        ("other.pem", "locked.key", "its key is encrypted"),
        ("other.pem", "older.key", "its key is encrypted"),
        ("other.pem", "other.pem", "there is no key"),
        ("none.pem", "other.key", "No such file"),
    ] {
        let (chain, key) = (authority.path(chain), authority.path(key));
        let (code, said) = import(&[&chain, Path::new("--key"), &key]);
        assert!(code == Some(1) && said.contains(why), "{why}: {said}");
    }
    let (code, said) = import(&[Path::new("/dev/zero")]);
    assert!(code == Some(1) && said.contains("far too large"), "{said}");
    // In one file, the key last, as other programs have it.
    authority.sign("app", &["app.example.com"], 30, &ecdsa());
    let read = |name| std::fs::read_to_string(authority.path(name)).unwrap();
    std::fs::write(authority.path("both.pem"), read("app.pem") + &read("app.key")).unwrap();
    let (code, said) = import(&[&authority.path("both.pem")]);
    assert!(code == Some(0) && said.contains("imported for app.example.com"), "{said}");
    proxy.reload().await.unwrap();
    // At once, or when a question to the CA that is under way has been answered.
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !openssl(proxy.https(), &authority.root(), "app.example.com", &[]).0 {
        assert!(std::time::Instant::now() < deadline, "it is not served");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let proxy = proxy.restart().await;
    let (verified, said) = openssl(proxy.https(), &authority.root(), "app.example.com", &[]);
    assert!(verified, "{said}");
    proxy.finish().await;
}
