//! The plan: everything a run may do, with every name resolved and every constant folded.
//!
//! A plan is data. It holds no source text and no source positions; elements are named by index ([`StepId`] and
//! the like), so that whoever made the plan can keep a table from index to source position. What a plan *means*
//! is said by [`crate::machine`] alone.

use crate::{Before, Expr, Kind, Value, ValueType};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A few named things, in the order of their names. There are several for each step, so they are kept in as little memory as
/// they need, which a B-tree is not made for.
pub type Fields<T> = litemap::LiteMap<String, T>;

/// The fields that these make, in just the memory that they take. Of several of one name the last counts.
pub fn fields<T>(from: impl IntoIterator<Item = (String, T)>) -> Fields<T> {
    // Where they are a list already, it is taken over.
    let mut all: Vec<(String, T)> = from.into_iter().collect();
    all.sort_by(|(one, _), (two, _)| one.cmp(two));
    all.dedup_by(|later, first| {
        let again = later.0 == first.0;
        if again {
            std::mem::swap(later, first);
        }
        again
    });
    exactly(Fields::from_sorted_store_unchecked(all))
}

/// Giving back the end of a small piece of memory frees nothing: they move to one of the right size.
fn exactly<T>(fields: Fields<T>) -> Fields<T> {
    let mut all = fields.into_tuple_vec();
    if all.capacity() > all.len() {
        let mut exact = Vec::with_capacity(all.len());
        exact.append(&mut all);
        all = exact;
    }
    Fields::from_sorted_store_unchecked(all)
}

/// As they are read, they take more memory than they need.
fn read_exactly<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Fields<T>, D::Error> {
    Fields::deserialize(deserializer).map(exactly)
}

/// None at all are a map, too.
fn as_map<T: Serialize, S: serde::Serializer>(fields: &Fields<T>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into the plan's list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// Index into [`Plan::stages`].
    StageId;
    /// Index into [`Plan::steps`].
    StepId;
    /// Index into [`Plan::barriers`].
    BarrierId;
    /// Index into [`Plan::places`].
    PlaceId;
    /// Index into [`Plan::targets`].
    TargetId;
    /// Index into [`Plan::services`].
    ServiceId;
    /// Index into [`Plan::conditions`].
    ConditionId;
    /// Index into [`Plan::scopes`].
    ScopeId;
    /// Index into [`Plan::approvals`].
    ApprovalId;
    /// Index into [`Plan::items`].
    ItemId;
    /// Index into [`Plan::claims`].
    ClaimId;
    /// Index into [`Plan::templates`].
    TemplateId;
}

/// A compiled pipeline. The order of every list is the source's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline's arguments, defaults included. Parameters left open are missing.
    pub arguments: BTreeMap<String, Value>,
    /// What runs one after another.
    pub items: Vec<Item>,
    /// Every stage of every item.
    pub stages: Vec<Stage>,
    /// Every step, those that undo and those of rollback blocks included.
    pub steps: Vec<Step>,
    /// Every barrier.
    pub barriers: Vec<Barrier>,
    /// Every place where a barrier stands in a stage or closes a branch.
    pub places: Vec<Place>,
    /// Every approval that stands where a stage could.
    pub approvals: Vec<Approval>,
    /// Conditions; several positions may share one.
    pub conditions: Vec<Expr>,
    /// Failure rules, a list for each scope that has any.
    pub scopes: Vec<Scope>,
    /// Rules of the pipeline itself, which apply when an item has ended.
    pub rules: Vec<Rule>,
    /// Where things are deployed to.
    pub targets: Vec<Target>,
    /// What is deployed, a service for each different set of arguments.
    pub services: Vec<Service>,
    /// Where secrets come from, by name.
    pub secrets: BTreeMap<String, Source>,
    /// Where notifications go, by name.
    pub channels: BTreeMap<String, Source>,
    /// Who belongs to a group, by name.
    pub groups: BTreeMap<String, Vec<String>>,
    /// How many permits a resource has, by name.
    pub resources: BTreeMap<String, u32>,
    /// The pipeline's own notifications.
    pub notifies: Vec<Notify>,
    /// Programs that carry out the steps of providers, by provider: a name that is looked for in `$PATH`, or a path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
    /// Who may do what, for each environment of [`Plan::targets`] that says so.
    #[serde(default)]
    pub permissions: BTreeMap<String, Permissions>,
    /// What is held while stages work; made by [`Plan::join_claims`].
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// What targets turned out to be, for those that their settings alone do not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<Resolved>,
    /// Files of other languages with placeholders, which services and steps name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Template>,
}

