//! Sessions: refreshed by tokens that are good once, ended by logout, reuse and a new password.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::harness::{Engine, JWT_SECRET, TestDatabase, TestServer};

on_both_engines![
    a_session_is_refreshed_again_and_again,
    a_token_that_comes_twice_ends_the_session,
    a_logout_ends_the_session,
    a_new_password_ends_every_session,
    a_login_under_way_does_not_outlive_its_password,
    a_token_that_comes_twice_at_the_same_time_ends_the_session,
    a_user_has_so_many_sessions_and_no_more,
];

const PASSWORD: &str = "correct horse";

/// The cookie as a browser would send it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/api/auth"] {
        assert!(set.contains(attribute), "{set}");
    }
    set.split(';').next().unwrap().to_owned()
}

async fn post(client: &Client, path: &str, cookie: &str) -> Answer {
    client.send_with((Method::POST, path), ("cookie", cookie), &Value::Null).await
}

async fn refresh(client: &Client, cookie: &str) -> Answer {
    post(client, "/api/auth/refresh", cookie).await
}

async fn register(server: &TestServer) -> Answer {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    server.client.post("/api/auth/register", &body).await
}

async fn login(server: &TestServer, password: &str) -> Answer {
    let body = json!({ "email": "ada@example.com", "password": password });
    server.client.post("/api/auth/login", &body).await
}

async fn a_session_is_refreshed_again_and_again(server: TestServer) {
    let mut last = register(&server).await;
    let user = last.body["user"].clone();
    for _ in 0..3 {
        let before = cookie(&last);
        last = refresh(&server.client, &format!("other=1; {before}")).await;
        assert_eq!(last.status, 200, "{}", last.body);
        assert_ne!(cookie(&last), before);
        assert_eq!(last.body["user"], user);
        let ada = server.client.with_token(&last.text("/accessToken"));
        assert_eq!(ada.get("/api/projects").await.status, 200);
    }
    for nothing in ["", "nomation_refresh=", "nomation_refresh=x", "other=1"] {
        assert_eq!(refresh(&server.client, nothing).await.status, 401, "{nothing}");
    }
    let unknown = format!("nomation_refresh={}", "a".repeat(64));
    assert_eq!(refresh(&server.client, &unknown).await.status, 401);
}

async fn a_token_that_comes_twice_ends_the_session(server: TestServer) {
    let stolen = cookie(&register(&server).await);
    let other = cookie(&login(&server, PASSWORD).await);
    let next = cookie(&refresh(&server.client, &stolen).await);
    assert_eq!(refresh(&server.client, &stolen).await.status, 401);
    assert_eq!(refresh(&server.client, &next).await.status, 401, "the thief's or the owner's");
    assert_eq!(refresh(&server.client, &other).await.status, 200, "another login is another");
}

async fn a_logout_ends_the_session(server: TestServer) {
    let first = cookie(&register(&server).await);
    let answer = post(&server.client, "/api/auth/logout", &first).await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").starts_with("nomation_refresh=; Max-Age=0;"));
    assert_eq!(refresh(&server.client, &first).await.status, 401);
    assert_eq!(post(&server.client, "/api/auth/logout", "").await.status, 204);
}

async fn a_new_password_ends_every_session(server: TestServer) {
    let registered = register(&server).await;
    let ada = server.client.with_token(&registered.text("/accessToken"));
    let change = async |current: &str, new: &str| {
        let body = json!({ "currentPassword": current, "newPassword": new });
        ada.post("/api/auth/password", &body).await
    };
    assert_eq!(change("wrong horse", "another horse").await.status, 403);
    let short = change("", "short").await;
    assert_eq!((short.status.as_u16(), short.faults()), (422, vec!["#/newPassword"]));
    let changed = change(PASSWORD, "another horse").await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(refresh(&server.client, &cookie(&registered)).await.status, 401);
    assert_eq!(refresh(&server.client, &cookie(&changed)).await.status, 200);
    assert_eq!(login(&server, PASSWORD).await.status, 401);
    assert_eq!(login(&server, "another horse").await.status, 200);
}

/// Whoever had the old password may be logging in all the time: when it has been changed, none of
/// these logins is worth anything.
async fn a_login_under_way_does_not_outlive_its_password(server: TestServer) {
    let ada = server.client.with_token(&register(&server).await.text("/accessToken"));
    let server = Arc::new(server);
    let is_changed = Arc::new(AtomicBool::new(false));
    let log_in = |_| {
        let (server, is_changed) = (Arc::clone(&server), Arc::clone(&is_changed));
        tokio::spawn(async move {
            let mut cookies = Vec::new();
            while !is_changed.load(Ordering::Relaxed) {
                let answer = login(&server, PASSWORD).await;
                if answer.status == 200 {
                    cookies.push(cookie(&answer));
                }
            }
            cookies
        })
    };
    let logins: Vec<_> = (0..8).map(log_in).collect();
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "another horse" });
    let changed = ada.post("/api/auth/password", &body).await;
    is_changed.store(true, Ordering::Relaxed);
    assert_eq!(changed.status, 200, "{}", changed.body);
    let mut opened = 0;
    for login in logins {
        for cookie in login.await.unwrap() {
            assert_eq!(refresh(&server.client, &cookie).await.status, 401);
            opened += 1;
        }
    }
    assert!(opened > 0, "there were logins");
    assert_eq!(refresh(&server.client, &cookie(&changed)).await.status, 200);
}

async fn a_token_that_comes_twice_at_the_same_time_ends_the_session(server: TestServer) {
    let first = cookie(&register(&server).await);
    let (one, two) = tokio::join!(refresh(&server.client, &first), refresh(&server.client, &first));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "it is good once");
    let won = if one.status == 200 { one } else { two };
    assert_eq!(refresh(&server.client, &cookie(&won)).await.status, 401);
    // A logout that comes at the same time as a refresh leaves nothing that can be refreshed.
    let next = cookie(&login(&server, PASSWORD).await);
    let (refreshed, out) = tokio::join!(
        refresh(&server.client, &next),
        post(&server.client, "/api/auth/logout", &next)
    );
    assert_eq!(out.status, 204);
    if refreshed.status == 200 {
        assert_eq!(refresh(&server.client, &cookie(&refreshed)).await.status, 401);
    }
}

async fn a_user_has_so_many_sessions_and_no_more(server: TestServer) {
    let first = cookie(&register(&server).await);
    let second = cookie(&login(&server, PASSWORD).await);
    for _ in 0..19 {
        assert_eq!(login(&server, PASSWORD).await.status, 200);
    }
    assert_eq!(refresh(&server.client, &first).await.status, 401, "the oldest made room");
    assert_eq!(refresh(&server.client, &second).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_without_logging_anybody_out() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let database = TestDatabase::create(engine).await;
        let server = TestServer::start(&database.url, &[]).await;
        let token = register(&server).await.text("/accessToken");
        let new = ("JWT_SECRET", "p9XcR2vNqLw7ZtYb4KmJ8sHdG5fTaE1u");
        let previous = ("JWT_SECRET_PREVIOUS", JWT_SECRET);
        for (environment, status) in [(&[new, previous][..], 200), (&[new], 401)] {
            let server = TestServer::start(&database.url, environment).await;
            let ada = server.client.with_token(&token);
            assert_eq!(ada.get("/api/projects").await.status, status);
        }
        drop(server);
        database.remove().await;
    }
}
