//! Registering, logging in, and what a token is worth.

use hyper::Method;
use hyper::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::harness::{JWT_SECRET, TestServer};

on_both_engines![
    a_user_registers_and_logs_in,
    an_address_is_registered_once,
    a_refused_login_gives_no_hint_which_part_was_wrong,
    all_faults_of_a_registration_are_told_at_once,
    only_a_good_token_opens_anything,
    a_token_of_nobody_creates_nothing,
];

async fn a_user_registers_and_logs_in(server: TestServer) {
    let client = &server.client;
    let body =
        json!({ "email": " Ada@Example.COM ", "password": "correct horse", "name": " Ada " });
    let registered = client.post("/api/auth/register", &body).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    assert_eq!(registered.text("/user/email"), "ada@example.com");
    assert_eq!(registered.text("/user/name"), "Ada");
    assert!(registered.text("/user/createdAt").ends_with('Z'));
    assert!(!registered.body.to_string().contains("argon2"), "{}", registered.body);

    let body = json!({ "email": "ADA@example.com", "password": "correct horse" });
    let logged_in = client.post("/api/auth/login", &body).await;
    assert_eq!(logged_in.status, 200);
    assert_eq!(logged_in.body["user"], registered.body["user"]);
    for answer in [registered, logged_in] {
        let user = client.with_token(&answer.text("/accessToken"));
        assert_eq!(user.get("/api/projects").await.status, 200);
    }
}

async fn an_address_is_registered_once(server: TestServer) {
    server.client.registered("ada@example.com").await;
    let again = json!({ "email": "ADA@example.com", "password": "another horse" });
    let answer = server.client.post("/api/auth/register", &again).await;
    assert_eq!(answer.status, 409);
}

async fn a_refused_login_gives_no_hint_which_part_was_wrong(server: TestServer) {
    server.client.registered("ada@example.com").await;
    let mut bodies = Vec::new();
    for (email, password) in [
        ("ada@example.com", "wrong horse"),
        ("nobody@example.com", "correct horse"),
        ("no address", "correct horse"),
        ("nul\u{0}@example.com", "correct horse"),
        ("ada@example.com", ""),
    ] {
        let body = json!({ "email": email, "password": password });
        let answer = server.client.post("/api/auth/login", &body).await;
        assert_eq!(answer.status, 401, "{email:?}");
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
}

async fn all_faults_of_a_registration_are_told_at_once(server: TestServer) {
    let register = async |body| server.client.post("/api/auth/register", &body).await;
    let empty = register(json!({})).await;
    assert_eq!((empty.status.as_u16(), empty.faults()), (422, vec!["#/email", "#/password"]));

    let mistyped = register(json!({ "email": 5, "password": ["x"], "name": {} })).await;
    assert_eq!(mistyped.status, 422);
    assert_eq!(mistyped.faults(), ["#/email", "#/password", "#/name"]);

    let wrong = json!({ "email": "ada", "password": "1234567", "name": "a\u{0}b" });
    assert_eq!(register(wrong).await.faults(), ["#/email", "#/password", "#/name"]);

    let long = json!({ "email": "a@b.c", "password": "x".repeat(129), "name": "x".repeat(101) });
    assert_eq!(register(long).await.faults(), ["#/password", "#/name"]);

    let nameless = json!({ "email": "a@b.c", "password": "correct horse", "name": null });
    let nameless = register(nameless).await;
    assert_eq!(nameless.status, 201);
    assert!(nameless.body["user"]["name"].is_null());
}

async fn only_a_good_token_opens_anything(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let good = ada.token.clone().unwrap();
    let parts: Vec<&str> = good.split('.').collect();
    let id = server
        .client
        .post(
            "/api/auth/login",
            &json!({
                "email": "ada@example.com", "password": "correct horse",
            }),
        )
        .await
        .text("/user/id");
    let sign = |algorithm, exp: i64, secret: &str| {
        let claims = json!({ "sub": id, "iat": exp - 3600, "exp": exp });
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
    assert_eq!(
        ada.with_token(&sign(Algorithm::HS256, now + 60, JWT_SECRET))
            .get("/api/projects")
            .await
            .status,
        200,
        "what is forged below fails for the reason it names"
    );
    for (why, token) in [
        ("empty", String::new()),
        ("garbage", "garbage".to_owned()),
        ("expired", sign(Algorithm::HS256, now - 1, JWT_SECRET)),
        ("another key", sign(Algorithm::HS256, now + 60, "another key of thirty-two bytes..")),
        ("another algorithm", sign(Algorithm::HS512, now + 60, JWT_SECRET)),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        // {"alg":"none","typ":"JWT"}
        ("alg none", format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1])),
        (
            "alg none, signed",
            format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.{}", parts[1], parts[2]),
        ),
    ] {
        assert_eq!(ada.with_token(&token).get("/api/projects").await.status, 401, "{why}");
    }
    assert_eq!(server.client.get("/api/projects").await.status, 401, "no header");
    let basic =
        server.client.request(Method::GET, "/api/projects").header(AUTHORIZATION, "Basic YTpi");
    assert_eq!(server.client.send(basic.body(Default::default()).unwrap()).await.status, 401);
}

/// A token may outlive its user, as after a restore: that is a 401, not a broken foreign key.
async fn a_token_of_nobody_creates_nothing(server: TestServer) {
    let claims = json!({ "sub": uuid::Uuid::now_v7(), "iat": 0, "exp": i64::MAX });
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let nobody = server.client.with_token(&token);
    assert_eq!(nobody.post("/api/projects", &json!({ "name": "x" })).await.status, 401);
}
