//! Rooms in AWS DynamoDB, which several brokers may share.
//!
//! Every change is one conditional write, so two brokers never both own an id, and a room whose
//! time is over cannot be changed back to life. Rooms are read with strong consistency. The table's
//! time-to-live deletes what has long been over, days late at times; reading never waits for it.
//!
//! A write whose answer was lost is sent again by the client library, and finds its own traces: a
//! condition that fails because of them is told apart by what stands in the table.

mod item;
mod journal;
mod table;

use std::{collections::HashMap, error::Error};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        put_item::PutItemError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    primitives::Blob,
    types::{
        AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure, Select,
    },
};
use futures_util::future::BoxFuture;
use halyard_protocol::{access::Access, ids::RoomId};

pub use self::table::{TableError, create_table};
use self::{
    item::{BANNED, DELETED_AT, EXPIRES_AT, OPERATOR, ROOM_ID, VIEWER, deleted_at, number, text},
    table::{BY_OWNER, check_table},
};
use super::{Found, MAX_BANNED, RoomRecord, RoomStore, StoreError, shut_out};
use crate::{
    aws::{OPERATION_WITHIN, outage, said},
    breaker::{Failed, Fuse},
    identity::Subject,
    secret::TokenHash,
};

/// Records that one call may ask for (the service's limit).
const BATCH: usize = 100;
/// Rounds of asking for what a batch left out, or of writing a list that others write, too.
const ROUNDS: usize = 8;

/// What every item of the table starts with, so that a condition can be written down.
type Item = HashMap<String, AttributeValue>;

/// One table.
#[derive(Debug)]
pub struct DynamoStore {
    client: Client,
    table: String,
    expires_by_itself: bool,
    fuse: Fuse,
}

impl DynamoStore {
    /// Uses a table that is there, after looking that it has the right shape.
    pub async fn open(config: &SdkConfig, table: &str) -> Result<Self, TableError> {
        let client = Client::new(config);
        let expires_by_itself = check_table(&client, table).await?;
        if !expires_by_itself {
            tracing::warn!(
                table,
                "the table has no time-to-live on {DELETED_AT}, so the broker reads all of it every \
                 minute to forget ended rooms; `halyard-server create-table` turns it on"
            );
        }
        let fuse = Fuse::new("DynamoDB", OPERATION_WITHIN);
        Ok(Self { client, table: table.to_owned(), expires_by_itself, fuse })
    }

