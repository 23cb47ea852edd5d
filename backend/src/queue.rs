//! The queue's server: a stream in Redis that tells workers which jobs there are.
//!
//! The table of jobs is the truth ([`crate::store`]); the stream only spares workers the asking.
//! An accepted job is announced ([`Queue::announce`]); a worker of the group reads it
//! ([`Queue::next`]), takes from the table the job whose turn it is, which may be another, and says
//! when that is over ([`Queue::done`]). A message whose worker was killed stays pending, and
//! another claims it once it has been still for as long as a lease lasts. What Redis loses, or
//! never heard of, workers find in the table.
//!
//! # Why
//! All workers share one name in the group: whose a job is, the row's lease says, so a name of its
//! own per worker would only leave names behind.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{RedisError, Value, from_redis_value};
use uuid::Uuid;

/// The key of the stream.
pub const STREAM: &str = "nomation:jobs";
const GROUP: &str = "workers";
const CONSUMER: &str = "worker";
/// Most messages that are kept; of what is cut off, the table still knows.
const MESSAGES_MAX: u32 = 100_000;
/// How long Redis may take to answer. Somebody waits for it, and the table is there.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// How long a worker waits for a message.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The stream of jobs.
///
/// Its connections are kept, and repaired in the background, so that asking often costs the server
/// nothing.
#[derive(Clone)]
pub struct Queue {
    commands: ConnectionManager,
    /// A connection of its own: on the other one, everybody would wait with the worker.
    waiting: ConnectionManager,
}

impl fmt::Debug for Queue {
    /// Shows nothing of the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

/// One announcement of a job, in the hands of this worker.
#[derive(Debug)]
pub struct Message {
    /// Its place in the stream.
    id: String,
    /// Whose row to take.
    pub job: Uuid,
}

/// An entry of the stream: its place, and names and values by turns.
type Entry = (String, Vec<String>);

impl Queue {
    /// A queue on `client`'s server, which need not be there yet. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the client's settings contradict each other.
    pub fn new(client: redis::Client) -> Result<Self, RedisError> {
        let settings = |answer: Duration| {
            ConnectionManagerConfig::new()
                .set_connection_timeout(Some(ANSWER_MAX))
                .set_response_timeout(Some(answer))
                .set_number_of_retries(1)
                .set_max_delay(ANSWER_MAX / 2)
        };
        let open =
            |client, answer| ConnectionManager::new_lazy_with_config(client, settings(answer));
        Ok(Self {
            commands: open(client.clone(), ANSWER_MAX)?,
            waiting: open(client, WAIT_MAX + ANSWER_MAX)?,
        })
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), RedisError> {
        redis::cmd("PING").exec_async(&mut self.commands.clone()).await
    }

    /// Tells the workers of a job. Redis away is no reason to refuse one: it is in the table.
    pub async fn announce(&self, job: Uuid) {
        let mut add = redis::cmd("XADD");
        add.arg(STREAM).arg(&["MAXLEN", "~"]).arg(MESSAGES_MAX).arg("*");
        add.arg("job").arg(job.to_string());
        let mut commands = self.commands.clone();
        let added = tokio::time::timeout(ANSWER_MAX, add.exec_async(&mut commands)).await;
        if !matches!(added, Ok(Ok(()))) {
            tracing::warn!(%job, "a job is not announced; workers find it in the table");
        }
    }

    /// The next message, if there is one within a second: first one that a worker left behind for
    /// longer than `lease`, then a new one.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn next(&self, lease: Duration) -> Result<Option<Message>, RedisError> {
        match self.read(lease).await {
            // The stream is new, or Redis lost it.
            Err(error) if error.code() == Some("NOGROUP") => {
                let mut create = redis::cmd("XGROUP");
                create.arg("CREATE").arg(STREAM).arg(GROUP).arg(0).arg("MKSTREAM");
                match create.exec_async(&mut self.commands.clone()).await {
                    // Another worker was faster.
                    Err(error) if error.code() == Some("BUSYGROUP") => {}
                    done => done?,
                }
                Ok(None)
            }
            read => read,
        }
    }

    async fn read(&self, lease: Duration) -> Result<Option<Message>, RedisError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        let still = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        claim.arg(STREAM).arg(GROUP).arg(CONSUMER).arg(still).arg("0-0").arg("COUNT").arg(1);
        let claimed: Vec<Value> = claim.query_async(&mut self.commands.clone()).await?;
        if let Some(entries) = claimed.into_iter().nth(1) {
            let entries: Vec<Entry> = from_redis_value(entries)?;
            if let Some(entry) = entries.into_iter().next() {
                return self.message(entry).await;
            }
        }
        let mut read = redis::cmd("XREADGROUP");
        let wait = u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX);
        read.arg("GROUP").arg(GROUP).arg(CONSUMER).arg("COUNT").arg(1).arg("BLOCK").arg(wait);
        read.arg("STREAMS").arg(STREAM).arg(">");
        let read: Option<Vec<(String, Vec<Entry>)>> =
            read.query_async(&mut self.waiting.clone()).await?;
        let mut entries = read.into_iter().flatten().flat_map(|(_stream, entries)| entries);
        match entries.next() {
            Some(entry) => self.message(entry).await,
            None => Ok(None),
        }
    }

    /// Reads an entry; one that is no announcement is thrown away.
    async fn message(&self, (id, fields): Entry) -> Result<Option<Message>, RedisError> {
        let job = fields.chunks(2).find_map(|pair| match pair {
            [name, value] if name == "job" => value.parse().ok(),
            _ => None,
        });
        let Some(job) = job else {
            self.remove(&id).await?;
            return Ok(None);
        };
        Ok(Some(Message { id, job }))
    }

    /// The job of a message is over. Should Redis not hear it, somebody else reads the message and
    /// finds the job over.
    pub async fn done(&self, message: &Message) {
        if self.remove(&message.id).await.is_err() {
            tracing::debug!(job = %message.job, "a message that is done stays in the stream");
        }
    }

    async fn remove(&self, id: &str) -> Result<(), RedisError> {
        let mut both = redis::pipe();
        both.cmd("XACK").arg(STREAM).arg(GROUP).arg(id).ignore();
        both.cmd("XDEL").arg(STREAM).arg(id).ignore();
        both.exec_async(&mut self.commands.clone()).await
    }
}
