//! Tests of the whole program: real files, real processes, real signals.

mod check;
mod claims;
mod control;
mod crash;
mod disk;
mod docs;
mod examples;
mod fix;
mod fmt;
mod killing;
mod kubernetes;
mod outputs;
mod ownership;
mod proof;
mod provider;
mod quickstart;
mod rehearsal;
mod rollback;
mod schemas;
mod secrets;
mod simulate;
mod support;
