//! Runs against real API servers: two contexts of the kubeconfig that `LOCKSTEP_TEST_KUBECONFIG` names.
//!
//! Without the variable these tests are skipped, and say so. Any two clusters will do (`kind create cluster` twice).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod access;
mod documents;
mod faults;
mod figures;
mod identity;
mod kills;
mod leases;
mod manifests;
mod passed;
mod previews;
mod proxy;
mod races;
mod repeated;
mod replicas;
mod returning;
mod rolling;
mod secrets;
mod steps;
mod stories;
mod support;
mod traffic;
mod twice;
mod weather;
