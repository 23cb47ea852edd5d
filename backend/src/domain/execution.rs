//! Executions: a test, or a whole suite, performed once. The program writes them, clients read.

use super::resource::{Field, Resource};
use super::suite::SUITE;
use super::test::TEST;
use super::value::Kind;

/// From asked for to over; the last three are final.
const STATUSES: &[&str] = &["queued", "running", "passed", "failed", "cancelled"];

/// Steps and timeout are those that the test had when it was asked for.
pub static TEST_EXECUTION: Resource = Resource {
    noun: "test execution",
    schema: "TestExecution",
    table: "test_executions",
    path: "/api/executions",
    segment: "executions",
    parent: Some(&TEST),
    parent_column: "test_id",
    parent_name: "testId",
    writable: false,
    fields: &[
        Field::required("status", "status", Kind::Choice(STATUSES)).filtered(),
        Field::required(
            "suiteExecutionId",
            "suite_execution_id",
            Kind::Key("test_suite_executions"),
        )
        .nullable(),
        Field::required("steps", "steps", Kind::Steps),
        Field::required("timeoutSeconds", "timeout_seconds", Kind::Whole(1, 3600)),
        Field::required("startedAt", "started_at", Kind::Instant).nullable().sorted(),
        Field::required("finishedAt", "finished_at", Kind::Instant).nullable(),
        Field::required("results", "results", Kind::Object),
        Field::required("failure", "failure", Kind::Prose(2000)).nullable(),
    ],
};

/// Its tests are performed one after the other.
pub static SUITE_EXECUTION: Resource = Resource {
    noun: "suite execution",
    schema: "SuiteExecution",
    table: "test_suite_executions",
    path: "/api/suite-executions",
    segment: "executions",
    parent: Some(&SUITE),
    parent_column: "suite_id",
    parent_name: "suiteId",
    writable: false,
    fields: &[
        Field::required("status", "status", Kind::Choice(STATUSES)),
        Field::required("startedAt", "started_at", Kind::Instant).nullable(),
        Field::required("finishedAt", "finished_at", Kind::Instant).nullable(),
        Field::required("results", "results", Kind::Object),
        Field::required("failure", "failure", Kind::Prose(2000)).nullable(),
    ],
};
