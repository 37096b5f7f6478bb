//! The generated parser: `lockstep.pest` as functions.

use pest_derive::Parser;

/// Parses text whose brackets and quotes balance.
#[derive(Parser)]
#[grammar = "lockstep.pest"]
pub(crate) struct Syntax;

/// A piece of text that matched a rule of the grammar.
pub(crate) type Pair<'s> = pest::iterators::Pair<'s, Rule>;
