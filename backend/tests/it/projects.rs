//! Projects: created, listed, read, changed and deleted, by their owner alone.

use serde_json::json;

use crate::harness::TestServer;

on_both_engines![
    a_project_lives_from_creation_to_deletion,
    nobody_sees_the_project_of_another,
    a_list_is_bounded_and_newest_first,
    all_faults_of_a_project_are_told_at_once,
    text_of_any_script_comes_back_as_it_went_in,
];

async fn a_project_lives_from_creation_to_deletion(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let created =
        ada.post("/api/projects", &json!({ "name": " Shop ", "description": "line\nline" })).await;
    assert_eq!(created.status, 201, "{}", created.body);
    let path = created.header("location");
    assert_eq!(path, format!("/api/projects/{}", created.text("/id")));
    assert_eq!(created.text("/name"), "Shop");
    assert_eq!(created.text("/createdAt"), created.text("/updatedAt"));
    assert!(created.body.get("userId").is_none());
    assert_eq!(ada.get(path).await.body, created.body, "what is stored is what was answered");

    let renamed = ada.patch(path, &json!({ "name": "Store" })).await;
    assert_eq!(renamed.status, 200);
    assert_eq!(
        (renamed.text("/name"), renamed.text("/description")),
        ("Store".into(), "line\nline".into())
    );
    assert!(renamed.text("/updatedAt") > renamed.text("/createdAt"));
    let cleared = ada.patch(path, &json!({ "description": "" })).await;
    assert_eq!(
        (cleared.text("/name"), cleared.text("/description")),
        ("Store".into(), String::new())
    );
    assert_eq!(ada.get(path).await.body, cleared.body);

    let deleted = ada.delete(path).await;
    assert_eq!((deleted.status.as_u16(), &deleted.body), (204, &serde_json::Value::Null));
    for gone in [ada.get(path).await, ada.delete(path).await, ada.patch(path, &json!({})).await] {
        assert_eq!(gone.status, 404);
    }
}

async fn nobody_sees_the_project_of_another(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let bob = server.client.registered("bob@example.com").await;
    let created = ada.post("/api/projects", &json!({ "name": "Secret" })).await;
    let path = created.header("location");
    let absent = bob.get("/api/projects/01890000-0000-7000-8000-000000000000").await;
    for refused in [
        bob.get(path).await,
        bob.patch(path, &json!({ "name": "Mine" })).await,
        bob.delete(path).await,
    ] {
        assert_eq!((refused.status, &refused.body), (absent.status, &absent.body));
        assert_eq!(refused.status, 404);
    }
    assert_eq!(bob.get("/api/projects").await.body, json!([]));
    assert_eq!(ada.get(path).await.body, created.body, "and nothing has changed");
}

async fn a_list_is_bounded_and_newest_first(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    for number in 0..52 {
        let created = ada.post("/api/projects", &json!({ "name": format!("p{number}") })).await;
        assert_eq!(created.status, 201);
    }
    let names = async |query: &str| -> Vec<String> {
        let list = ada.get(&format!("/api/projects{query}")).await;
        assert_eq!(list.status, 200);
        list.body
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = names("?limit=200").await;
    assert_eq!(all, (0..52).rev().map(|number| format!("p{number}")).collect::<Vec<_>>());
    assert_eq!(names("").await, all[..50]);
    assert_eq!(names("?limit=2").await, all[..2]);
    for wrong in ["0", "201", "-1", "many", "", "1e2", "99999999999999999999"] {
        let answer = ada.get(&format!("/api/projects?limit={wrong}")).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec!["limit"]), "{wrong:?}");
    }
    assert_eq!(ada.get("/api/projects?limit=1&limit=2").await.status, 400);
}

async fn all_faults_of_a_project_are_told_at_once(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let created = ada.post("/api/projects", &json!({ "name": "x", "description": null })).await;
    assert_eq!((created.status.as_u16(), created.text("/description")), (201, String::new()));
    let path = created.header("location");
    for (body, faults) in [
        (json!({ "description": 1 }), vec!["#/name", "#/description"]),
        (json!({ "name": " ", "description": "x".repeat(2001) }), vec!["#/name", "#/description"]),
        (json!({ "name": "a\u{0}", "description": "\u{0}" }), vec!["#/name", "#/description"]),
        (json!({ "name": "x".repeat(101) }), vec!["#/name"]),
    ] {
        let answer = ada.post("/api/projects", &body).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (422, faults), "{body}");
    }
    let nulls = ada.patch(path, &json!({ "name": null, "description": null })).await;
    assert_eq!((nulls.status.as_u16(), nulls.faults()), (422, vec!["#/name", "#/description"]));
    assert_eq!(ada.get(path).await.body, created.body);
}

async fn text_of_any_script_comes_back_as_it_went_in(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    for name in ["Zürich", "東京", "🦀🦀", "o'; DROP TABLE projects; --", "%_\\\"", "\u{202e}rtl"]
    {
        let created = ada.post("/api/projects", &json!({ "name": name })).await;
        assert_eq!(created.text("/name"), name);
        assert_eq!(ada.get(created.header("location")).await.text("/name"), name);
    }
}
