//! Lowering: from a checked pipeline and its arguments to a plan, with a table from the plan's elements to the source.

mod again;
mod arguments;
mod expr;
mod matching;
#[cfg(test)]
mod of_text;
mod pipeline;
mod stage;
mod step;
mod templates;
mod things;
mod undoing;
mod value;

pub use arguments::parse_duration;

use crate::checks;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model};
use crate::program::{FileId, ModuleId, Program};
use foldhash::HashMap;
use lockstep_grammar::ast::DeclarationKind;
use lockstep_plan::proof::Effort;
use lockstep_plan::{
    BarrierId, BarrierKind, ConditionId, Expr, ItemId, Plan, ServiceId, TargetId, TemplateId, Value,
};
use std::collections::BTreeMap;
use std::path::Path;

/// A plan, and where its elements come from.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// What is to be done.
    pub plan: Plan,
    /// Where the source says so.
    pub origins: Origins,
    /// Items with a stage whose workflow is not known, in order.
    pub lacking: Vec<ItemId>,
}

/// The place in the source of each element of a plan, by its index.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// Names of stages.
    pub stages: Vec<Location>,
    /// Names of steps; a derived undo points at the step that it undoes.
    pub steps: Vec<Location>,
    /// Names of barriers where they stand; a `commit` points at `all_or_nothing`.
    pub places: Vec<Location>,
    /// For each scope its rules.
    pub scopes: Vec<Vec<Location>>,
    /// The word `parallel`, or the name of what stands alone.
    pub items: Vec<Location>,
    /// Conditions, where they were first met.
    pub conditions: Vec<Location>,
    /// Names of approvals.
    pub approvals: Vec<Location>,
    /// The pipeline's own rules.
    pub rules: Vec<Location>,
    /// For each target all of its declaration.
    pub targets: Vec<Location>,
    /// For each stage the declaration of its workflow.
    pub workflows: Vec<Location>,
    /// For each stage where its workflow's phases are named.
    pub phases: Vec<Vec<Location>>,
}

/// What a plan is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be carried out, or shown as what would be: nothing may be wrong with it.
    Run,
    /// To be played through. A promise that does not hold keeps nobody from looking at how it breaks.
    Rehearsal,
}

impl Purpose {
    /// Whether what was found is in the way.
    pub fn forbids(self, diagnostic: &Diagnostic) -> bool {
        diagnostic.severity == Severity::Error
            && (self == Purpose::Run || diagnostic.rule != checks::all_or_nothing_violated::RULE.name)
    }
}

/// Makes the plan of one pipeline of the module in directory `module`. `found` is what [`crate::check_for_plan`] says of the
/// program, which whoever asks for a plan has mostly looked at already.
///
/// # Errors
/// Everything that keeps the program from having a meaning, and everything wrong with the arguments; what is
/// returned may hold warnings besides, and always holds an error that `purpose` forbids.
pub fn lower_for(
    purpose: Purpose,
    program: &Program,
    found: Vec<Diagnostic>,
    module: &Path,
    pipeline: &str,
    arguments: &BTreeMap<String, String>,
) -> Result<Lowered, Vec<Diagnostic>> {
    let model = Model::new(program);
    let Some(root) = program.module_of(module) else {
        let nowhere = Location { file: FileId(0), span: Default::default() };
        let name = module.display().to_string();
        return Err(vec![checks::name_unknown::report(nowhere, "module", &name, []).label("")]);
    };
    let id = find_pipeline(&model, root, pipeline).map_err(|diagnostic| vec![*diagnostic])?;
    if found.iter().any(|diagnostic| purpose.forbids(diagnostic)) {
        return Err(found);
    }
    let mut sink = Vec::new();
    let values = arguments::read(&model, id, arguments, &mut sink);
    if !sink.is_empty() {
        return Err(sink);
    }
    let mut budget = Budget::of_one(program);
    let mut lowerer = Lowerer::new(&model, false, &mut budget);
    lowerer.pipeline(id, values);
    let Lowerer { mut plan, origins, lacking, mut sink, .. } = lowerer;
    plan.settle_places();
    let mut lowered = Lowered { plan, origins, lacking };
    if sink.iter().all(|diagnostic| diagnostic.severity != Severity::Error) {
        checks::judge(&model, id, &lowered, &checks::Told::default(), &mut budget.proofs, &mut sink);
        undoing::check(&lowered, &mut sink);
    }
    checks::finish(program, &mut sink);
    if sink.iter().any(|diagnostic| purpose.forbids(diagnostic)) {
        return Err(sink);
    }
    lowered.plan.join_claims();
    Ok(lowered)
}

