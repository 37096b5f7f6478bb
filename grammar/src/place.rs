//! What may stand where.

use crate::syntax::Rule;

/// Between which brackets something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    File,
    Environment,
    Workflow,
    /// `parallel { phase … }`
    Phases,
    Phase,
    Section,
    /// `parallel { step … }`
    Steps,
    Step,
    Barrier,
    Rollback,
    Pipeline,
    /// `parallel { stage … }`
    Parallel,
    Lane,
    /// A loop in a pipeline.
    For,
    /// A loop in a `parallel` group.
    ParallelFor,
    Stage,
    Provider,
    Signature,
    Record,
    Fields,
    Params,
    List,
    Arguments,
}

impl Place {
    /// Whether nothing that others refer to or wait for stands there: only values, parameters, conditions and failure rules.
    pub(crate) fn holds_details(self) -> bool {
        use Place::{Arguments, Barrier, List, Params, Record, Stage, Step};
        matches!(self, Step | Barrier | Stage | Record | List | Arguments | Params)
    }

    /// As in "a step cannot stand in …".
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Place::File => "a file, outside of any declaration",
            Place::Environment => "an environment",
            Place::Workflow => "a workflow",
            Place::Phases => "the `parallel` block of a workflow",
            Place::Phase => "a phase",
            Place::Section => "a section",
            Place::Steps => "the `parallel` block of a phase",
            Place::Step => "a step",
            Place::Barrier => "a barrier",
            Place::Rollback => "a rollback block",
            Place::Pipeline => "a pipeline",
            Place::Parallel => "the `parallel` block of a pipeline",
            Place::Lane => "a lane",
            Place::For => "a loop",
            Place::ParallelFor => "a loop of a `parallel` block",
            Place::Stage => "a stage",
            Place::Provider => "a provider",
            Place::Signature => "a step of a provider",
            Place::Record => "a record",
            Place::Fields => "a list of fields",
            Place::Params => "a parameter list",
            Place::List => "a list",
            Place::Arguments => "the arguments of a function",
        }
    }

    /// What may stand there.
    pub(crate) fn members(self) -> &'static [Rule] {
        use Rule::*;
        match self {
            Place::File => &[
                import,
                service,
                environment,
                secret,
                channel,
                group,
                resource,
                workflow,
                pipeline,
                provider,
            ],
            Place::Environment => &[infrastructure, setting],
            Place::Workflow => &[phase, failure, rollback, notify, use_resource, setting],
            Place::Phases => &[phase],
            Place::Phase => {
                &[step, barrier, parallel, section, condition, failure, rollback, use_resource, setting]
            }
            Place::Section => &[step, barrier, parallel, condition, failure],
            Place::Steps => &[step],
            Place::Step => &[entry, condition, failure],
            Place::Barrier => &[condition, setting],
            Place::Rollback => &[step, parallel, barrier],
            Place::Pipeline => &[stage, approval, parallel, for_each, failure, notify],
            Place::Parallel => &[stage, lane, for_each],
            Place::Lane | Place::For => &[stage, approval],
            Place::ParallelFor => &[stage, lane],
            Place::Stage => &[entry, condition],
            Place::Provider => &[signature, service_fields, infrastructure_fields, artifact, setting],
            Place::Signature => &[changes, undone, irreversible, setting],
            Place::Record => &[entry],
            Place::Fields | Place::Params => &[param],
            Place::List | Place::Arguments => &[expr],
        }
    }
}

/// Whether what begins with one word may stand in the block that begins with another; none where that cannot be told from the
/// words.
pub(crate) fn may_hold(block: &str, word: &str) -> Option<bool> {
    let words: &[&str] = match block {
        "environment" => &["infrastructure"],
        "workflow" => &["phase", "parallel", "on", "rollback", "notify", "use"],
        "phase" => &["step", "barrier", "parallel", "section", "skip", "only", "on", "rollback", "use"],
        "section" => &["step", "barrier", "parallel", "skip", "only", "on"],
        "rollback" => &["step", "parallel", "barrier"],
        "pipeline" => &["stage", "approval", "parallel", "for", "on", "notify"],
        "parallel" => &["phase", "step", "stage", "lane", "for"],
        "lane" => &["stage", "approval"],
        "for" => &["stage", "approval", "lane"],
        "step" => &["on", "skip", "only"],
        "stage" | "barrier" => &["skip", "only"],
        "service" | "secret" | "channel" | "group" | "resource" | "approval" | "infrastructure" | "use" => {
            &[]
        }
        _ => return None,
    };
    let known = home(word) != OUTSIDE;
    known.then(|| words.contains(&word))
}

/// Where a declaration stands.
const OUTSIDE: &str = "a declaration stands in a file, outside of any other";

/// Where a construct may stand, by its first word.
pub(crate) fn home(word: &str) -> &'static str {
    match word {
        "phase" => "a phase stands in a workflow",
        "step" => "a step stands in a phase, a section, a rollback block, or a `parallel` block of these",
        "section" => "a section stands in a phase, and not in another section",
        "barrier" => "a barrier stands in a phase, a section or a rollback block",
        "stage" => "a stage stands in a pipeline, or in a `parallel` block, a lane or a loop of one",
        "lane" => "a lane stands in the `parallel` block of a pipeline, or in a loop there",
        "approval" => "an approval stands in a pipeline, a lane, or a loop outside of `parallel`",
        "parallel" => "`parallel` stands in a pipeline around stages and lanes, or in a phase around steps",
        "rollback" => "a rollback block stands in a workflow or a phase",
        "use" => "`use` stands in a workflow or a phase",
        "notify" => "`notify` stands in a workflow or a pipeline",
        "for" => "a loop stands in a pipeline or in its `parallel` block, and not in another loop",
        "skip" | "only" => "a condition stands in a phase, section, step, barrier or stage",
        "on" => "a failure rule stands in a workflow, phase, section, step or pipeline",
        "infrastructure" => "infrastructure stands in an environment",
        "artifact" => "an artifact type stands in a provider",
        "import" => "imports stand at the top of a file, outside of any declaration",
        _ => OUTSIDE,
    }
}
