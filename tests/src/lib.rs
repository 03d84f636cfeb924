//! Fixtures of the scenario tests.
