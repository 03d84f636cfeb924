//! `serve`: for as long as it runs, UDP servers at `::` answer at both addresses.

use anyhow::{Context as _, Result};
use sd_notify::NotifyState;

use crate::serve;

/// Tells systemd when it is ready, if that wants to hear of it.
pub(super) fn serve() -> Result<()> {
    serve::serve(|| sd_notify::notify(&[NotifyState::Ready]).context("tell systemd: ready"))
}
