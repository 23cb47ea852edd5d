//! What `cargo xtask dev` prints once both programs are ready.

use std::path::Path;

use super::Ports;
use crate::terminal::{Style, paint};

const PASSWORD: &str = "Correct-Horse-9-Battery";

/// The addresses, the CA file, and three lines to paste into a shell.
pub(super) fn text(ports: Ports, ca: &Path) -> String {
    let Ports { http, https, admin, backend } = ports;
    let title = paint(Style::Bold, "Gatehouse and Nomation are ready. Ctrl-C stops both.");
    let lines = curl_lines(https, ca).join("\n\n");
    format!(
        "\n{title}

  application  https://localhost:{https} (http://localhost:{http} redirects there)
  admin        http://127.0.0.1:{admin}
  Nomation     http://127.0.0.1:{backend}/health
  CA file      {ca}

Register, log in and create a project (at most 3 registrations an hour and 5 logins a minute):

{lines}
",
        ca = ca.display()
    )
}

/// Lines for a POSIX shell that work as often as the limits allow: each registration makes an
/// address of its own, and the next lines use the shell's variables.
fn curl_lines(https: u16, ca: &Path) -> [String; 3] {
    let curl = |path: &str| {
        let ca = quoted(&ca.to_string_lossy());
        format!("curl -sS --cacert {ca} https://localhost:{https}{path}")
    };
    let json = "-H 'content-type: application/json'";
    let user = format!(r#"\"email\":\"$EMAIL\",\"password\":\"{PASSWORD}\""#);
    let name = r#"\"name\":\"Dev\""#;
    let register = format!(
        r#"EMAIL="dev-$(date +%s)@example.com"; {} {json} -w '\n' -d "{{{user},{name}}}""#,
        curl("/api/auth/register")
    );
    let token = r#"sed -n 's/.*"accessToken" *: *"\([^"]*\)".*/\1/p'"#;
    let login = format!(r#"TOKEN=$({} {json} -d "{{{user}}}" | {token})"#, curl("/api/auth/login"));
    let project = format!(
        r#"{} {json} -w '\n' -H "authorization: Bearer $TOKEN" -d '{{"name":"First project"}}'"#,
        curl("/api/projects")
    );
    [register, login, project]
}

/// Text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs a script in `sh` with a `curl` that prints its last argument, the body.
    fn sh(script: &str) -> String {
        let curl = r#"curl() { for last; do :; done; printf '%s' "$last"; }"#;
        let output =
            Command::new("sh").args(["-c", &format!("{curl}\n{script}")]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_bodies_are_json_after_the_shell_has_read_them() {
        let [register, _, project] = curl_lines(8443, Path::new("/repo/certs/internal-ca.pem"));
        let body = sh(&register);
        assert!(body.starts_with(r#"{"email":"dev-"#), "{body}");
        assert!(
            body.ends_with(&format!(r#"@example.com","password":"{PASSWORD}","name":"Dev"}}"#))
        );
        assert_eq!(sh(&project), r#"{"name":"First project"}"#);
    }

    #[test]
    fn the_token_is_cut_from_the_answer() {
        let [_, login, _] = curl_lines(8443, Path::new("ca.pem"));
        let answer = r#"curl() { printf '{"accessToken":"a.b-c_d","user":{"id":"1"}}'; }"#;
        assert_eq!(sh(&format!("{answer}\n{login}\nprintf %s \"$TOKEN\"")), "a.b-c_d");
    }

    #[test]
    fn a_path_with_a_blank_or_a_quote_stays_one_word() {
        assert_eq!(quoted("/plain/path-1.pem"), "/plain/path-1.pem");
        assert_eq!(
            sh(&format!("printf %s {}", quoted("/my certs/it's.pem"))),
            "/my certs/it's.pem"
        );
    }
}
