//! Everything said in text, `PREFIX::payload`, and its codec.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    control::{
        Ack, Bye, Command, Drive, Estop, Hello, LeaseRequest, LeaseState, Listen, Notice, Talk,
        Watch,
    },
    files::{
        FileDelete, FileDeleted, FileEntries, FileError, FileGet, FileGlob, FileList, FileStat,
        FileUnpack, FileUnpacked, TransferAccept, TransferCancel, TransferDone, TransferEnd,
        TransferOffer, TransferProgress, TransferRefuse,
    },
    jobs::{
        JobAccepted, JobEnd, JobEntries, JobEventPage, JobEventsFrom, JobList, JobRejected,
        JobSubmit,
    },
    stats::Stats,
    telemetry::{Changed, TelemetrySchema},
};

/// A text message between two of our own ends. Payloads are one JSON object each.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Who I am and what I can do.
    Hello(Box<Hello>),
    /// Do something once.
    Command(Command),
    /// How it ended.
    Ack(Ack),
    /// Towards the worker: who drives?
    LeaseRequest(LeaseRequest),
    /// From the worker: who drives.
    LeaseState(LeaseState),
    /// Stop everything, or let it move again.
    Estop(Estop),
    /// What the machine shall do right now.
    Drive(Drive),
    /// The machine's state, an object with units in its schema.
    Telemetry(Value),
    /// What its fields mean.
    TelemetrySchema(TelemetrySchema),
    /// Those of its fields that must not be missed.
    Changed(Changed),
    /// Something people should know.
    Notice(Notice),
    /// Which pictures are to be shown, or are.
    Watch(Watch),
    /// Whether the worker's sound is to be sent.
    Listen(Listen),
    /// Who speaks through the machine's speaker, or wants to.
    Talk(Talk),
    /// How the path to a viewer is.
    Stats(Stats),
    /// I go now.
    Bye(Bye),
    /// What is in this folder?
    FileList(FileList),
    /// This is.
    FileEntries(FileEntries),
    /// Offer me this file.
    FileGet(FileGet),
    /// I cannot.
    FileError(FileError),
    /// What is this?
    FileStat(FileStat),
    /// What is named like this?
    FileGlob(FileGlob),
    /// Remove this.
    FileDelete(FileDelete),
    /// It is gone.
    FileDeleted(FileDeleted),
    /// Make a folder of this archive.
    FileUnpack(FileUnpack),
    /// It is made.
    FileUnpacked(FileUnpacked),
    /// I have a file for you.
    TransferOffer(TransferOffer),
    /// Send it.
    TransferAccept(TransferAccept),
    /// This much is safe.
    TransferProgress(TransferProgress),
    /// That was all.
    TransferEnd(TransferEnd),
    /// It arrived whole.
    TransferDone(TransferDone),
    /// I do not want it.
    TransferRefuse(TransferRefuse),
    /// I stop sending.
    TransferCancel(TransferCancel),
    /// Run this.
    JobSubmit(JobSubmit),
    /// It is queued.
    JobAccepted(JobAccepted),
    /// It is not.
    JobRejected(JobRejected),
    /// Which jobs are there?
    JobList(JobList),
    /// These.
    JobEntries(JobEntries),
    /// What happened to a job?
    JobEventsFrom(JobEventsFrom),
    /// This.
    JobEventPage(JobEventPage),
    /// Finish a job early.
    JobStop(JobEnd),
    /// End a job now.
    JobCancel(JobEnd),
    /// A prefix that this version does not know; existing clients speak many.
    Unknown {
        /// The word before the first `::`, or the whole text where there is none.
        prefix: String,
        /// What follows.
        payload: String,
    },
}

/// A message of a known prefix has a payload of the wrong shape.
#[derive(Debug, thiserror::Error)]
#[error("{prefix}:: has a payload that does not fit: {source}")]
pub struct MessageError {
    /// Which.
    pub prefix: &'static str,
    /// What does not fit, and where.
    pub source: serde_json::Error,
}

