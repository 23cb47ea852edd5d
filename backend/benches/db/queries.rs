//! Which queries are timed, and about whom they are.

use std::future::Future;
use std::pin::Pin;

use nomation::domain::resource::Resource;
use nomation::domain::user::{Email, UserId};
use nomation::domain::value::Value;
use nomation::domain::{
    RESOURCES, auth_flow, browser_session, element, execution, page_state, project, project_url,
    suite, test,
};
use nomation::seed::EMAIL;
use nomation::store::{Filter, Page, Relation, Store};
use uuid::Uuid;

/// One query, as a request makes it.
pub(crate) struct Query {
    pub(crate) title: &'static str,
    pub(crate) run: Run,
}

/// Runs a query for the `turn`th time.
type Run = for<'a> fn(&'a Store, &'a Subjects, usize) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Whom queries are about: at even turns the large customer, else somebody else.
pub(crate) struct Subjects {
    user: UserId,
    projects: Vec<Uuid>,
    tests: Vec<Uuid>,
    executions: Vec<Uuid>,
    suites: Vec<Uuid>,
    urls: Vec<Uuid>,
    flows: Vec<Uuid>,
    states: Vec<Uuid>,
    /// In the middle of the large customer's elements.
    place: Uuid,
}

/// How many others there are.
const OTHERS: usize = 100;

impl Subjects {
    pub(crate) async fn find(store: &Store) -> Self {
        let email = Email::parse(EMAIL).unwrap();
        let user = store.credentials(&email).await.unwrap().unwrap().user.id;
        let keys = async |sql: &'static str| -> Vec<Uuid> {
            let all: Vec<Uuid> = match store {
                Store::Sqlite(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
                Store::Postgres(pool) => sqlx::query_scalar(sql).fetch_all(pool).await.unwrap(),
            };
            // Spread over all of them, the large customer's first.
            let step = (all.len() / OTHERS).max(1);
            all.into_iter().step_by(step).collect()
        };
        let elements = keys("SELECT id FROM project_elements ORDER BY id").await;
        Self {
            user,
            projects: keys("SELECT id FROM projects ORDER BY id").await,
            tests: keys("SELECT id FROM tests ORDER BY id").await,
            executions: keys("SELECT id FROM test_executions ORDER BY id").await,
            suites: keys("SELECT id FROM test_suites ORDER BY id").await,
            urls: keys("SELECT id FROM project_urls ORDER BY id").await,
            flows: keys("SELECT id FROM auth_flows ORDER BY id").await,
            states: keys("SELECT id FROM page_states ORDER BY id").await,
            place: elements[elements.len() / 2],
        }
    }
}

fn one(keys: &[Uuid], turn: usize) -> Uuid {
    if turn.is_multiple_of(2) { keys[0] } else { keys[turn % keys.len()] }
}

