//! What is run: `make test`, the gate, and everything.

use std::time::Duration;

use crate::part::Part;

/// Parts, in their order.
pub struct Plan {
    name: &'static str,
    /// How long all parts may take together; what is not done then has failed.
    pub limit: Duration,
    /// Whether the results are kept in the tree.
    pub is_kept: bool,
    parts: &'static [&'static [Part]],
}

impl Plan {
    /// All parts.
    pub fn parts(&self) -> impl Iterator<Item = &'static Part> {
        self.parts.iter().copied().flatten()
    }
}

/// The plan of that name.
pub fn named(name: &str) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.name == name)
}

const PLANS: &[Plan] = &[
    Plan {
        name: "test",
        limit: minutes(60),
        is_kept: false,
        parts: &[&[part("set-up", 20, &["tests/setup.sh", "test"])], TEST],
    },
    Plan {
        name: "ci",
        limit: minutes(21),
        is_kept: false,
        parts: &[
            &[part(
                "set-up",
                5,
                &["tests/setup.sh", "test", "go", "lint", "fuzz", "vm"],
            )],
            FETCHED,
            LINT,
            TEST,
            &[
                part("fuzz", 5, &["FUZZ_SECONDS=40", "make", "--silent", "fuzz"]),
                part("smoke", 5, &["make", "--silent", "test-smoke"]),
            ],
        ],
    },
    Plan {
        name: "all",
        limit: minutes(360),
        is_kept: true,
        parts: &[
            &[part(
                "set-up",
                20,
                &[
                    "tests/setup.sh",
                    "test",
                    "go",
                    "lint",
                    "fuzz",
                    "vm",
                    "packages",
                ],
            )],
            FETCHED,
            LINT,
            TEST,
            &[
                part("kernels", 180, &["make", "--silent", "test-kernels"]),
                part("all engines", 90, &["make", "--silent", "test-engines"]),
                part("packages", 90, &["make", "--silent", "test-packages"]),
                part("long faults", 30, &["make", "--silent", "test-faults"]),
                part(
                    "long fuzz",
                    30,
                    &["FUZZ_SECONDS=300", "make", "--silent", "fuzz"],
                ),
                part("mutants", 60, &["make", "--silent", "mutants"]),
            ],
        ],
    },
];

/// Programs of the tests that are not installed: a compiler newer than Debian's, and
/// what would change the system.
const FETCHED: &[Part] = &[
    part("Go", 3, &["tests/go.sh", "--fetch"]),
    part("systemd-resolved", 2, &["tests/resolved.sh", "--fetch"]),
    part("ntpd", 2, &["tests/ntpd.sh", "--fetch"]),
];

const LINT: &[Part] = &[
    part("format", 2, &["make", "--silent", "lint-format"]),
    part("clippy", 6, &["make", "--silent", "lint-clippy"]),
    part("doc", 5, &["make", "--silent", "lint-doc"]),
    part("shell", 2, &["make", "--silent", "lint-shell"]),
    part("eBPF object", 6, &["make", "--silent", "ebpf-check"]),
];

/// What `make test` runs. Every part that needs the hook tests the one binary
/// that is shipped.
const TEST: &[Part] = &[
    // What is optimised beside what is not.
    part(
        "build",
        8,
        &["make", "--silent", "--jobs=3", "build", "build-tests"],
    ),
    part("tests", 15, &["make", "--silent", "run-tests"]),
    part("engines", 5, &["tests/engines.sh"]),
    part("examples", 1, &["tests/examples.sh"]),
    part("installation", 2, &["tests/install.sh"]),
    part("setting up", 3, &["tests/machine.sh"]),
];

const fn part(name: &'static str, limit: u64, command: &'static [&'static str]) -> Part {
    Part {
        name,
        limit: minutes(limit),
        command,
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}