const HELLO: &str = "HELLO";
const COMMAND: &str = "COMMAND";
const ACK: &str = "ACK";
const CONTROL_LEASE: &str = "CONTROL_LEASE";
const ESTOP: &str = "ESTOP";
const DRIVE: &str = "DRIVE";
const TELEMETRY: &str = "TELEMETRY";
const TELEMETRY_SCHEMA: &str = "TELEMETRY_SCHEMA";
const CHANGED: &str = "CHANGED";
const NOTICE: &str = "NOTICE";
const WATCH: &str = "WATCH";
const LISTEN: &str = "LISTEN";
const TALK: &str = "TALK";
const STATS: &str = "STATS";
const BYE: &str = "BYE";
const FILE_LIST: &str = "FILE_LIST";
const FILE_ENTRIES: &str = "FILE_ENTRIES";
const FILE_GET: &str = "FILE_GET";
const FILE_ERROR: &str = "FILE_ERROR";
const FILE_STAT: &str = "FILE_STAT";
const FILE_GLOB: &str = "FILE_GLOB";
const FILE_DELETE: &str = "FILE_DELETE";
const FILE_DELETED: &str = "FILE_DELETED";
const FILE_UNPACK: &str = "FILE_UNPACK";
const FILE_UNPACKED: &str = "FILE_UNPACKED";
const TRANSFER_OFFER: &str = "TRANSFER_OFFER";
const TRANSFER_ACCEPT: &str = "TRANSFER_ACCEPT";
const TRANSFER_PROGRESS: &str = "TRANSFER_PROGRESS";
const TRANSFER_END: &str = "TRANSFER_END";
const TRANSFER_DONE: &str = "TRANSFER_DONE";
const TRANSFER_REFUSE: &str = "TRANSFER_REFUSE";
const TRANSFER_CANCEL: &str = "TRANSFER_CANCEL";
const JOB_SUBMIT: &str = "JOB_SUBMIT";
const JOB_ACCEPTED: &str = "JOB_ACCEPTED";
const JOB_REJECTED: &str = "JOB_REJECTED";
const JOB_LIST: &str = "JOB_LIST";
const JOB_ENTRIES: &str = "JOB_ENTRIES";
const JOB_EVENTS: &str = "JOB_EVENTS";
const JOB_EVENT: &str = "JOB_EVENT";
const JOB_STOP: &str = "JOB_STOP";
const JOB_CANCEL: &str = "JOB_CANCEL";

impl Message {
    /// The text frame.
    pub fn encode(&self) -> String {
        match self {
            Self::Hello(p) => framed(HELLO, p),
            Self::Command(p) => framed(COMMAND, p),
            Self::Ack(p) => framed(ACK, p),
            Self::LeaseRequest(p) => framed(CONTROL_LEASE, p),
            Self::LeaseState(p) => framed(CONTROL_LEASE, p),
            Self::Estop(p) => framed(ESTOP, p),
            Self::Drive(p) => framed(DRIVE, p),
            Self::Telemetry(p) => framed(TELEMETRY, p),
            Self::TelemetrySchema(p) => framed(TELEMETRY_SCHEMA, p),
            Self::Changed(p) => framed(CHANGED, p),
            Self::Notice(p) => framed(NOTICE, p),
            Self::Watch(p) => framed(WATCH, p),
            Self::Listen(p) => framed(LISTEN, p),
            Self::Talk(p) => framed(TALK, p),
            Self::Stats(p) => framed(STATS, p),
            Self::Bye(p) => framed(BYE, p),
            Self::FileList(p) => framed(FILE_LIST, p),
            Self::FileEntries(p) => framed(FILE_ENTRIES, p),
            Self::FileGet(p) => framed(FILE_GET, p),
            Self::FileError(p) => framed(FILE_ERROR, p),
            Self::FileStat(p) => framed(FILE_STAT, p),
            Self::FileGlob(p) => framed(FILE_GLOB, p),
            Self::FileDelete(p) => framed(FILE_DELETE, p),
            Self::FileDeleted(p) => framed(FILE_DELETED, p),
            Self::FileUnpack(p) => framed(FILE_UNPACK, p),
            Self::FileUnpacked(p) => framed(FILE_UNPACKED, p),
            Self::TransferOffer(p) => framed(TRANSFER_OFFER, p),
            Self::TransferAccept(p) => framed(TRANSFER_ACCEPT, p),
            Self::TransferProgress(p) => framed(TRANSFER_PROGRESS, p),
            Self::TransferEnd(p) => framed(TRANSFER_END, p),
            Self::TransferDone(p) => framed(TRANSFER_DONE, p),
            Self::TransferRefuse(p) => framed(TRANSFER_REFUSE, p),
            Self::TransferCancel(p) => framed(TRANSFER_CANCEL, p),
            Self::JobSubmit(p) => framed(JOB_SUBMIT, p),
            Self::JobAccepted(p) => framed(JOB_ACCEPTED, p),
            Self::JobRejected(p) => framed(JOB_REJECTED, p),
            Self::JobList(p) => framed(JOB_LIST, p),
            Self::JobEntries(p) => framed(JOB_ENTRIES, p),
            Self::JobEventsFrom(p) => framed(JOB_EVENTS, p),
            Self::JobEventPage(p) => framed(JOB_EVENT, p),
            Self::JobStop(p) => framed(JOB_STOP, p),
            Self::JobCancel(p) => framed(JOB_CANCEL, p),
            Self::Unknown { prefix, payload } if payload.is_empty() => prefix.clone(),
            Self::Unknown { prefix, payload } => format!("{prefix}::{payload}"),
        }
    }

