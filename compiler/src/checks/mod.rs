//! The checks: a file each, and the one list of all rules.
//!
//! Some rules are found while types are checked or a pipeline is lowered; their files hold what they say. The
//! others walk the syntax tree, or the plan of a pipeline whose parameters are left open.

pub mod all_or_nothing_violated;
pub mod allow_unused;
mod alternatives;
pub mod barrier_alone;
pub mod barrier_deadlock;
pub mod barrier_duplicate;
pub mod barrier_ineffective;
pub mod barrier_limited_parallelism;
pub mod barrier_lock_deadlock;
pub mod barrier_rollback_reuse;
pub mod barrier_sequential;
pub mod barrier_skippable;
pub mod barrier_timeout_too_short;
mod besides;
pub mod failure_invalid;
pub mod failure_loop;
pub mod failure_unreachable;
mod held_up;
pub mod import_cycle;
pub mod import_name;
pub mod import_unreadable;
pub mod manifest_missing;
pub mod manifest_unreadable;
pub mod name_duplicate;
pub mod name_unknown;
pub mod name_unused;
pub mod order;
mod passed_over;
pub mod phase_parallel;
pub mod phase_strategy;
pub mod pipeline_conflict;
pub mod region_uncoordinated;
pub mod rollback_empty;
pub mod rollback_missing;
pub mod satisfy;
pub mod secret_leak;
pub mod shell_injection;
pub mod step_place;
pub mod step_provider;
pub mod syntax;
pub mod template_artifact_type;
pub mod template_conflicting_values;
pub mod template_deployment_type;
pub mod template_environment_mismatch;
pub mod template_fixed_infrastructure;
pub mod template_infrastructure_type;
pub mod type_argument_missing;
pub mod type_argument_unknown;
pub mod type_mismatch;
pub mod type_not_allowed_value;
pub mod type_output_unavailable;
pub mod walk;
mod worlds;

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::lower::{Budget, Lowered, lower_open};
use crate::model::{DeclId, Index, Model};
use crate::parallel;
use crate::program::{ModuleId, Program};
use crate::rules::Rule;
use crate::types::{self, Used};
use foldhash::{HashMap, HashSet};
use lockstep_grammar::ast::{DeclarationKind, Span};
use lockstep_plan::proof::Effort;
use satisfy::Domains;
use std::cell::{OnceCell, RefCell};
use std::cmp::Ordering;
use std::sync::Arc;

/// Every rule, sorted by name.
pub const RULES: &[Rule] = &[
    all_or_nothing_violated::RULE,
    allow_unused::RULE,
    barrier_alone::RULE,
    barrier_deadlock::RULE,
    barrier_duplicate::RULE,
    barrier_ineffective::RULE,
    barrier_limited_parallelism::RULE,
    barrier_lock_deadlock::RULE,
    barrier_rollback_reuse::RULE,
    barrier_sequential::RULE,
    barrier_skippable::RULE,
    barrier_timeout_too_short::RULE,
    failure_invalid::RULE,
    failure_loop::RULE,
    failure_unreachable::RULE,
    import_cycle::RULE,
    import_name::RULE,
    import_unreadable::RULE,
    manifest_missing::RULE,
    manifest_unreadable::RULE,
    name_duplicate::RULE,
    name_unknown::RULE,
    name_unused::RULE,
    phase_parallel::RULE,
    phase_strategy::RULE,
    pipeline_conflict::RULE,
    region_uncoordinated::RULE,
    rollback_empty::RULE,
    rollback_missing::RULE,
    secret_leak::RULE,
    shell_injection::RULE,
    step_place::RULE,
    step_provider::RULE,
    template_artifact_type::RULE,
    template_conflicting_values::RULE,
    template_deployment_type::RULE,
    template_environment_mismatch::RULE,
    template_fixed_infrastructure::RULE,
    template_infrastructure_type::RULE,
    type_argument_missing::RULE,
    type_argument_unknown::RULE,
    type_mismatch::RULE,
    type_not_allowed_value::RULE,
    type_output_unavailable::RULE,
];

