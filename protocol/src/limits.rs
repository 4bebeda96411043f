//! Every bound, with its reason. Both ends check them before they allocate.

use std::time::Duration;

/// Longest room id in bytes. The broker makes 8; operators may choose readable names.
pub const MAX_ROOM_ID_BYTES: usize = 64;

/// Longest peer id in bytes. UUIDs have 36; existing workers put key and host name into theirs.
pub const MAX_PEER_ID_BYTES: usize = 128;

/// Longest room token in bytes that is looked at. Ours have 22 (128 bits in base64url).
pub const MAX_TOKEN_BYTES: usize = 512;

/// Largest signaling frame in bytes. Existing clients may send 1 MiB (the Python library's own
/// limit); a non-trickle SDP with three fingerprints stays below 16 KiB.
pub const MAX_SIGNAL_BYTES: usize = 1024 * 1024;

/// Largest data-channel message in bytes, told in our SDP. 64 KiB is what every stack accepts
/// without extra configuration.
pub const MAX_CHANNEL_MESSAGE_BYTES: usize = 64 * 1024;

/// File bytes in one `bulk` message. With the 16 byte header it stays inside
/// [`MAX_CHANNEL_MESSAGE_BYTES`], and inside the 32 to 64 KiB that existing peers expect.
pub const CHUNK_BYTES: usize = 60 * 1024;

/// A sender stops reading the file above this many bytes buffered in the channel (the original's
/// rule, kept as the hard bound; our own ends keep far less in flight).
pub const PAUSE_ABOVE_BUFFERED_BYTES: usize = 16 * 1024 * 1024;

/// A receiver makes what it has durable, and says so, at least this often in bytes.
pub const DURABLE_EVERY_BYTES: u64 = 8 * 1024 * 1024;

/// Longest file name in a transfer, in bytes, all folders included.
pub const MAX_FILE_NAME_BYTES: usize = 1024;

/// Longest part of a file name between two slashes, in bytes: what common file systems take.
pub const MAX_NAME_PART_BYTES: usize = 255;

/// A receiver also says how much is safe this often while bytes arrive, so that a slow link shows
/// progress.
pub const DURABLE_EVERY: Duration = Duration::from_secs(2);

/// A transfer is given up when the other end owes something and nothing comes for this long. Longer
/// than an ICE restart; the unfinished file stays and can be resumed.
pub const TRANSFER_STALL: Duration = Duration::from_mins(2);

/// How fast a disk is taken to be at least, in bytes a second, when the other end first has to read
/// back what is already there: added to [`TRANSFER_STALL`] by the size of it.
pub const SLOWEST_DISK: u64 = 10 * 1024 * 1024;

/// Transfers that one peer may have open at a time in each direction.
pub const MAX_TRANSFERS_PER_PEER: usize = 16;

/// Entries in one page of a folder's listing: keeps the message inside one channel message even
/// with long names.
pub const MAX_LIST_ENTRIES: usize = 100;

/// Files and folders in a folder that is sent as one: each costs its receiver some hundred bytes of
/// memory while it comes.
pub const MAX_FOLDER_ENTRIES: u64 = 100_000;

/// Folders within folders in one that is sent: deeper ones are mistakes, and their names would not
/// fit into [`MAX_FILE_NAME_BYTES`].
pub const MAX_FOLDER_DEPTH: usize = 32;

/// Rooms live this long unless said otherwise (the original's two hours).
pub const DEFAULT_ROOM_TTL: Duration = Duration::from_hours(2);

/// A dropped socket may come back this long and misses nothing (the original's window).
pub const RESUME_WINDOW: Duration = Duration::from_secs(90);

/// Messages kept for a peer whose socket dropped. A join is an offer, an answer and some twenty
/// candidates, so this is several joins.
pub const MAX_RESUME_MESSAGES: usize = 256;

/// Bytes kept for a peer whose socket dropped, and the most that may wait in a socket's outbox.
pub const MAX_OUTBOX_BYTES: usize = 1024 * 1024;

/// A worker serves a peer at most this long after the broker last confirmed its rights. So a
/// revoked peer is gone by then even where the broker cannot reach the worker; and a broker that is
/// away for less disturbs nobody.
pub const RIGHTS_LEASE: Duration = Duration::from_mins(1);

/// How often rights are confirmed: three times in a lease, so that two lost answers are forgiven.
pub const CONFIRM_RIGHTS_EVERY: Duration = Duration::from_secs(20);

/// Longest grant in bytes. Ours have some 60; the subject is the identity provider's.
pub const MAX_GRANT_BYTES: usize = 256;

/// Grants in one `confirm_rights`. Whoever serves more peers asks more than once.
pub const MAX_GRANTS: usize = 128;

/// The broker sends `ping` this often; workers of the original reconnect after 90 s without one.
pub const PING_EVERY: Duration = Duration::from_secs(30);

/// A driver's command is followed for this long; then the machine stops by itself.
pub const DRIVE_WATCHDOG: Duration = Duration::from_millis(500);

/// A driver's command is about what the machine told at most this long ago: the round trip of a bad
/// mobile link with two messages lost, and still no longer than the watchdog.
pub const DRIVE_MAX_AGE: Duration = Duration::from_millis(500);

/// The oldest picture that anybody drives by. People who steer lose the road between 150 and 225 ms
/// of delay; at walking pace 300 ms are half a metre.
pub const DRIVE_MAX_PICTURE_AGE: Duration = Duration::from_millis(300);

/// Commands that one client keeps for a worker that is away.
pub const MAX_WAITING_COMMANDS: usize = 64;