    /// Reads a text frame. A prefix that is not known is no error.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        let (prefix, payload) = text.split_once("::").unwrap_or((text, ""));
        let unknown = || Self::Unknown { prefix: prefix.to_owned(), payload: payload.to_owned() };
        Ok(match prefix {
            // Existing peers use some words about jobs with arguments instead of an object.
            _ if prefix.starts_with("JOB_") && !payload.starts_with('{') => unknown(),
            HELLO => Self::Hello(Box::new(parsed(HELLO, payload)?)),
            COMMAND => Self::Command(parsed(COMMAND, payload)?),
            ACK => Self::Ack(parsed(ACK, payload)?),
            // The two directions share a prefix; only a request has an `action`.
            CONTROL_LEASE => match parsed::<LeaseWord>(CONTROL_LEASE, payload)? {
                LeaseWord::Request(request) => Self::LeaseRequest(request),
                LeaseWord::State(state) => Self::LeaseState(state),
            },
            ESTOP => Self::Estop(parsed(ESTOP, payload)?),
            DRIVE => Self::Drive(parsed(DRIVE, payload)?),
            TELEMETRY => Self::Telemetry(parsed(TELEMETRY, payload)?),
            TELEMETRY_SCHEMA => Self::TelemetrySchema(parsed(TELEMETRY_SCHEMA, payload)?),
            CHANGED => Self::Changed(parsed(CHANGED, payload)?),
            NOTICE => Self::Notice(parsed(NOTICE, payload)?),
            WATCH => Self::Watch(parsed(WATCH, payload)?),
            LISTEN => Self::Listen(parsed(LISTEN, payload)?),
            TALK => Self::Talk(parsed(TALK, payload)?),
            STATS => Self::Stats(parsed(STATS, payload)?),
            BYE => Self::Bye(parsed(BYE, payload)?),
            FILE_LIST => Self::FileList(parsed(FILE_LIST, payload)?),
            FILE_ENTRIES => Self::FileEntries(parsed(FILE_ENTRIES, payload)?),
            FILE_GET => Self::FileGet(parsed(FILE_GET, payload)?),
            FILE_ERROR => Self::FileError(parsed(FILE_ERROR, payload)?),
            FILE_STAT => Self::FileStat(parsed(FILE_STAT, payload)?),
            FILE_GLOB => Self::FileGlob(parsed(FILE_GLOB, payload)?),
            FILE_DELETE => Self::FileDelete(parsed(FILE_DELETE, payload)?),
            FILE_DELETED => Self::FileDeleted(parsed(FILE_DELETED, payload)?),
            FILE_UNPACK => Self::FileUnpack(parsed(FILE_UNPACK, payload)?),
            FILE_UNPACKED => Self::FileUnpacked(parsed(FILE_UNPACKED, payload)?),
            TRANSFER_OFFER => Self::TransferOffer(parsed(TRANSFER_OFFER, payload)?),
            TRANSFER_ACCEPT => Self::TransferAccept(parsed(TRANSFER_ACCEPT, payload)?),
            TRANSFER_PROGRESS => Self::TransferProgress(parsed(TRANSFER_PROGRESS, payload)?),
            TRANSFER_END => Self::TransferEnd(parsed(TRANSFER_END, payload)?),
            TRANSFER_DONE => Self::TransferDone(parsed(TRANSFER_DONE, payload)?),
            TRANSFER_REFUSE => Self::TransferRefuse(parsed(TRANSFER_REFUSE, payload)?),
            TRANSFER_CANCEL => Self::TransferCancel(parsed(TRANSFER_CANCEL, payload)?),
            JOB_SUBMIT => Self::JobSubmit(parsed(JOB_SUBMIT, payload)?),
            JOB_ACCEPTED => Self::JobAccepted(parsed(JOB_ACCEPTED, payload)?),
            JOB_REJECTED => Self::JobRejected(parsed(JOB_REJECTED, payload)?),
            JOB_LIST => Self::JobList(parsed(JOB_LIST, payload)?),
            JOB_ENTRIES => Self::JobEntries(parsed(JOB_ENTRIES, payload)?),
            JOB_EVENTS => Self::JobEventsFrom(parsed(JOB_EVENTS, payload)?),
            JOB_EVENT => Self::JobEventPage(parsed(JOB_EVENT, payload)?),
            JOB_STOP => Self::JobStop(parsed(JOB_STOP, payload)?),
            JOB_CANCEL => Self::JobCancel(parsed(JOB_CANCEL, payload)?),
            _ => unknown(),
        })
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum LeaseWord {
    Request(LeaseRequest),
    State(LeaseState),
}

fn framed(prefix: &str, payload: &impl Serialize) -> String {
    let json = serde_json::to_string(payload).expect("payloads have string keys and finite depth");
    format!("{prefix}::{json}")
}

fn parsed<T: DeserializeOwned>(prefix: &'static str, payload: &str) -> Result<T, MessageError> {
    serde_json::from_str(payload).map_err(|source| MessageError { prefix, source })
}
