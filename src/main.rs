//! Parses the command line, runs, and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    rovercast::cli::main()
}