/// Checks that look at declarations as they are written.
const TREE_CHECKS: &[fn(&Model<'_>, &mut Vec<Diagnostic>)] = &[
    import_unreadable::check,
    import_name::check,
    import_cycle::check,
    name_duplicate::modules,
    phase_parallel::check,
    phase_strategy::check,
    barrier_rollback_reuse::check,
    barrier_duplicate::check,
    failure_invalid::check,
    failure_loop::check,
    failure_unreachable::check,
    rollback_missing::check,
    rollback_empty::check,
    template_fixed_infrastructure::check,
    barrier_lock_deadlock::nested,
];

/// What has been said of other pipelines of the module, where that is the same for all: by rule and place, in a few words.
pub type Told = RefCell<HashSet<(&'static str, Location, &'static str)>>;

/// A pipeline with its plan, for the checks that look at what would run.
pub struct Judged<'a, 'p> {
    pub model: &'a Model<'p>,
    pub pipeline: DeclId,
    pub lowered: &'a Lowered,
    told: &'a Told,
    meetings: Vec<order::Meetings>,
    damaged: Vec<bool>,
    broken: Vec<bool>,
    works: pipeline_conflict::Works<'a>,
    domains: OnceCell<Domains>,
}

/// Checks that look at the plan of a pipeline.
const PLAN_CHECKS: &[fn(&Judged<'_, '_>, &mut Vec<Diagnostic>)] = &[
    barrier_duplicate::commit,
    barrier_rollback_reuse::group,
    barrier_sequential::check,
    barrier_alone::check,
    barrier_deadlock::check,
    barrier_limited_parallelism::check,
    barrier_lock_deadlock::together,
    barrier_skippable::check,
    barrier_ineffective::check,
    barrier_timeout_too_short::check,
    pipeline_conflict::check,
    region_uncoordinated::check,
];

/// Runs every check over a program. Types and plans, which are most of the work, are judged module by module on all cores.
pub fn run(program: &Program) -> Vec<Diagnostic> {
    run_with(program, false)
}

/// As [`run`], for a plan: what is allowed is silent, but no error is.
pub fn run_for_plan(program: &Program) -> Vec<Diagnostic> {
    run_with(program, true)
}

fn run_with(program: &Program, keeps_errors: bool) -> Vec<Diagnostic> {
    let index = Arc::new(Index::new(program));
    let modules: Vec<ModuleId> = (1..program.modules.len() as u32).map(ModuleId).collect();
    let mut budget = Budget::of(program);
    let alone = modules.len() == 1;
    let size = |module: &ModuleId| program.module_files(*module).map(|(_, file)| file.text.len()).sum();
    let judge = |model: &Model<'_>, module: ModuleId| {
        let mut found = Vec::new();
        let mut used = types::check_declarations(model, module, &mut found);
        used.imports.extend(model.gone_through());
        let mut own = if alone { budget } else { budget.share(size(&module)) };
        let plans = plans(model, module, &mut own);
        (module, found, used, (alone || !own.is_spent()).then_some(plans))
    };
    let model = Model::sharing(program, &index);
    let judged = match modules.as_slice() {
        // What has been found out about the only one need not be found out again.
        [only] => vec![judge(&model, *only)],
        _ => parallel::map(modules, size, |module| judge(&Model::sharing(program, &index), module)),
    };
    model.look_again();
    let mut found = Vec::new();
    syntax::check(program, &mut found);
    let (mut used, mut later) = (Used::default(), Vec::new());
    for (module, types, own, plans) in judged {
        found.extend(types);
        used.absorb(own);
        later.push((module, plans));
    }
    name_unused::check(&model, &used, &mut found);
    for check in TREE_CHECKS {
        check(&model, &mut found);
    }
    for (module, judged) in later {
        // What is too large for the share of its module takes of what all have, one after another.
        found.extend(judged.unwrap_or_else(|| plans(&model, module, &mut budget)));
    }
    found.retain(|diagnostic| program.file(diagnostic.primary.file).module != ModuleId::PRELUDE);
    all_or_nothing_violated::hide_consequences(&model, &mut found);
    hide(&mut found);
    name_unused::hide_consequences(&model, &mut found);
    crate::allow::apply(program, keeps_errors, &mut found);
    finish(program, &mut found);
    found
}

/// Lowers and judges the pipelines of a module.
fn plans(model: &Model<'_>, module: ModuleId, budget: &mut Budget) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    // What was said at a place, and where it stands in what was found.
    let mut told: HashMap<(&str, Location), Vec<usize>> = HashMap::default();
    let before = Told::default();
    for id in model.declarations_of(module) {
        if !matches!(model.decl(id).kind, DeclarationKind::Pipeline(_)) {
            continue;
        }
        let mut own = Vec::new();
        if let Some(lowered) = lower_open(model, id, budget, &mut own) {
            judge(model, id, &lowered, &before, &mut budget.proofs, &mut own);
        }
        for it in own {
            // What pipelines share is said once; the places in the story of a broken promise all count.
            if it.rule != all_or_nothing_violated::RULE.name {
                let known = told.entry((it.rule, it.primary)).or_default();
                if known.iter().any(|index: &usize| found[*index].message == it.message) {
                    continue;
                }
                known.push(found.len());
            }
            found.push(it);
        }
    }
    found
}

