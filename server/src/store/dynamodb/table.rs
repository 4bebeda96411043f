//! The table: made by `create-table`, looked at when the broker starts.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::{BuildError, ProvideErrorMetadata, SdkError},
    operation::create_table::CreateTableError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
        TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use tokio::time::{Instant, sleep};

use super::item::{CREATED_BY, DELETED_AT, EXPIRES_AT, ROOM_ID};
use crate::aws::said;

/// The index "rooms of this owner".
pub(crate) const BY_OWNER: &str = "by_owner";
/// How long a new table is waited for; it mostly takes ten seconds.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is not there.
    #[error(
        "there is no DynamoDB table {table} in this account and region; make it with \
         `halyard-server create-table --store dynamodb --dynamodb-table {table}`, or name another \
         with dynamodb_table"
    )]
    Missing {
        /// Which.
        table: String,
    },
    /// It is another kind of table.
    #[error(
        "the DynamoDB table {table} is not one of rooms: {why}; name another with dynamodb_table, \
         or let `halyard-server create-table` make it"
    )]
    Shape {
        /// Which.
        table: String,
        /// What is different.
        why: String,
    },
    /// It exists and is not ready.
    #[error("the DynamoDB table {table} is not ready: its status is {status}; try again later")]
    NotReady {
        /// Which.
        table: String,
        /// What AWS says.
        status: String,
    },
    /// These credentials may not use it.
    #[error(
        "AWS does not allow {action} on the table {table}: {why}; docs/aws.md has the policy that \
         the broker needs"
    )]
    NotAllowed {
        /// Which.
        table: String,
        /// What was tried.
        action: &'static str,
        /// What AWS said.
        why: String,
    },
    /// The call failed.
    #[error("{action} on the DynamoDB table {table} failed: {why}")]
    Failed {
        /// Which.
        table: String,
        /// What was tried.
        action: &'static str,
        /// What happened.
        why: String,
    },
}

impl TableError {
    fn of<E>(table: &str, action: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (table, why) = (table.to_owned(), said(error));
        match error.as_service_error().and_then(|error| error.code()) {
            Some("ResourceNotFoundException") => Self::Missing { table },
            Some(
                "AccessDeniedException"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "ExpiredTokenException",
            ) => Self::NotAllowed { table, action, why },
            _ => Self::Failed { table, action, why },
        }
    }
}

/// Looks whether a table can be used. `Ok(true)` where it forgets ended rooms by itself.
pub(super) async fn check_table(client: &Client, table: &str) -> Result<bool, TableError> {
    let description = describe(client, table).await?;
    shape(table, &description)?;
    match description.table_status() {
        None | Some(TableStatus::Active | TableStatus::Updating) => {}
        Some(status) => {
            return Err(TableError::NotReady { table: table.into(), status: status.to_string() });
        }
    }
    expires(client, table).await
}

async fn describe(client: &Client, table: &str) -> Result<TableDescription, TableError> {
    let described = client.describe_table().table_name(table).send().await;
    let described =
        described.map_err(|error| TableError::of(table, "dynamodb:DescribeTable", &error))?;
    described.table.ok_or_else(|| TableError::Missing { table: table.into() })
}

/// Whether time-to-live is on. On another attribute it would delete who knows what.
async fn expires(client: &Client, table: &str) -> Result<bool, TableError> {
    let described = client.describe_time_to_live().table_name(table).send().await;
    let described =
        described.map_err(|error| TableError::of(table, "dynamodb:DescribeTimeToLive", &error))?;
    let Some(ttl) = described.time_to_live_description else { return Ok(false) };
    if !matches!(
        ttl.time_to_live_status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    ) {
        return Ok(false);
    }
    match ttl.attribute_name.as_deref() {
        None | Some(DELETED_AT) => Ok(true),
        Some(other) => Err(TableError::Shape {
            table: table.into(),
            why: format!(
                "its time-to-live looks at {other} instead of {DELETED_AT}, which would end rooms \
                 at the wrong time"
            ),
        }),
    }
}

