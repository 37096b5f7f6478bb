//! Tests of the whole program: real files, real processes, real signals.

mod check;
mod control;
mod crash;
mod docs;
mod examples;
mod quickstart;
mod schemas;
mod support;