/// Runs the checks of one plan; its proofs take no more than that effort.
pub fn judge(
    model: &Model<'_>,
    pipeline: DeclId,
    lowered: &Lowered,
    told: &Told,
    effort: &mut Effort,
    sink: &mut Vec<Diagnostic>,
) {
    // What a provider's steps do, hold and take is not known.
    if model.declarations().any(|id| model.as_provider(id).is_some() && model.is_broken(id)) {
        return;
    }
    let judged = Judged::new(model, pipeline, lowered, told);
    let known = sink.len();
    for check in PLAN_CHECKS {
        check(&judged, sink);
    }
    // A group that cannot even go well has nothing to promise.
    if sink[known..].iter().all(|diagnostic| diagnostic.severity != Severity::Error) {
        all_or_nothing_violated::check(&judged, effort, sink);
    }
}

/// One cause, one report: of each pair the first hides the second at the same place.
fn hide(found: &mut Vec<Diagnostic>) {
    const HIDES: [(&str, &str); 5] = [
        (barrier_rollback_reuse::RULE.name, barrier_duplicate::RULE.name),
        (barrier_rollback_reuse::RULE.name, name_duplicate::RULE.name),
        (barrier_duplicate::RULE.name, name_duplicate::RULE.name),
        (template_deployment_type::RULE.name, template_infrastructure_type::RULE.name),
        (failure_invalid::RULE.name, failure_unreachable::RULE.name),
    ];
    let all: HashSet<_> = found.iter().map(|it| (it.rule, it.primary)).collect();
    // A promise that breaks because nothing undoes a step says so there.
    let told: HashSet<_> = found
        .iter()
        .filter(|it| it.rule == all_or_nothing_violated::RULE.name)
        .flat_map(|it| it.labels.iter().map(|(at, _)| *at))
        .collect();
    // What stands beside a secret has its type, which it will not have any more.
    let leaks: Vec<_> =
        found.iter().filter(|it| it.rule == secret_leak::RULE.name).map(|it| it.primary).collect();
    let within = |at: Location| {
        leaks.iter().any(|leak| {
            let inside = |one: Span, other: Span| one.start <= other.start && other.end <= one.end;
            leak.file == at.file && (inside(leak.span, at.span) || inside(at.span, leak.span))
        })
    };
    found.retain(|it| it.rule != type_mismatch::RULE.name || !within(it.primary));
    found.retain(|it| it.rule != rollback_missing::RULE.name || !told.contains(&it.primary));
    // Which of two steps is meant needs no answer where they may not be called the same.
    let twice = |at: &Location| all.contains(&(name_duplicate::RULE.name, *at));
    found.retain(|it| {
        it.rule != type_output_unavailable::RULE.name || !it.labels.iter().any(|(at, _)| twice(at))
    });
    found.retain(|it| {
        !HIDES.iter().any(|(winner, loser)| *loser == it.rule && all.contains(&(*winner, it.primary)))
    });
}

/// What each element of a loop may do again, at one place: said once.
const ONCE: [&str; 5] = [
    barrier_alone::RULE.name,
    barrier_skippable::RULE.name,
    pipeline_conflict::RULE.name,
    template_environment_mismatch::RULE.name,
    type_not_allowed_value::RULE.name,
];

/// Sorts by file, position and rule.
pub fn sort(program: &Program, found: &mut [Diagnostic]) {
    found.sort_by(|a, b| {
        let key = |it: &Diagnostic| (it.primary.span, it.rule);
        let path = |it: &Diagnostic| program.file(it.primary.file).path.as_path();
        let by_file = if a.primary.file == b.primary.file { Ordering::Equal } else { path(a).cmp(path(b)) };
        by_file.then_with(|| key(a).cmp(&key(b))).then_with(|| a.message.cmp(&b.message))
    });
}

/// Sorted by file, position and rule, each report once.
pub fn finish(program: &Program, found: &mut Vec<Diagnostic>) {
    sort(program, found);
    // The same mistake may be met once for each round of a loop and each pipeline.
    found.dedup_by(|a, b| a.rule == b.rule && a.primary == b.primary && a.message == b.message);
    let mut more: Vec<usize> = vec![0];
    found.dedup_by(|again, first| {
        // Elements of one loop say the same of the same places.
        let places = |it: &Diagnostic| it.labels.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        let same = again.rule == first.rule
            && again.primary == first.primary
            && ONCE.contains(&first.rule)
            && places(again) == places(first);
        match more.last_mut() {
            Some(more) if same => *more += 1,
            _ => more.push(0),
        }
        same
    });
    for (diagnostic, more) in found.iter_mut().zip(more).filter(|(_, more)| *more > 0) {
        diagnostic.message.push_str(&format!(" (and {more} more like it)"));
    }
}
