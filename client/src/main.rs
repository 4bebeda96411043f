//! The program `halyard`: see [`halyard_client::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    halyard_client::cli::main()
}
