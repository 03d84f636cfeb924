//! The state of a container on standard input.

use oci_bind_hook::input::state::{self, Container};

use crate::{annotations, refusal};

/// The input: JSON.
pub fn check(data: &[u8]) {
    match state::read(data) {
        Ok(container) => accepted(&container),
        Err(error) => refusal::check(&error),
    }
}

fn accepted(container: &Container) {
    let id = &container.id;
    assert!(!id.is_empty() && id.len() <= 255, "id {id:?}");
    assert!(id != "." && id != "..", "id {id:?}");
    let permitted = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
    assert!(id.chars().all(permitted), "id {id:?}");
    assert!(container.pid.as_raw_nonzero().get() > 0);
    annotations::hold(&container.annotations);
}