/// What an environment says of who may act on it: names in [`Plan::groups`]. Nothing said: everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// By what is done; only what the environment speaks of.
    pub groups: BTreeMap<Deed, Vec<String>>,
}

/// What a person may do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Start it, or go on with it.
    Run,
    /// Roll it back.
    Rollback,
    /// Abort it.
    Abort,
    /// Answer its questions.
    Answer,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Deed; 4] = [Deed::Run, Deed::Rollback, Deed::Abort, Deed::Answer];

    /// The environment's setting that speaks of it.
    pub fn setting(self) -> &'static str {
        match self {
            Deed::Run => "may_run",
            Deed::Rollback => "may_rollback",
            Deed::Abort => "may_abort",
            Deed::Answer => "may_answer",
        }
    }
}

/// Somebody may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{person}` may not do that in environment `{environment}`: its `{}` names {}",
    deed.setting(),
    groups.join(", ")
)]
pub struct Refusal {
    /// Who.
    pub person: String,
    /// Where.
    pub environment: String,
    /// What.
    pub deed: Deed,
    /// Which groups may.
    pub groups: Vec<String>,
}

impl Plan {
    /// Whether a person may do something with runs of this plan.
    ///
    /// # Errors
    /// The first environment that does not let them.
    pub fn permits(&self, person: &str, deed: Deed) -> Result<(), Refusal> {
        for (environment, permissions) in &self.permissions {
            let Some(groups) = permissions.groups.get(&deed) else { continue };
            let member = |group: &String| {
                self.groups.get(group).is_some_and(|members| members.iter().any(|member| member == person))
            };
            if !groups.iter().any(member) {
                let (person, environment) = (person.to_owned(), environment.clone());
                return Err(Refusal { person, environment, deed, groups: groups.clone() });
            }
        }
        Ok(())
    }
}

/// Branches that start together; the next item starts when all of them have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What `parallel` says, or nothing where a stage or an approval stands alone.
    pub group: Option<Group>,
    /// At least one; exactly one without a group.
    pub branches: Vec<Branch>,
}

impl Item {
    /// Whether it promises to end all new or all old.
    pub fn promises(&self) -> bool {
        self.group.is_some_and(|group| group.all_or_nothing)
    }
}

/// A `parallel` group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its number among the pipeline's groups, from 1, in source order.
    pub number: u32,
    /// How many branches may run at once.
    pub max: Option<u32>,
    /// Whether it promises to end all new or all old.
    pub all_or_nothing: bool,
}

/// Stages and approvals that run one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// The lane's name, where it is one.
    pub lane: Option<String>,
    /// In order.
    pub parts: Vec<Part>,
    /// The implicit barrier `commit` that closes the branch of an `all_or_nothing` group.
    pub commit: Option<PlaceId>,
}

impl Branch {
    /// Its stages, in order.
    pub fn stages(&self) -> impl DoubleEndedIterator<Item = StageId> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Stage(stage) => Some(*stage),
            Part::Approval(_) => None,
        })
    }
}

/// What a branch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A workflow instance.
    Stage(StageId),
    /// A person's go-ahead.
    Approval(ApprovalId),
}

/// A workflow instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// `region1`, `deploy[us-east]`
    pub name: String,
    /// The workflow it is an instance of.
    pub workflow: CompactString,
    /// The item it belongs to.
    pub item: ItemId,
    /// The branch of that item.
    pub branch: u32,
    /// The stage is skipped unless these hold.
    pub when: Vec<ConditionId>,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// What it does, in order: the phases' positions one after another.
    pub positions: Vec<Position>,
    /// Replaces every derived rollback of the stage.
    pub rollback: Option<Vec<BlockItem>>,
    /// `use`s of the workflow.
    pub uses: Vec<Use>,
    /// What another run on the same target means.
    pub concurrency: Concurrency,
    /// Notifications.
    pub notifies: Vec<Notify>,
    /// What it holds, alone or with others, before it starts.
    #[serde(default)]
    pub claim: Option<ClaimId>,
    /// What its own rollback block holds while it works.
    #[serde(default)]
    pub rollback_claim: Option<ClaimId>,
}

