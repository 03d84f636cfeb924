#!/bin/bash
# The tests that a kernel makes a difference to, on Debian's kernels, each in a
# virtual machine.
# Usage: tests/vm/kernels.sh [FILTER]        or  make test-kernels
#   FILTER           only the trials whose names have this in them
#   KERNELS          which: "5.10 6.1 6.12 newest" if nothing is said
#   TESTS            which suites: those that the kernel makes a difference to if
#                    nothing is said
#   SMOKE            `yes`: of the scenarios, one trial of each row; together they must
#                    have run every program
#   JOBS             how many machines at once, 2
#   PATIENCE         seconds that a machine has, 2400
#   MISSING_KERNELS  `skip`: a kernel that the archive lacks is no failure
# Ends with a table and `N passed, N failed, N skipped`.
# What decides and counts is in tests/machines.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup.sh vm
exec cargo run --quiet --locked --package oci-bind-hook-machines -- kernels "$@"
