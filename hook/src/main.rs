//! The command `oci-bind-hook`.

fn main() -> std::process::ExitCode {
    oci_bind_hook::main()
}