/// A page of a list, with one row more than a page has, as the API asks for it.
async fn list(
    (store, resource): (&Store, &'static Resource),
    parent: Uuid,
    sort: &str,
    filter: Option<(&str, Value)>,
    after: Option<Uuid>,
) {
    let page = Page {
        limit: 50,
        sort: resource.field(sort.trim_start_matches('-')),
        descending: sort.starts_with('-') || sort.is_empty(),
        filters: filter
            .into_iter()
            .map(|(name, value)| Filter {
                field: resource.field(name).unwrap(),
                relation: if name == sort.trim_start_matches('-') {
                    Relation::From
                } else {
                    Relation::Is
                },
                value,
            })
            .collect(),
        after: after.map(|id| (None, id)),
    };
    store.list(resource, parent, page).await.unwrap();
}

fn id(id: Uuid) -> Value {
    Value::Id(Some(id))
}

fn text(word: &str) -> Value {
    Value::Text(Some(word.to_owned()))
}

/// A query whose arguments are worked out from the subjects.
macro_rules! query {
    ($title:literal, |$store:ident, $of:ident, $turn:ident| $run:expr) => {
        Query { title: $title, run: |$store, $of, $turn| Box::pin(async move { $run.await }) }
    };
}

pub(crate) static QUERIES: [Query; 23] = [
    query!("projects of a user", |s, of, _turn| {
        list((s, &project::PROJECT), of.user.as_uuid(), "", None, None)
    }),
    query!("URLs of a project", |s, of, turn| {
        list((s, &project_url::PROJECT_URL), one(&of.projects, turn), "", None, None)
    }),
    query!("URLs not analyzed", |s, of, turn| {
        let filter = Some(("analyzed", Value::Flag(Some(false))));
        list((s, &project_url::PROJECT_URL), one(&of.projects, turn), "", filter, None)
    }),
    query!("elements, newest first", |s, of, turn| {
        list((s, &element::ELEMENT), one(&of.projects, turn), "", None, None)
    }),
    query!("elements, a page in the middle", |s, of, turn| {
        list((s, &element::ELEMENT), one(&of.projects, turn), "", None, Some(of.place))
    }),
    query!("elements by confidence", |s, of, turn| {
        list((s, &element::ELEMENT), one(&of.projects, turn), "-confidence", None, None)
    }),
    query!("elements of some confidence", |s, of, turn| {
        let filter = Some(("confidence", Value::Number(Some(0.5))));
        list((s, &element::ELEMENT), one(&of.projects, turn), "confidence", filter, None)
    }),
    query!("elements just discovered", |s, of, turn| {
        let filter = Some(("discoveryState", text("discovered")));
        list((s, &element::ELEMENT), one(&of.projects, turn), "", filter, None)
    }),
    query!("elements of a page", |s, of, turn| {
        let filter = Some(("sourceUrlId", id(one(&of.urls, turn))));
        list((s, &element::ELEMENT), one(&of.projects, turn), "", filter, None)
    }),
    query!("elements of a page state", |s, of, turn| {
        let filter = Some(("pageStateId", id(one(&of.states, turn))));
        list((s, &element::ELEMENT), one(&of.projects, turn), "", filter, None)
    }),
    query!("elements of an auth flow", |s, of, turn| {
        let filter = Some(("authFlowId", id(one(&of.flows, turn))));
        list((s, &element::ELEMENT), one(&of.projects, turn), "", filter, None)
    }),
    query!("auth flows of a project", |s, of, turn| {
        list((s, &auth_flow::AUTH_FLOW), one(&of.projects, turn), "", None, None)
    }),
    query!("page states of a project", |s, of, turn| {
        list((s, &page_state::PAGE_STATE), one(&of.projects, turn), "", None, None)
    }),
    query!("page states of an auth flow", |s, of, turn| {
        let filter = Some(("authFlowId", id(one(&of.flows, turn))));
        list((s, &page_state::PAGE_STATE), one(&of.projects, turn), "", filter, None)
    }),
    query!("browser sessions", |s, of, turn| {
        list((s, &browser_session::BROWSER_SESSION), one(&of.projects, turn), "", None, None)
    }),
    query!("tests of a project", |s, of, turn| {
        list((s, &test::TEST), one(&of.projects, turn), "", None, None)
    }),
    query!("executions of a test", |s, of, turn| {
        list((s, &execution::TEST_EXECUTION), one(&of.tests, turn), "", None, None)
    }),
    query!("executions by start", |s, of, turn| {
        list((s, &execution::TEST_EXECUTION), one(&of.tests, turn), "-startedAt", None, None)
    }),
    query!("executions that are queued", |s, of, turn| {
        let filter = Some(("status", text("queued")));
        list((s, &execution::TEST_EXECUTION), one(&of.tests, turn), "", filter, None)
    }),
    query!("suites of a project", |s, of, turn| {
        list((s, &suite::SUITE), one(&of.projects, turn), "", None, None)
    }),
    query!("executions of a suite", |s, of, turn| {
        list((s, &execution::SUITE_EXECUTION), one(&of.suites, turn), "", None, None)
    }),
    query!("one execution, if it is mine", |s, of, turn| async move {
        s.read(&execution::TEST_EXECUTION, of.user, one(&of.executions, turn)).await.unwrap();
    }),
    query!("length of the queue", |s, _of, _turn| async move {
        s.depth().await.unwrap();
    }),
];

/// The bench is of no use for resources that it forgets.
const _: () = assert!(RESOURCES.len() == 10, "a resource came: time its lists, too");
