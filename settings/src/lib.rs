//! How a program is told what to do before it starts.
//!
//! A program has one table of [`Keys`]; each [`Key`] is a flag, a variable and a key of the
//! configuration file in one. [`Typed`] is what stood in these three places, and [`Values`] is what
//! counts of it: flags win over variables, variables over the file. The program then asks for each
//! value with a parser (some are in [`parse`]) and makes settings of its own of them.
//!
//! Nothing is guessed and nothing degrades quietly: a [`SettingError`] has the key, the value, the
//! [`Place`] where it stood and what is accepted. Secrets may stand in files of their own and are
//! never repeated. There is no clock and no global state here; the environment is an argument, and
//! files are read once and with a limit.
//!
//! [`log`] is what comes before all settings: how much is logged, and what never is.

mod environment;
mod error;
mod file;
mod flags;
mod key;
pub mod log;
pub mod parse;
mod place;
mod values;

pub use self::{
    error::SettingError,
    flags::{Typed, args, config_arg},
    key::{Key, Keys, Shape},
    place::Place,
    values::{Found, Raw, Values},
};
