//! Lists: in every order, page by page, filtered by values and by ranges.

use nomation::domain::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::TestServer;
use crate::resources::project;
use crate::tables::Tables;

on_both_engines![
    a_list_is_walked_page_by_page_in_every_order,
    executions_are_walked_by_their_start_with_those_that_wait,
    a_list_is_filtered_by_indexed_fields,
    a_page_of_large_records_ends_early_and_leads_on,
];

/// Follows `rel="next"` from `path` and gives back all keys, each page of at most two.
async fn walk(client: &Client, path: &str) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let items = page.body.as_array().unwrap();
        assert!(items.len() <= 2, "{path}");
        ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let link = page.header("link").split(", ").find(|link| link.ends_with("rel=\"next\""));
        next = link.map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    ids
}

async fn a_list_is_walked_page_by_page_in_every_order(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let list = format!("{}/elements", project(&ada).await);
    let mut made = Vec::new();
    for confidence in [0.5, 0.1, 0.5, 1.0, 0.0, 0.5, 0.3] {
        let body = json!({ "selector": "a", "elementType": "link", "confidence": confidence });
        let created = ada.post(&list, &body).await;
        made.push((confidence, created.text("/id")));
    }
    let ids = |made: &[(f64, String)]| made.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>();
    assert_eq!(walk(&ada, &format!("{list}?limit=2&sort=id")).await, ids(&made));
    let newest_first: Vec<_> = ids(&made).into_iter().rev().collect();
    assert_eq!(walk(&ada, &format!("{list}?limit=2")).await, newest_first);
    made.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(walk(&ada, &format!("{list}?limit=2&sort=confidence")).await, ids(&made));
    made.reverse();
    assert_eq!(walk(&ada, &format!("{list}?limit=2&sort=-confidence")).await, ids(&made));
    let within = |from: f64, to: f64| {
        let within = |(confidence, _): &&(f64, String)| (from..=to).contains(confidence);
        ids(&made.iter().filter(within).cloned().collect::<Vec<_>>())
    };
    for (query, mut wanted) in [
        ("confidenceFrom=0.5", within(0.5, 1.0)),
        ("confidenceTo=0.3&sort=-confidence", within(0.0, 0.3)),
        ("confidenceFrom=0.1&confidenceTo=0.5", within(0.1, 0.5)),
        ("confidence=0.5&discoveryState=discovered&sort=-id", within(0.5, 0.5)),
        ("confidenceFrom=0.6&confidenceTo=0.4", vec![]),
    ] {
        assert_eq!(walk(&ada, &format!("{list}?limit=2&{query}")).await, wanted, "{query}");
        if !query.contains("sort") {
            wanted.reverse();
            let up = format!("{list}?limit=2&sort=confidence&{query}");
            assert_eq!(walk(&ada, &up).await, wanted, "{query}");
        }
    }
    for (query, fault) in [
        ("sort=selector", "sort"),
        ("after=x", "after"),
        ("sort=confidence&after=x~y", "after"),
        ("selector=a", "selector"),
        ("sort=id&confidenceFrom=0", "sort"),
        ("sort=confidence&after=~01890000-0000-7000-8000-000000000000", "after"),
        ("discoveryStateFrom=stale", "discoveryStateFrom"),
    ] {
        let answer = ada.get(&format!("{list}?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.faults()), (422, vec![fault]), "{query}");
    }
    let all = "confidence=x&confidenceFrom=2&confidenceTo=-0.1&limit=0";
    let answer = ada.get(&format!("{list}?{all}")).await;
    assert_eq!(answer.faults(), ["confidence", "confidenceFrom", "confidenceTo", "limit"]);
}

async fn executions_are_walked_by_their_start_with_those_that_wait(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let test = ada.made(&format!("{}/tests", project(&ada).await), &json!({ "name": "t" })).await;
    let list = format!("{test}/executions");
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(ada.post(&list, &Value::Null).await.text("/id"));
    }
    let tables = Tables::at(&server.database_url).await;
    // Three have begun, the youngest first; four wait.
    let begun = [(5, 10), (3, 20), (1, 20)]
        .map(|(place, second)| (made[place].clone(), format!("2026-01-31T12:00:{second}Z")));
    for (id, instant) in &begun {
        tables.begin(id.parse().unwrap(), Timestamp::parse(instant).unwrap()).await;
    }
    let waiting = [0, 2, 4, 6].map(|place| made[place].clone());
    let up = [5, 1, 3].map(|place| made[place].clone()).into_iter().chain(waiting);
    let up: Vec<String> = up.collect();
    let down: Vec<String> = up.iter().rev().cloned().collect();
    for limit in [1, 2] {
        let by = |sort: &str| format!("{list}?limit={limit}&{sort}");
        assert_eq!(walk(&ada, &by("sort=startedAt")).await, up);
        assert_eq!(walk(&ada, &by("sort=-startedAt")).await, down);
        assert_eq!(walk(&ada, &by("sort=startedAt&status=running")).await, up[..3]);
        let range = "startedAtFrom=2026-01-31T12:00:20Z&sort=startedAt";
        assert_eq!(walk(&ada, &by(range)).await, up[1..3], "what waits is in no range");
        let range = "startedAtTo=2026-01-31T13:00:10%2B01:00";
        assert_eq!(walk(&ada, &by(range)).await, up[..1]);
    }
    let beyond = format!("{list}?startedAtTo=2027-01-01T00:00:00Z&after=~{}", made[6]);
    assert_eq!(ada.get(&beyond).await.faults(), ["after"]);
}

async fn a_list_is_filtered_by_indexed_fields(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let project = project(&ada).await;
    let urls = format!("{project}/urls");
    let made = ada.post(&urls, &json!({ "url": "http://a/", "analyzed": true })).await;
    let source = made.text("/id");
    ada.made(&urls, &json!({ "url": "http://b/" })).await;
    assert_eq!(ada.get(&format!("{urls}?analyzed=true")).await.body, json!([made.body]));
    assert_eq!(ada.get(&format!("{urls}?analyzed=maybe")).await.status, 422);

    let flow = json!({ "name": "f", "kind": "form", "loginUrl": "http://a/" });
    let flow = ada.post(&format!("{project}/auth-flows"), &flow).await.text("/id");
    for segment in ["page-states", "browser-sessions"] {
        let list = format!("{project}/{segment}");
        let mut of_flow = json!({ "name": "s", "authFlowId": flow });
        if segment == "page-states" {
            of_flow["url"] = json!("http://a/");
        }
        let made = ada.post(&list, &of_flow).await;
        of_flow["authFlowId"] = Value::Null;
        ada.made(&list, &of_flow).await;
        assert_eq!(ada.get(&format!("{list}?authFlowId={flow}")).await.body, json!([made.body]));
        let none = ada.get(&format!("{list}?authFlowId={source}")).await;
        assert_eq!((none.status.as_u16(), none.body), (200, json!([])), "{segment}");
        assert_eq!(ada.get(&format!("{list}?authFlowId=x")).await.faults(), ["authFlowId"]);
    }
    let state = json!({ "name": "s", "url": "http://a/" });
    let page_state = ada.post(&format!("{project}/page-states"), &state).await.text("/id");

    let elements = format!("{project}/elements");
    for state in ["stale", "verified"] {
        let of = |id: &String| (state == "stale").then(|| id.clone());
        let body = json!({
            "selector": "a", "elementType": "link", "discoveryState": state,
            "sourceUrlId": of(&source), "authFlowId": of(&flow), "pageStateId": of(&page_state),
        });
        ada.made(&elements, &body).await;
    }
    for query in [
        format!("sourceUrlId={source}"),
        format!("authFlowId={flow}"),
        format!("pageStateId={page_state}"),
        format!("pageStateId={page_state}&authFlowId={flow}&sort=confidence"),
        "discoveryState=stale".to_owned(),
        format!("discoveryState=stale&sourceUrlId={source}&sort=-confidence"),
    ] {
        let found = ada.get(&format!("{elements}?{query}")).await;
        assert_eq!(found.body.as_array().unwrap().len(), 1, "{query}: {}", found.body);
        assert_eq!(found.body[0]["discoveryState"], "stale");
    }
    // What an element came from may go; the element stays.
    assert_eq!(ada.delete(made.header("location")).await.status, 204);
    let found = ada.get(&format!("{elements}?discoveryState=stale")).await;
    assert!(found.body[0]["sourceUrlId"].is_null());
}

/// Two hundred of these would take three gigabytes.
async fn a_page_of_large_records_ends_early_and_leads_on(server: TestServer) {
    let ada = server.client.registered("ada@example.com").await;
    let list = format!("{}/page-states", project(&ada).await);
    let state = json!({ "a": vec![json!([]); 200_000] });
    let body = json!({ "name": "s", "url": "http://a/", "state": state });
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(ada.post(&list, &body).await.text("/id"));
    }
    let page = ada.get(&format!("{list}?limit=200")).await;
    let shown = page.body.as_array().unwrap().len();
    assert!((1..4).contains(&shown), "{shown}");
    assert_eq!(walk(&ada, &format!("{list}?limit=2&sort=id")).await, made);
}
