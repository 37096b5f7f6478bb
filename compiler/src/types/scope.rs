//! What an expression may speak of, and the service and infrastructure that a phase works on.

use super::{ParamInfo, Ty};
use crate::diagnostic::Location;
use crate::model::setting;
use lockstep_grammar::ast::{Setting, Signature, Step};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A parameter or loop variable.
#[derive(Debug, Clone)]
pub struct Var<'p> {
    pub name: &'p str,
    pub ty: Ty,
    pub at: Location,
}

/// Where the service or the infrastructure of a phase comes from.
#[derive(Debug, Clone, Copy)]
pub enum Implicit<'p> {
    /// There is none.
    None,
    /// An entry of the phase.
    Entry(&'p Setting),
    /// The workflow's only parameter of that type, by index.
    Param(usize),
    /// Several parameters could be meant: the first two.
    Ambiguous(usize, usize),
}

/// The phase's own entry of that name, else the only parameter of the type.
pub fn implicit<'p>(
    settings: &'p [Setting],
    name: &str,
    params: &[ParamInfo<'_>],
    is_one: fn(&Ty) -> bool,
) -> Implicit<'p> {
    if let Some(entry) = setting(settings, name) {
        return Implicit::Entry(entry);
    }
    let mut found = params.iter().enumerate().filter(|(_, param)| is_one(&param.ty)).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (None, _) => Implicit::None,
        (Some(only), None) => Implicit::Param(only),
        (Some(first), Some(second)) => Implicit::Ambiguous(first, second),
    }
}

/// A forward step of a workflow, as references to its outputs see it.
#[derive(Debug, Clone)]
pub struct StepInfo<'p> {
    pub step: &'p Step,
    pub signature: Option<&'p Signature>,
    pub outputs: Rc<[ParamInfo<'p>]>,
    pub phase: usize,
    /// Counts the positions of the workflow; parallel steps share one.
    pub position: usize,
    /// Those of phase, section and step: equal ones have one number.
    pub conditions: BTreeSet<u32>,
}

/// Where an expression stands in a workflow.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Before which position outputs are there; `None` outside of phases.
    pub position: Option<usize>,
    /// The conditions that hold here: equal ones have one number.
    pub conditions: BTreeSet<u32>,
    /// The phase whose rollback block this is, or any for the workflow's.
    pub rollback: Option<Option<usize>>,
    /// The service and infrastructure of the phase.
    pub service: Option<Ty>,
    /// See `service`.
    pub infra: Option<Ty>,
    /// Whether they are the phase's own entries and so win over parameters of the same name.
    pub own: bool,
    /// Whether several parameters could be meant, which is reported once for the phase.
    pub ambiguous: bool,
    /// Inside `default(…)`, where an output may be missing.
    pub lenient: bool,
}
