//! Makes sockets on request and passes them back, over the socket that is its
//! standard input: see `oci_bind_hook_tests::agent`.

fn main() -> anyhow::Result<()> {
    oci_bind_hook_tests::agent::serve(std::io::stdin())
}