fn shape(table: &str, description: &TableDescription) -> Result<(), TableError> {
    let wrong = |why: String| TableError::Shape { table: table.to_owned(), why };
    let keys = |schema: &[KeySchemaElement]| {
        let key = |kind: KeyType| {
            schema.iter().find(|key| *key.key_type() == kind).map(|key| key.attribute_name.clone())
        };
        (key(KeyType::Hash), key(KeyType::Range))
    };
    let found = keys(description.key_schema());
    if found != (Some(ROOM_ID.to_owned()), None) {
        let (hash, range) = (found.0.unwrap_or_default(), found.1.unwrap_or_default());
        return Err(wrong(format!(
            "its key is {hash:?} with sort key {range:?}, it must be {ROOM_ID:?} alone"
        )));
    }
    let index = description.global_secondary_indexes().iter();
    let index = index.clone().find(|index| index.index_name() == Some(BY_OWNER));
    let Some(index) = index else {
        return Err(wrong(format!("it has no index {BY_OWNER}")));
    };
    if keys(index.key_schema()) != (Some(CREATED_BY.to_owned()), Some(EXPIRES_AT.to_owned())) {
        return Err(wrong(format!(
            "its index {BY_OWNER} must have the key {CREATED_BY} and the sort key {EXPIRES_AT}"
        )));
    }
    for (name, kind) in attributes() {
        let defined = description.attribute_definitions().iter();
        let defined = defined.clone().find(|defined| defined.attribute_name() == name);
        if defined.is_some_and(|defined| *defined.attribute_type() != kind) {
            return Err(wrong(format!("its attribute {name} must be of type {kind}")));
        }
    }
    Ok(())
}

/// What is part of a key.
fn attributes() -> [(&'static str, ScalarAttributeType); 3] {
    [
        (ROOM_ID, ScalarAttributeType::S),
        (CREATED_BY, ScalarAttributeType::S),
        (EXPIRES_AT, ScalarAttributeType::N),
    ]
}

/// Makes the table where it is not there, waits until it can be used, and turns its time-to-live
/// on. Doing it again changes nothing.
pub async fn create_table(config: &SdkConfig, table: &str) -> Result<(), TableError> {
    let client = Client::new(config);
    match describe(&client, table).await {
        Err(TableError::Missing { .. }) => make(&client, table).await?,
        described => shape(table, &described?)?,
    }
    let until = Instant::now() + READY_WITHIN;
    loop {
        let description = match describe(&client, table).await {
            // The answer of a copy of AWS that has not heard of it yet.
            Err(TableError::Missing { .. }) if Instant::now() < until => None,
            described => Some(described?),
        };
        let status = description.and_then(|description| description.table_status);
        if status == Some(TableStatus::Active) {
            break;
        }
        if Instant::now() >= until {
            let status = status.map_or("not there".to_owned(), |status| status.to_string());
            return Err(TableError::NotReady { table: table.into(), status });
        }
        sleep(LOOK_EVERY).await;
    }
    // Saying it again within the hour is an error, so look first.
    if expires(&client, table).await? {
        return Ok(());
    }
    let built = TimeToLiveSpecification::builder().enabled(true).attribute_name(DELETED_AT).build();
    let specification = built.map_err(|error| incomplete(table, &error))?;
    let update =
        client.update_time_to_live().table_name(table).time_to_live_specification(specification);
    update
        .send()
        .await
        .map_err(|error| TableError::of(table, "dynamodb:UpdateTimeToLive", &error))?;
    Ok(())
}

async fn make(client: &Client, table: &str) -> Result<(), TableError> {
    let failed = |error: BuildError| incomplete(table, &error);
    let key = |name: &str, kind: KeyType| {
        KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name(BY_OWNER)
        .key_schema(key(CREATED_BY, KeyType::Hash).map_err(failed)?)
        .key_schema(key(EXPIRES_AT, KeyType::Range).map_err(failed)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(failed)?;
    let mut create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(ROOM_ID, KeyType::Hash).map_err(failed)?)
        .global_secondary_indexes(index);
    for (name, kind) in attributes() {
        let defined = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
        create = create.attribute_definitions(defined.build().map_err(failed)?);
    }
    match create.send().await {
        Ok(_) => Ok(()),
        // Somebody else makes it at this moment, or an attempt of ours whose answer was lost.
        Err(error)
            if error
                .as_service_error()
                .is_some_and(CreateTableError::is_resource_in_use_exception) =>
        {
            Ok(())
        }
        Err(error) => Err(TableError::of(table, "dynamodb:CreateTable", &error)),
    }
}

fn incomplete(table: &str, error: &BuildError) -> TableError {
    let (table, why) = (table.to_owned(), error.to_string());
    TableError::Failed { table, action: "describing what to make", why }
}