/// As [`lower_for`], for a plan that is carried out of a program that is yet to be checked.
///
/// # Errors
/// As [`lower_for`].
pub fn lower(
    program: &Program,
    module: &Path,
    pipeline: &str,
    arguments: &BTreeMap<String, String>,
) -> Result<Lowered, Vec<Diagnostic>> {
    lower_for(Purpose::Run, program, checks::run_for_plan(program), module, pipeline, arguments)
}

/// As [`lower`], but with every parameter of the pipeline left open, for the checks. Problems that only show up on
/// the way go to `sink`; nothing comes of a pipeline that is too large.
pub fn lower_open(
    model: &Model<'_>,
    pipeline: DeclId,
    budget: &mut Budget,
    sink: &mut Vec<Diagnostic>,
) -> Option<Lowered> {
    lower_with(model, pipeline, budget, sink, true)
}

/// As [`lower_open`]; says whether stages may be copies of each other, which makes no difference but for the time it takes.
fn lower_with(
    model: &Model<'_>,
    pipeline: DeclId,
    budget: &mut Budget,
    sink: &mut Vec<Diagnostic>,
    copies: bool,
) -> Option<Lowered> {
    let mut lowerer = Lowerer::new(model, true, budget);
    lowerer.copies = copies;
    lowerer.pipeline(pipeline, HashMap::default());
    let Lowerer { mut plan, origins, lacking, sink: found, cut, .. } = lowerer;
    plan.settle_places();
    sink.extend(found);
    cut.is_none().then_some(Lowered { plan, origins, lacking })
}

fn find_pipeline(model: &Model<'_>, module: ModuleId, name: &str) -> Result<DeclId, Box<Diagnostic>> {
    let names = model.names(module);
    if let Some(id) = names.get(name)
        && matches!(model.decl(id).kind, DeclarationKind::Pipeline(_))
    {
        return Ok(id);
    }
    let pipelines = model.program.pipelines(module);
    let file = model.program.module_files(module).next().map(|(file, _)| file);
    let at = Location { file: file.unwrap_or(FileId(0)), span: Default::default() };
    Err(Box::new(checks::name_unknown::report(at, "pipeline", name, pipelines).label("")))
}

