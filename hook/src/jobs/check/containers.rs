//! Containers on the host's network that no policy covers.

use anyhow::Result;

use super::Finding;
use crate::kernel::exposed::{self, Exposed};
use crate::kernel::inventory::Entry;
use crate::text::count;

const SUBJECT: &str = "containers";

/// Looks for such containers. If the policies cannot be seen, another finding says so.
pub fn findings(entries: Option<&Result<Vec<Entry>>>) -> Vec<Finding> {
    let Some(Ok(entries)) = entries else {
        return Vec::new();
    };
    exposed::collect(entries).map_or_else(|_| Vec::new(), |exposed| judge(&exposed))
}

/// Counts those that ask for no policy, and names those that seem to ask for one.
fn judge(exposed: &[Exposed]) -> Vec<Finding> {
    let asks = |container: &&Exposed| {
        container.is_annotated || container.misspelt.is_some() || container.label.is_some()
    };
    let (asking, silent): (Vec<_>, Vec<_>) = exposed.iter().partition(asks);
    let mut findings: Vec<_> = asking.into_iter().map(unheard).collect();
    if !silent.is_empty() {
        let message = format!(
            "{} on the host's network without a policy",
            count(silent.len(), "container")
        );
        findings.push(Finding::note(
            SUBJECT,
            &message,
            "oci-bind-hook status lists them; without-policy in the configuration can refuse such containers",
        ));
    }
    findings
}

/// Reports a container that seems to ask for a policy.
fn unheard(container: &Exposed) -> Finding {
    let remedy = if container.misspelt.is_some() || container.label.is_some() {
        "create the container again, with an annotation whose key begins with io.oci-bind-hook."
    } else {
        "see the other findings about its engine, and restart the container, or attach a policy \
         to its cgroup"
    };
    let message = format!("on the host's network without a policy: {container}");
    Finding::note(SUBJECT, &message, remedy)
}