    /// Boxed: the library's futures have some 20 KiB, and whoever waits would carry them along.
    fn call<'a, T, E>(
        &'a self,
        work: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, CallError<E>>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let named = |failed: Failed<SdkError<E, HttpResponse>>| match failed {
            Failed::Unavailable { retry_after, why } => {
                CallError::Store(StoreError::Unavailable { retry_after, why })
            }
            Failed::Answered(error) => {
                let why = said(&error);
                match error {
                    SdkError::ServiceError(answer)
                        if answer.err().code() == Some("ConditionalCheckFailedException") =>
                    {
                        CallError::Condition(answer.into_err())
                    }
                    _ => CallError::Store(StoreError::Backend(why)),
                }
            }
        };
        Box::pin(async move { self.fuse.call(work, outage).await.map_err(named) })
    }

    /// How many live rooms an owner has, as far as the index knows, counted up to `most`.
    async fn count(&self, owner: &Subject, most: usize, now: u64) -> Result<usize, StoreError> {
        let (mut count, mut next) = (0, None);
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_OWNER)
                .select(Select::Count)
                .key_condition_expression("created_by = :owner AND expires_at > :now")
                .expression_attribute_values(":owner", text(owner.as_str()))
                .expression_attribute_values(":now", number(now))
                .set_exclusive_start_key(next);
            let page = self.call(query.send()).await?;
            count += usize::try_from(page.count).unwrap_or_default();
            next = page.last_evaluated_key;
            if next.is_none() || count >= most {
                return Ok(count);
            }
        }
    }

    /// An update of a live room. The names `#expires` and the value `:now` are taken.
    fn update(&self, id: &RoomId, expression: &str, now: u64) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(ROOM_ID, text(id.as_str()))
            .update_expression(expression)
            .condition_expression("attribute_exists(room_id) AND #expires > :now")
            .expression_attribute_names("#expires", EXPIRES_AT)
            .expression_attribute_values(":now", number(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    /// The record after an update; `Err(Some(…))` is the record that did not meet the condition.
    async fn updated(
        &self,
        update: UpdateItemFluentBuilder,
    ) -> Result<Result<RoomRecord, Option<RoomRecord>>, StoreError> {
        match self.call(update.send()).await {
            Ok(done) => Ok(Ok(item::read(&done.attributes.unwrap_or_default())?)),
            Err(CallError::Condition(UpdateItemError::ConditionalCheckFailedException(failed))) => {
                Ok(Err(failed.item.as_ref().map(item::read).transpose()?))
            }
            Err(CallError::Condition(_)) => Ok(Err(None)),
            Err(CallError::Store(error)) => Err(error),
        }
    }

    async fn read(&self, id: &RoomId) -> Result<Option<RoomRecord>, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key(ROOM_ID, text(id.as_str()))
            .consistent_read(true);
        let item = self.call(get.send()).await?.item;
        item.as_ref().map(item::read).transpose()
    }

    /// The records of these ids, those of them that are there.
    async fn read_all(&self, ids: &[String]) -> Result<Vec<RoomRecord>, StoreError> {
        let mut found = Vec::new();
        for ids in ids.chunks(BATCH) {
            let keys = ids.iter().map(|id| HashMap::from([(ROOM_ID.to_owned(), text(id))]));
            let asked =
                KeysAndAttributes::builder().set_keys(Some(keys.collect())).consistent_read(true);
            let asked = asked.build().map_err(|error| StoreError::Backend(error.to_string()))?;
            let mut open = HashMap::from([(self.table.clone(), asked)]);
            for round in 0.. {
                let batch = self.client.batch_get_item().set_request_items(Some(open));
                let answer = self.call(batch.send()).await?;
                for item in answer.responses.unwrap_or_default().values().flatten() {
                    found.push(item::read(item)?);
                }
                open = answer.unprocessed_keys.unwrap_or_default();
                if open.is_empty() {
                    break;
                }
                if round == ROUNDS {
                    return Err(StoreError::Backend("a batch is never read to the end".into()));
                }
            }
        }
        Ok(found)
    }
}

/// Why a call to the table gave nothing.
enum CallError<E> {
    /// Its condition was not met.
    Condition(E),
    /// It failed.
    Store(StoreError),
}

impl<E> From<CallError<E>> for StoreError {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Condition(_) => Self::Backend("a condition that was not asked".to_owned()),
            CallError::Store(error) => error,
        }
    }
}

