# shellcheck shell=bash
# youki, which Debian does not have.
set -euo pipefail

youki_missing() { skip 'Debian has no package of it, and building it takes longer than all tests here'; }

test_youki() { t 'youki' youki_missing; }
