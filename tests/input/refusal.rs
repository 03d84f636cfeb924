//! What every refusal looks like.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::Output;

/// A trial that hands the hook what `state` makes of a container; it must
/// refuse with a line that contains all of `names`.
pub fn refused<S>(
    name: impl Into<String>,
    names: &'static [&'static str],
    state: impl FnOnce(&Container) -> Result<S> + Send + 'static,
) -> Trial
where
    S: AsRef<[u8]>,
{
    harness::trial(name, move || {
        Net::isolated(move |_| {
            let container = Container::new()?;
            let hook = Hook::new()?;
            let state = state(&container)?;
            assert_refused(&hook.create_runtime(state.as_ref())?, names)?;
            container.cgroup.assert_bare()
        })
    })
}

/// Fails unless `output` is that of a refusal which contains all of `names`.
pub fn assert_refused(output: &Output, names: &[&str]) -> Result<()> {
    ensure!(
        output.status.code() == Some(1),
        "ended with {}: {output:?}",
        output.status
    );
    ensure!(
        output.stdout.is_empty(),
        "wrote to standard output: {output:?}"
    );
    let line = output
        .stderr
        .strip_suffix('\n')
        .with_context(|| format!("did not end a line: {output:?}"))?;
    ensure!(!line.contains('\n'), "said more than one line: {line:?}");
    let missing: Vec<_> = names.iter().filter(|name| !line.contains(*name)).collect();
    ensure!(missing.is_empty(), "{line:?} does not name {missing:?}");
    Ok(())
}
