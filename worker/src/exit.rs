//! How the program ends, for scripts. The same numbers in every program of Halyard.

/// It did what it was asked.
pub const DONE: u8 = 0;

/// What was typed, or the configuration, cannot be used.
pub const USAGE: u8 = 2;

/// The broker cannot be reached.
pub const UNREACHABLE: u8 = 3;

/// The broker refused: token, rights, or a room that is over.
pub const REFUSED: u8 = 4;

/// Something else failed: the machine, its picture, or the program itself.
pub const FAILED: u8 = 1;

/// It was interrupted again while it was stopping.
pub const INTERRUPTED: u8 = 130;