impl Stage {
    /// Its steps but for those that undo, in source order.
    pub fn forward_steps(&self) -> impl Iterator<Item = StepId> + '_ {
        self.positions.iter().flat_map(Position::steps).copied()
    }
}

/// What a stage does when another run holds its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// Waits, first in first out.
    #[default]
    Queue,
    /// Fails at once.
    Reject,
    /// Takes no claim.
    None,
}

/// A phase of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: CompactString,
    /// How many conditions it has: they come first in [`Position::when`], before those of a section.
    #[serde(default)]
    pub conditions: u32,
    /// Replaces the derived rollback of this phase.
    pub rollback: Option<Vec<BlockItem>>,
    /// `use`s of the phase.
    pub uses: Vec<Use>,
    /// What it holds while its steps, or those that undo them, are at work.
    #[serde(default)]
    pub claim: Option<ClaimId>,
}

/// A place in the order of a stage. Its conditions are those of its phase and section; steps and barriers have their own besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index into [`Stage::phases`].
    pub phase: u32,
    /// Names of the sections around it, outermost first.
    pub sections: Vec<CompactString>,
    /// The position is skipped unless these hold.
    pub when: Vec<ConditionId>,
    /// What stands there.
    pub work: Work,
}

impl Position {
    /// The steps that stand there: none at a barrier.
    pub fn steps(&self) -> &[StepId] {
        match &self.work {
            Work::Steps(steps) => steps,
            Work::Barrier(_) => &[],
        }
    }
}

/// What stands at a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// One step, or several that run in parallel.
    Steps(Vec<StepId>),
    /// A barrier.
    Barrier(PlaceId),
}

/// What stands in a rollback block.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockItem {
    /// One step, or several that run in parallel.
    Steps(Vec<StepId>),
    /// A rollback barrier.
    Barrier(PlaceId),
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `region2.deploy.rollout`, `region2.deploy.rollout.undo`, `region2.deploy.rollback.NAME`
    pub name: String,
    /// Its stage.
    pub stage: StageId,
    /// Index into [`Stage::phases`]; none in a workflow's rollback block.
    pub phase: Option<u32>,
    /// Forward, or part of a rollback.
    pub role: Role,
    /// What is done.
    pub action: Action,
    /// The step is skipped unless these hold.
    pub when: Vec<ConditionId>,
    /// Of one attempt, in milliseconds.
    pub timeout: u64,
    /// Whether it changes the target.
    pub changes: bool,
    /// What undoes it, for a changing step.
    pub undo: Undo,
    /// Whether an attempt whose end nobody knows may be repeated.
    pub idempotent: bool,
    /// Whether it only looks or waits, so that it can be cut short without harm (checks, `wait`).
    pub interruptible: bool,
    /// Where its failure rules stand, innermost scope first.
    pub scopes: Vec<ScopeId>,
    /// The outputs it gives.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub outputs: Fields<ValueType>,
}

impl Step {
    /// Whether it puts out what an expression calls so: an output, or a map that may have the key.
    pub fn puts_out(&self, name: &str) -> bool {
        let is_map = |(map, _)| self.outputs.get(map) == Some(&ValueType::Map) || self.puts_out(map);
        self.outputs.contains_key(name) || Expr::as_key(name).is_some_and(is_map)
    }
}

/// What a step is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A phase.
    Forward,
    /// The derived rollback: it undoes that step.
    Undo(StepId),
    /// A rollback block.
    Block,
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Nothing undoes it: it changes nothing, or a rollback block has to see to it.
    #[default]
    None,
    /// It cannot be undone, and says so.
    Irreversible,
    /// This step of role [`Role::Undo`] undoes it.
    Derived(StepId),
    /// This step of a rollback block undoes it, and runs only if the step was executed.
    Block(StepId),
}