#[async_trait]
impl RoomStore for DynamoStore {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        if self.count(&room.owner, most, now).await? >= most {
            return Err(StoreError::TooMany { most });
        }
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::write(room)))
            .condition_expression("attribute_not_exists(room_id) OR #expires <= :now")
            .expression_attribute_names("#expires", EXPIRES_AT)
            .expression_attribute_values(":now", number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match self.call(put.send()).await {
            Ok(_) => Ok(true),
            Err(CallError::Condition(error)) => {
                let there = match error {
                    PutItemError::ConditionalCheckFailedException(failed) => {
                        failed.item.as_ref().map(item::read).transpose()?
                    }
                    _ => None,
                };
                // Written by an attempt of this very call whose answer was lost: tokens are random,
                // so nobody else has these.
                Ok(there.is_some_and(|there| there == *room))
            }
            Err(CallError::Store(error)) => Err(error),
        }
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        Ok(match self.read(id).await? {
            None => Found::Absent,
            Some(room) if room.is_expired(now) => Found::Expired,
            Some(room) => Found::Live(room),
        })
    }

    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        let update = self
            .update(id, "SET #expires = :end, #deleted = :deleted", now)
            .expression_attribute_names("#deleted", DELETED_AT)
            .expression_attribute_values(":end", number(expires_at))
            .expression_attribute_values(":deleted", number(deleted_at(expires_at)));
        self.updated(update).await?.map_err(|_| StoreError::Gone)
    }

    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        let name = match access {
            Access::Operator => OPERATOR,
            Access::Viewer => VIEWER,
            Access::Admin => return Err(super::no_token_to_rotate()),
        };
        let update = self
            .update(id, "SET #token = :token", now)
            .expression_attribute_names("#token", name)
            .expression_attribute_values(
                ":token",
                AttributeValue::B(Blob::new(token.as_bytes().to_vec())),
            );
        self.updated(update).await?.map_err(|_| StoreError::Gone)
    }

    async fn ban(
        &self,
        id: &RoomId,
        subject: &Subject,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        // Mostly there is room, and then those who ban at once do not disturb each other.
        let one = AttributeValue::L(vec![text(subject.as_str())]);
        let append = self
            .update(id, "SET #banned = list_append(#banned, :one)", now)
            .condition_expression(
                "attribute_exists(room_id) AND #expires > :now AND size(#banned) < :most AND NOT \
                 contains(#banned, :subject)",
            )
            .expression_attribute_names("#banned", BANNED)
            .expression_attribute_values(":one", one)
            .expression_attribute_values(":subject", text(subject.as_str()))
            .expression_attribute_values(":most", number(MAX_BANNED as u64));
        let mut there = match self.updated(append).await? {
            Ok(room) => return Ok(room),
            Err(there) => there,
        };
        for _ in 0..ROUNDS {
            let room = there.filter(|room| !room.is_expired(now)).ok_or(StoreError::Gone)?;
            if room.is_banned(subject) {
                return Ok(room);
            }
            let mut new = room.clone();
            shut_out(&mut new, subject);
            let replace = self
                .update(id, "SET #banned = :new", now)
                .condition_expression(
                    "attribute_exists(room_id) AND #expires > :now AND #banned = :old",
                )
                .expression_attribute_names("#banned", BANNED)
                .expression_attribute_values(":old", item::subjects(&room.banned))
                .expression_attribute_values(":new", item::subjects(&new.banned));
            there = match self.updated(replace).await? {
                Ok(room) => return Ok(room),
                Err(there) => there,
            };
        }
        Err(StoreError::Backend("too many shut somebody out at once".to_owned()))
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(ROOM_ID, text(id.as_str()))
            .return_values(ReturnValue::AllOld);
        let old = self.call(delete.send()).await?;
        Ok(old.attributes.is_some_and(|item| !item.is_empty()))
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        let (mut ids, mut next) = (Vec::new(), None);
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(BY_OWNER)
                .key_condition_expression("created_by = :owner AND expires_at > :now")
                .expression_attribute_values(":owner", text(owner.as_str()))
                .expression_attribute_values(":now", number(now))
                .set_exclusive_start_key(next);
            let page = self.call(query.send()).await?;
            for item in page.items.unwrap_or_default() {
                ids.extend(item.get(ROOM_ID).and_then(|id| id.as_s().ok()).cloned());
            }
            next = page.last_evaluated_key;
            if next.is_none() {
                break;
            }
        }
        // The index follows a moment later; the records themselves are the truth.
        let mut owned = self.read_all(&ids).await?;
        owned.retain(|room| room.owner == *owner && !room.is_expired(now));
        owned.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(owned)
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        let (mut swept, mut next) = (0, None);
        loop {
            let scan = self
                .client
                .scan()
                .table_name(&self.table)
                .projection_expression(ROOM_ID)
                // What is no room has no token.
                .filter_expression("#expires <= :before AND attribute_exists(#operator)")
                .expression_attribute_names("#expires", EXPIRES_AT)
                .expression_attribute_names("#operator", OPERATOR)
                .expression_attribute_values(":before", number(before))
                .set_exclusive_start_key(next);
            let page = self.call(scan.send()).await?;
            for item in page.items.unwrap_or_default() {
                if swept == most {
                    return Ok(swept);
                }
                let Some(id) = item.get(ROOM_ID).cloned() else { continue };
                let delete = self
                    .client
                    .delete_item()
                    .table_name(&self.table)
                    .key(ROOM_ID, id)
                    .condition_expression("#expires <= :before")
                    .expression_attribute_names("#expires", EXPIRES_AT)
                    .expression_attribute_values(":before", number(before));
                match self.call(delete.send()).await {
                    Ok(_) => swept += 1,
                    // It was extended or replaced meanwhile.
                    Err(CallError::Condition(_)) => {}
                    Err(CallError::Store(error)) => return Err(error),
                }
            }
            next = page.last_evaluated_key;
            if next.is_none() {
                return Ok(swept);
            }
        }
    }

    fn expires_by_itself(&self) -> bool {
        self.expires_by_itself
    }
}
