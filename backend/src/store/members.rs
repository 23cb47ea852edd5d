//! Statements on the members of suites.

use sqlx::Row as _;
use uuid::Uuid;

use super::{Store, StoreError, on_pool, sql};

sql! {
    const LIST: &str = "SELECT test_id FROM test_suite_tests WHERE suite_id = $1 ORDER BY position";
    const CLEAR: &str = "DELETE FROM test_suite_tests WHERE suite_id = $1";
    /// A test counts only where it is of the suite's project.
    const ADD: &str = "\
        INSERT INTO test_suite_tests (suite_id, test_id, position) \
        SELECT test_suites.id, tests.id, $3 FROM test_suites \
        JOIN tests ON tests.project_id = test_suites.project_id \
        WHERE test_suites.id = $1 AND tests.id = $2";
}

impl Store {
    /// The tests of a suite, in order. The caller has asked for its owner.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn members(&self, suite: Uuid) -> Result<Vec<Uuid>, StoreError> {
        let members = on_pool!(self, pool => sqlx::query(LIST)
            .bind(suite)
            .fetch_all(pool)
            .await?
            .iter()
            .map(|row| row.try_get("test_id"))
            .collect::<Result<_, _>>())?;
        Ok(members)
    }

    /// Makes `tests`, none of them twice, the tests of a suite; gives back the places of those that
    /// are none of its project, and then changes nothing.
    ///
    /// # Errors
    /// A failure of the database; then nothing has changed.
    pub async fn replace_members(
        &self,
        suite: Uuid,
        tests: &[Uuid],
    ) -> Result<Vec<usize>, StoreError> {
        on_pool!(self, pool => {
            let mut transaction = pool.begin_with(self.begin()).await?;
            sqlx::query(CLEAR).bind(suite).execute(&mut *transaction).await?;
            let mut strangers = Vec::new();
            for ((place, test), position) in tests.iter().enumerate().zip(0_i32..) {
                let added = sqlx::query(ADD)
                    .bind(suite)
                    .bind(test)
                    .bind(position)
                    .execute(&mut *transaction)
                    .await?;
                if added.rows_affected() == 0 {
                    strangers.push(place);
                }
            }
            if strangers.is_empty() {
                transaction.commit().await?;
            }
            Ok(strangers)
        })
    }
}
