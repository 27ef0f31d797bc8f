//! The binary: parse, call, exit code.

fn main() -> std::process::ExitCode {
    xensnap::cli::main()
}
