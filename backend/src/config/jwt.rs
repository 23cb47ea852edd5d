//! `JWT_SECRET` and `JWT_SECRET_PREVIOUS`: what access tokens are signed with, and were before.

use super::{AppEnv, Environment, Secret};

/// Shortest signing secret in production, in bytes: the output of HMAC-SHA-256, below which
/// guessing gets cheaper than the algorithm promises (RFC 7518, 3.2).
const SECRET_MIN: usize = 32;

/// Reads `JWT_SECRET`.
pub(super) fn read_secret(env: &mut Environment<'_>, app_env: AppEnv) -> Option<Secret> {
    const REMEDY: &str = "make one with `openssl rand -base64 48`, and set JWT_SECRET to it, \
                          or JWT_SECRET_FILE to the path of a file that holds it";
    let secret = env.secret("JWT_SECRET");
    if app_env == AppEnv::Production {
        match &secret {
            _ if env.is_faulty("JWT_SECRET") => {}
            None => {
                env.fault("JWT_SECRET", "is not set, and production makes up no secret", REMEDY);
            }
            Some(secret) => refuse_weak(env, "JWT_SECRET", secret, REMEDY),
        }
    }
    secret
}

/// Reads the secret before the present one. It still opens doors, so production wants it as strong.
pub(super) fn read_previous(env: &mut Environment<'_>, app_env: AppEnv) -> Option<Secret> {
    const NAME: &str = "JWT_SECRET_PREVIOUS";
    let secret = env.secret(NAME)?;
    if app_env == AppEnv::Production {
        refuse_weak(env, NAME, &secret, "leave it out: whoever is logged in refreshes once more");
    }
    Some(secret)
}

fn refuse_weak(env: &mut Environment<'_>, name: &'static str, secret: &Secret, remedy: &str) {
    let length = secret.expose().len();
    if length < SECRET_MIN {
        env.fault(name, format!("has {length} bytes; production needs {SECRET_MIN}"), remedy);
    } else if secret.is_guessable() {
        env.fault(name, "is an example or a pattern, not a random secret", remedy);
    }
}
