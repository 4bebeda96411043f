//! The Halyard worker: the agent on the machine.
//!
//! It opens a room at a broker (or carries its own), shows a picture that is encoded once for all
//! viewers, takes commands and files from those who may give them, and drives hardware behind a
//! gate of safety rules. It knows nothing of how rooms are kept, and nothing of pages.
//!
//! From the outside in:
//!
//! * [`config`] is what was typed, and what it means.
//! * [`agent`] owns everything: the room, the link to the broker, one session per remote peer.
//! * [`session`] is one remote peer: what it says, what it may do, what it is shown; [`existing`]
//!   is one that speaks the words of sleap-rtc.
//! * [`machine`] is the one owner of the gate and the driver; [`drive`] is the gate as pure logic;
//!   [`driver`] speaks to a machine.
//! * [`jobs`] runs what its owner lets others run, for example trainings; [`bridge`] speaks ZMQ with
//!   a trainer.
//! * [`host`] is the computer it runs on: what it is, how busy it is, what the room may know of it.
//! * [`media`] makes pictures, encodes them once and fans them out.
//! * [`sound`] is what is heard of the machine, and the operator's voice back to it.
//! * [`run`] is a worker of somebody else's broker, made of the parts that [`wiring`] builds.
//! * [`standalone`] (feature `standalone`) carries a broker along; [`direct`] answers peers over
//!   plain HTTP there, also in the words of [`whep`].
//! * [`devices`] says what this computer has; [`report`] is what a worker tells its owner;
//!   [`tidy`] removes unfinished files that nobody comes back for; [`logging`] is its log, and [`exit`] are the exit codes.

pub mod agent;
pub mod bridge;
pub mod config;
pub mod devices;
#[cfg(feature = "standalone")]
pub mod direct;
pub mod drive;
pub mod driver;
pub mod existing;
pub mod exit;
pub mod host;
pub mod jobs;
pub mod logging;
pub mod machine;
pub mod media;
pub mod record;
pub mod report;
pub mod run;
pub mod session;
pub mod sound;
#[cfg(feature = "standalone")]
pub mod standalone;
pub mod tidy;
pub mod whep;
pub mod wiring;