impl Undo {
    /// The step that undoes it, where one does.
    pub fn step(&self) -> Option<StepId> {
        match self {
            Undo::Derived(undo) | Undo::Block(undo) => Some(*undo),
            Undo::None | Undo::Irreversible => None,
        }
    }
}

/// What a driver is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The provider that declares the step: `local`, `shell`, `http`.
    pub provider: CompactString,
    /// The step: `deploy`, `shell`, `check`.
    pub step: CompactString,
    /// Arguments, defaults included, optional ones that were not given missing.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub arguments: Fields<Expr>,
    /// The phase's target.
    pub target: Option<TargetId>,
    /// The phase's service.
    pub service: Option<ServiceId>,
    /// The files with placeholders that the arguments name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Filled>,
    /// Those that the service's settings name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_files: Vec<Filled>,
}

/// A file with placeholders, as it was when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Where it is, relative to the pipeline's module.
    pub path: String,
    /// What stands before, between and after its placeholders: one piece more than there are placeholders.
    pub pieces: Vec<String>,
}

/// A template as one step has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// Which.
    pub template: TemplateId,
    /// What its placeholders stand for, in their order.
    pub holes: Vec<Expr>,
}

/// Where something is deployed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `production.region1`
    pub name: String,
    /// Its deployment type.
    pub provider: CompactString,
    /// The environment's name.
    pub environment: CompactString,
    /// The environment's `kind`.
    pub kind: CompactString,
    /// Settings, defaults included.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub settings: Fields<Expr>,
    /// The settings that tell it from other targets of its provider; none: all of them.
    #[serde(default)]
    pub identity: Vec<CompactString>,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `checkout`
    pub name: String,
    /// Its deployment type.
    pub provider: CompactString,
    /// `docker_image`, `jar`, …
    pub artifact_type: CompactString,
    /// Settings of the artifact, defaults included.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub artifact: Fields<Expr>,
    /// Settings of the service, defaults included.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub settings: Fields<Expr>,
}

/// A secret's source or a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `env`, `file`, `slack`, …
    pub kind: String,
    /// Its settings.
    #[serde(serialize_with = "as_map", deserialize_with = "read_exactly")]
    pub settings: Fields<Expr>,
}

/// A barrier of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// `all_regions`
    pub name: String,
    /// The item whose branches meet here.
    pub item: ItemId,
    /// Which kind.
    pub kind: BarrierKind,
    /// Where its participants meet, one place for each participant.
    pub places: Vec<PlaceId>,
}

/// Kinds of barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BarrierKind {
    /// In a phase.
    Forward,
    /// In a rollback block: orders rollbacks, never fails.
    Rollback,
    /// Closes the branches of an `all_or_nothing` group.
    Commit,
}

/// Where a barrier stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// `region1.wrap_up.all_regions`; of a `commit`: the branch's last stage and `commit`.
    pub name: String,
    /// The barrier.
    pub barrier: BarrierId,
    /// The stage it stands in; of a `commit` the last stage of the branch, if it has one.
    pub stage: Option<StageId>,
    /// The branch of the barrier's item.
    pub branch: u32,
    /// The barrier is skipped here unless these hold.
    pub when: Vec<ConditionId>,
    /// How long this participant waits, in milliseconds; `commit` waits as long as it takes.
    pub timeout: Option<u64>,
    /// The failure rules in force here, innermost scope first.
    pub scopes: Vec<ScopeId>,
    /// Whether a constant condition keeps its participant away, here or with the section, phase or stage around it: nobody waits
    /// for it then. See [`Plan::settle_places`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
}

/// A person's go-ahead between stages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its name, with its index where it has one.
    pub name: String,
    /// The item it belongs to.
    pub item: ItemId,
    /// The branch of that item.
    pub branch: u32,
    /// Who may answer.
    pub from: String,
    /// How long, in milliseconds.
    pub within: u64,
}