/// Builds one plan.
pub struct Lowerer<'a, 'p> {
    model: &'a Model<'p>,
    plan: Plan,
    origins: Origins,
    lacking: Vec<ItemId>,
    sink: Vec<Diagnostic>,
    /// Whether the pipeline's parameters are open.
    open: bool,
    /// The module whose directory paths are relative to.
    root: ModuleId,
    conditions: HashMap<Expr, ConditionId>,
    targets: HashMap<(DeclId, usize), TargetId>,
    /// For each target its environment, and which of its targets it is, by index.
    environments: Vec<(DeclId, usize)>,
    services: HashMap<(DeclId, Vec<Expr>), ServiceId>,
    /// For each service what its parameters mean.
    service_vars: Vec<value::Vars<'p>>,
    templates: HashMap<FileId, TemplateId>,
    barriers: HashMap<(ItemId, &'p str, BarrierKind), BarrierId>,
    /// Names that secrets, channels, groups and resources have in the plan.
    named: HashMap<DeclId, String>,
    /// Services and targets whose settings are being read, outermost first.
    making: Vec<(DeclId, usize)>,
    /// How many expressions deep the one is that is being read, those of other declarations included.
    depth: usize,
    /// Whether one was too deep, which has been reported then.
    deep: bool,
    /// Defaults of parameters that are open, for loops and timeouts.
    loops: BTreeMap<String, Value>,
    stage_names: HashMap<String, Location>,
    /// What has been made of each workflow, for the last stage for which it was worth remembering.
    made: HashMap<DeclId, again::Made<'p>>,
    /// Whether stages may be copies of each other.
    copies: bool,
    /// Whether something that is another stage's own has been asked for: its name, its target's settings, what its steps give.
    asked: bool,
    /// How much more may be done, and where the plan was cut off for want of it.
    budget: &'a mut Budget,
    cut: Option<Location>,
}

/// What the plans of a program may come to, in steps, barriers, arguments and the like: loops and texts that double
/// themselves make very much of a small source.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    plans: usize,
    /// What the proofs of promises may cost.
    pub proofs: Effort,
}

impl Budget {
    /// So much for every program, and more for a large one: the work stays in proportion to the source.
    pub fn of(program: &Program) -> Self {
        const LEAST: usize = 500_000;
        const EACH_BYTE: usize = 4;
        const EVENTS: usize = 96_000;
        const BYTES_OF_AN_EVENT: usize = 4;
        let bytes: usize = program.files().map(|(_, file)| file.text.len()).sum();
        let proofs = Effort::new(EVENTS + bytes / BYTES_OF_AN_EVENT);
        Budget { plans: LEAST + EACH_BYTE * bytes, proofs }
    }

    /// As much for one pipeline that somebody asks for by name, which may well be large: hundreds of thousands of steps.
    pub fn of_one(program: &Program) -> Self {
        const LEAST: usize = 10_000_000;
        let usual = Budget::of(program);
        Budget { plans: LEAST.max(usual.plans), ..usual }
    }

    /// The share that a module of so many bytes may take without asking what others took.
    pub fn share(self, bytes: usize) -> Self {
        const LEAST: usize = 4_000;
        const EACH_BYTE: usize = 16;
        const EVENTS: usize = 2_000;
        Budget { plans: self.plans.min(LEAST + EACH_BYTE * bytes), proofs: self.proofs.at_most(EVENTS) }
    }

    /// Whether no more may be done.
    pub fn is_spent(self) -> bool {
        self.plans == 0 || self.proofs.is_spent()
    }
}

impl<'a, 'p> Lowerer<'a, 'p> {
    fn new(model: &'a Model<'p>, open: bool, budget: &'a mut Budget) -> Self {
        Lowerer {
            model,
            plan: Plan::default(),
            origins: Origins::default(),
            lacking: Vec::new(),
            sink: Vec::new(),
            open,
            root: ModuleId::PRELUDE,
            conditions: HashMap::default(),
            targets: HashMap::default(),
            environments: Vec::new(),
            services: HashMap::default(),
            service_vars: Vec::new(),
            templates: HashMap::default(),
            barriers: HashMap::default(),
            named: HashMap::default(),
            making: Vec::new(),
            depth: 0,
            deep: false,
            loops: BTreeMap::new(),
            stage_names: HashMap::default(),
            made: HashMap::default(),
            copies: false,
            asked: false,
            budget,
            cut: None,
        }
    }

    /// Takes some of the budget; what is cut off is reported where the stage at hand stands.
    fn charge(&mut self, work: usize) {
        if work >= self.budget.plans && self.cut.is_none() {
            self.cut = self.origins.stages.last().copied().or(self.origins.items.last().copied());
        }
        self.budget.plans = self.budget.plans.saturating_sub(work);
    }

    /// Whether no more may be done.
    fn is_spent(&self) -> bool {
        self.budget.plans == 0
    }
}
