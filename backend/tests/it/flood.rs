//! A login flood is bounded and hurts nobody else.

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::TestServer;

on_both_engines![a_login_flood_is_turned_away_and_the_rest_goes_on,];

async fn a_login_flood_is_turned_away_and_the_rest_goes_on(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    // More than may hash and wait, on any machine that runs this.
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut flood = JoinSet::new();
    for _ in 0..cores * 50 {
        let client = server.client.clone();
        flood.spawn(async move {
            let body = json!({ "email": "ada@example.com", "password": "wrong horse" });
            client.post("/api/auth/login", &body).await.status.as_u16()
        });
    }
    let mut statuses = vec![flood.join_next().await.unwrap().unwrap()];
    assert_eq!(ada.get("/api/projects").await.status, 200);
    let waiting = flood.len();
    while let Some(status) = flood.join_next().await {
        statuses.push(status.unwrap());
    }
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert!(count(503) > 0, "some are turned away");
    assert!(count(401) > 1, "those inside are answered");
    assert_eq!(count(503) + count(401), statuses.len(), "{statuses:?}");
    assert!(waiting > 1, "others were answered while logins still waited");

    let body = json!({ "email": "ada@example.com", "password": "correct horse" });
    assert_eq!(server.client.post("/api/auth/login", &body).await.status, 200, "and it passes");
}
