//! The data channel between two peers: lanes, and `PREFIX::payload` messages.
//!
//! Text frames are messages, binary frames are bytes of a transfer. This is the only place where a
//! prefix is spelled.
//!
//! * [`Lane`] is one of our four channels, each with its own reliability.
//! * [`Message`] is everything said in text; [`Message::decode`] keeps what it does not know.
//! * [`Chunk`] is the header and the bytes of a binary `bulk` message.
//! * [`BulkWindow`] is how far an end may send on `bulk`.
//! * [`legacy`] is the original's vocabulary on one channel of any label.

mod chunk;
mod control;
mod files;
mod jobs;
mod lane;
pub mod legacy;
mod message;
mod stats;
mod telemetry;
mod trainer;
mod window;

pub use chunk::{Chunk, ChunkError};
pub use control::{
    Ack, AckError, ActionSpec, Bye, Command, Drive, DriveLimits, Estop, EstopAction, Hello,
    LeaseRequest, LeaseState, Listen, Notice, Severity, Talk, VideoInfo, Watch,
};
pub use files::{
    Entry, EntryKind, FileDelete, FileDeleted, FileEntries, FileError, FileErrorCode, FileGet,
    FileGlob, FileList, FileStat, FileUnpack, FileUnpacked, FilesInfo, FolderOffer, TransferAccept,
    TransferCancel, TransferDone, TransferEnd, TransferId, TransferOffer, TransferProgress,
    TransferRefuse,
};
pub use jobs::{
    JobAccepted, JobEnd, JobEntries, JobErrorCode, JobEvent, JobEventPage, JobEventsFrom,
    JobHappened, JobInfo, JobList, JobProblem, JobRejected, JobState, JobStep, JobStream,
    JobSubmit, JobTemplateInfo, JobUnreadable,
};
pub use lane::Lane;
pub use message::{Message, MessageError};
pub use stats::Stats;
pub use telemetry::{Changed, TelemetryField, TelemetrySchema};
pub use trainer::TrainerReport;
pub use window::BulkWindow;