/// The failure rules of one step, section, phase or workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// For people: `step rollout`, `phase deploy`, `workflow rolling`.
    pub owner: String,
    /// In source order; the first match wins.
    pub rules: Vec<Rule>,
}

/// `on failure of KINDS under N% of hosts { ACTION }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Which kinds; none means every kind.
    pub kinds: Vec<Kind>,
    /// Matches when strictly less than this share of the step's hosts failed.
    pub under: Option<u32>,
    /// What to do.
    pub reaction: Reaction,
}

/// The action of a failure rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// Go on; the step stands failed.
    Ignore,
    /// Count it as success.
    Succeed,
    /// The stage stops, failed, without rollback.
    Fail,
    /// The whole run stops without rollback.
    Abort,
    /// The stage rolls back.
    Rollback,
    /// The phase rolls back, and the stage ends failed.
    RollbackPhase,
    /// The whole pipeline rolls back (pipeline rules only).
    RollbackPipeline,
    /// Try the step again.
    Retry {
        /// How many further attempts.
        times: u32,
        /// Waits before each, in milliseconds; the last repeats. Never empty.
        every: Vec<u64>,
        /// When they all failed.
        then: Box<Reaction>,
    },
    /// A person decides.
    Ask {
        /// Who may.
        group: String,
        /// How long, in milliseconds.
        within: u64,
        /// When nobody answers.
        then: Box<Reaction>,
    },
}

/// `notify CHANNELS on EVENTS`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Names in [`Plan::channels`].
    pub channels: Vec<String>,
    /// When.
    pub events: Vec<NotifyEvent>,
}

/// What a notification can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// It rolls back.
    Rollback,
    /// It waits for a person.
    Waiting,
}

/// `use RESOURCE { permits = N }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Name in [`Plan::resources`].
    pub resource: String,
    /// How many permits.
    pub permits: u32,
}

/// Targets and permits that are taken together, granted whole, and held while stages work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// When it is held.
    pub scope: ClaimScope,
    /// Whose it is.
    pub stages: Vec<StageId>,
    /// What nobody else may change meanwhile.
    pub targets: Vec<Held>,
    /// Permits of resources, by name.
    pub uses: Vec<Use>,
    /// Whether it is refused, rather than waited for, when another run holds something of it.
    pub reject: bool,
}

/// When a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimScope {
    /// From before the first of its stages starts until nothing of them can be rolled back any more.
    Stages,
    /// While that phase of its stage, or the undoing of it, is at work.
    Phase(u32),
    /// While the rollback block of its stage is at work.
    Rollback,
}

/// What a service on a target turned out to be when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Which.
    pub held: Held,
    /// The same text for everything that is the same.
    pub identity: String,
}

/// A service on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// Where.
    pub target: TargetId,
    /// What.
    pub service: Option<ServiceId>,
}

impl Plan {
    /// Finds the places of barriers that nobody can come to, once all conditions are known that will be before the run.
    pub fn settle_places(&mut self) {
        let never = |condition: &Expr| condition.known_before() == Before::Comes(false);
        let never: Vec<bool> = self.conditions.iter().map(never).collect();
        self.skip_places(&|id| never[id.index()]);
    }

    /// Marks the places that one of these conditions keeps somebody away from.
    pub(crate) fn skip_places(&mut self, never: &dyn Fn(ConditionId) -> bool) {
        let skipped: Vec<(PlaceId, bool)> =
            self.conditions_of_places().map(|(place, mut when)| (place, when.any(never))).collect();
        for (place, skipped) in skipped {
            self.places[place.index()].skipped = skipped;
        }
    }

    /// The conditions under which stages come to their places, those around them included.
    pub(crate) fn conditions_of_places(
        &self,
    ) -> impl Iterator<Item = (PlaceId, impl Iterator<Item = ConditionId> + '_)> {
        let positions =
            self.stages.iter().flat_map(|it| it.positions.iter().map(move |position| (it, position)));
        positions.filter_map(|(stage, position)| {
            let Work::Barrier(id) = position.work else { return None };
            let around = stage.when.iter().chain(&position.when);
            Some((id, around.chain(&self.places[id.index()].when).copied()))
        })
    }
}
