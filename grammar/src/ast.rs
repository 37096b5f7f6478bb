//! The syntax tree: what a file says, with the place where it says it.
//!
//! One type for each production of the grammar (`docs/language.md`, "Syntax"). Every node carries a [`Span`], so that a
//! later pass can point at it. The tree holds only what was understood: text that was not is left out and
//! reported by the parser, so that no later pass stumbles over it a second time.

use compact_str::CompactString;

/// A half-open range of byte offsets into one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range from `start` up to, and without, `end`.
    pub fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    /// The smallest range that covers both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether an offset lies in the range, its end included.
    pub fn contains(self, offset: u32) -> bool {
        self.start <= offset && offset <= self.end
    }

    /// Whether the range covers nothing.
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// An identifier where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its text.
    pub text: CompactString,
    /// Where.
    pub span: Span,
}

/// A dotted path: `production.region1`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The names between the dots.
    pub names: Vec<Name>,
    /// From the first to the last.
    pub span: Span,
}

/// `///` lines above a declaration or `//!` lines of a file, joined by newlines, markers removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Docs(pub CompactString);

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// `//!` documentation.
    pub docs: Docs,
    /// `import` lines.
    pub imports: Vec<Import>,
    /// Everything declared, in source order.
    pub declarations: Vec<Declaration>,
}

/// `import "../common" as shared`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The whole line.
    pub span: Span,
    /// The directory, relative to the file's own.
    pub path: CompactString,
    /// Where the path is written, quotes included.
    pub path_span: Span,
    /// The name after `as`.
    pub alias: Option<Name>,
}

/// A declaration of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The whole declaration, without its documentation.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// The word that says what is declared.
    pub keyword: Span,
    /// What it is called.
    pub name: Name,
    /// What it is.
    pub kind: DeclarationKind,
}

/// The kinds of declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclarationKind {
    /// `service NAME(params) = PROVIDER { … }`
    Service {
        /// Its parameters.
        params: Params,
        /// Provider and settings.
        value: Construct,
    },
    /// `environment NAME { … }`
    Environment(Environment),
    /// `secret NAME = SOURCE { … }`
    Secret(Construct),
    /// `channel NAME = KIND { … }`
    Channel(Construct),
    /// `group NAME { … }`
    Group(Record),
    /// `resource NAME { … }`
    Resource(Record),
    /// `workflow NAME(params) { … }`
    Workflow(Workflow),
    /// `pipeline NAME(params) { … }`
    Pipeline(Pipeline),
    /// `provider NAME { … }`
    Provider(Provider),
}

/// `NAME = expr`, where only settings can stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The whole of it.
    pub span: Span,
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: Expr,
}

/// The body of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `kind = production` and the like.
    pub settings: Vec<Setting>,
    /// Its targets.
    pub infrastructure: Vec<Infrastructure>,
}

/// `infrastructure NAME = PROVIDER { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Infrastructure {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Provider and settings.
    pub value: Construct,
}

/// `path { entries }`: an instance of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Construct {
    /// The whole of it.
    pub span: Span,
    /// What it is an instance of.
    pub path: Path,
    /// Its arguments.
    pub record: Record,
}

/// `{ a = 1, "b.c/d" = 2, version }`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// With its braces.
    pub span: Span,
    /// In source order.
    pub entries: Vec<Entry>,
}

/// One entry of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole of it.
    pub span: Span,
    /// The key; a quoted key is plain text (its span includes the quotes).
    pub name: Name,
    /// Whether the key is written in quotes.
    pub quoted: bool,
    /// The value; for the short form `{ version }` a path of that one name, with `short` set.
    pub value: Expr,
    /// `{ version }` for `{ version = version }`.
    pub short: bool,
}

/// A parameter list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    /// With its parentheses; empty where there is none.
    pub span: Span,
    /// In source order.
    pub items: Vec<Param>,
}

/// `NAME: type = default`; also a field of a provider's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: Type,
    /// The value where none is given.
    pub default: Option<Expr>,
}

/// A type as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// The whole of it.
    pub span: Span,
    /// `string`, `list`, `service`, …
    pub name: Name,
    /// Between `<` and `>`: for each argument its alternatives (`jar | war`).
    pub arguments: Vec<Vec<Type>>,
    /// Where `?` stands.
    pub optional: Option<Span>,
    /// After `in`.
    pub within: Option<Within>,
}

/// The restriction of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// `in ["gold", "silver"]`
    List(Vec<Expr>, Span),
    /// `in 1..20`, both ends included.
    Range(i64, i64, Span),
    /// `in environment_param`
    Name(Name),
}

/// The body of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Workflow {
    /// Its parameters.
    pub params: Params,
    /// With its braces.
    pub body: Span,
    /// `strategy = rolling`, `concurrency = queue`.
    pub settings: Vec<Setting>,
    /// Its phases in source order, those of `parallel` blocks included.
    pub phases: Vec<Phase>,
    /// `parallel { phase … }`: never allowed, kept to say so properly.
    pub parallel_phases: Vec<ParallelPhases>,
    /// `on failure` rules.
    pub failures: Vec<Failure>,
    /// `rollback { … }` blocks; more than one is an error of a later pass.
    pub rollbacks: Vec<Rollback>,
    /// `notify … on …`
    pub notifies: Vec<Notify>,
    /// `use RESOURCE { … }`
    pub uses: Vec<Use>,
}

/// `parallel { phase a … phase b … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParallelPhases {
    /// The whole of it.
    pub span: Span,
    /// The word `parallel`.
    pub keyword: Span,
    /// Which of [`Workflow::phases`] it holds.
    pub phases: std::ops::Range<usize>,
}

/// `phase NAME { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// `skip if`, `only if`.
    pub conditions: Vec<Condition>,
    /// `service = …`, `infra = …`
    pub settings: Vec<Setting>,
    /// Steps, sections and barriers in source order.
    pub items: Vec<Item>,
    /// `on failure` rules.
    pub failures: Vec<Failure>,
    /// `rollback { … }` blocks; more than one is an error of a later pass.
    pub rollbacks: Vec<Rollback>,
    /// `use RESOURCE { … }`
    pub uses: Vec<Use>,
}

/// What stands in a phase, a section or a rollback block, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// One step.
    Step(Step),
    /// `parallel { step … }`
    Steps(Steps),
    /// `section NAME { … }`; not in a rollback block, and not in a section.
    Section(Section),
    /// A barrier.
    Barrier(Barrier),
}

/// `section NAME { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// `skip if`, `only if`.
    pub conditions: Vec<Condition>,
    /// Steps and barriers in source order.
    pub items: Vec<Item>,
    /// `on failure` rules.
    pub failures: Vec<Failure>,
}

/// `parallel { step … step … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps {
    /// The whole of it.
    pub span: Span,
    /// The word `parallel`.
    pub keyword: Span,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// `step NAME = PROVIDER.STEP { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// What it runs.
    pub path: Path,
    /// `skip if`, `only if`.
    pub conditions: Vec<Condition>,
    /// Arguments and settings (`timeout`, `changes`, `undone_by`, `irreversible`).
    pub arguments: Record,
    /// `on failure` rules.
    pub failures: Vec<Failure>,
}

/// `barrier NAME { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// `skip if`, `only if`.
    pub conditions: Vec<Condition>,
    /// `timeout = 10m`
    pub settings: Vec<Setting>,
}

/// `skip if E` or `only if E`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The whole of it.
    pub span: Span,
    /// Whether it says `only if`.
    pub only: bool,
    /// What decides.
    pub value: Expr,
}

/// `on failure of KIND under N% of hosts { ACTION }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The whole of it.
    pub span: Span,
    /// The kinds after `of`; none means every kind.
    pub kinds: Vec<Name>,
    /// The share after `under`, in percent.
    pub under: Option<(u32, Span)>,
    /// What to do.
    pub action: Action,
}

/// What a failure rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The whole of it, a following `then` included.
    pub span: Span,
    /// Which.
    pub kind: ActionKind,
}

/// The actions of failure rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionKind {
    /// Go on; the step stands failed.
    Ignore,
    /// Count it as success.
    Succeed,
    /// The stage stops, failed, without rollback.
    Fail,
    /// Stop the whole run without rollback.
    Abort,
    /// Roll the workflow back.
    Rollback,
    /// Roll this phase back.
    RollbackPhase,
    /// Roll the stages back that had succeeded, too (pipelines only).
    RollbackPipeline,
    /// Try again.
    Retry {
        /// How many further attempts.
        times: u32,
        /// Waits between attempts, in milliseconds; the last one repeats. Never empty.
        every: Vec<u64>,
        /// When all attempts have failed.
        then: Box<Action>,
    },
    /// A person decides.
    Ask {
        /// Who.
        group: Name,
        /// How long, in milliseconds.
        within: u64,
        /// When nobody answers.
        then: Box<Action>,
    },
}

/// `rollback { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// The whole of it.
    pub span: Span,
    /// The word `rollback`.
    pub keyword: Span,
    /// Steps, parallel steps and barriers in source order.
    pub items: Vec<Item>,
}

/// `notify CHANNEL, … on EVENT, …`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The whole of it.
    pub span: Span,
    /// To whom.
    pub channels: Vec<Name>,
    /// When: `success`, `failure`, `rollback`, `waiting`.
    pub events: Vec<Name>,
}

/// `use RESOURCE { permits = 1 }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The whole of it.
    pub span: Span,
    /// What.
    pub resource: Path,
    /// How.
    pub record: Option<Record>,
}

/// The body of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pipeline {
    /// Its parameters.
    pub params: Params,
    /// With its braces.
    pub body: Span,
    /// Its items in source order.
    pub items: Vec<PipelineItem>,
    /// `on failure` rules.
    pub failures: Vec<Failure>,
    /// `notify … on …`
    pub notifies: Vec<Notify>,
}

/// What stands in a pipeline, a parallel group, a lane or a loop. Which of them may stand where is the grammar's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineItem {
    /// One workflow instance.
    Stage(Stage),
    /// A person's go-ahead.
    Approval(Approval),
    /// Branches that run at the same time.
    Parallel(Parallel),
    /// A sequence that is one branch of a group.
    Lane(Lane),
    /// A loop that expands when compiled.
    For(For),
}

/// `stage NAME[index] = WORKFLOW { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Between `[` and `]`.
    pub index: Option<Expr>,
    /// The workflow.
    pub path: Path,
    /// `skip if`, `only if`.
    pub conditions: Vec<Condition>,
    /// Arguments.
    pub arguments: Record,
}

/// `approval NAME { from = …, within = … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub record: Record,
}

/// `parallel max N all_or_nothing { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parallel {
    /// The whole of it.
    pub span: Span,
    /// The word `parallel`: where rules about the group point.
    pub keyword: Span,
    /// How many branches at once.
    pub max: Option<(u32, Span)>,
    /// Where `all_or_nothing` stands.
    pub all_or_nothing: Option<Span>,
    /// Its branches.
    pub items: Vec<PipelineItem>,
}

/// `lane NAME[index] { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Between `[` and `]`.
    pub index: Option<Expr>,
    /// Stages and approvals.
    pub items: Vec<PipelineItem>,
}

/// `for x in LIST { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct For {
    /// The whole of it.
    pub span: Span,
    /// The loop variable.
    pub name: Name,
    /// What it runs over.
    pub list: Expr,
    /// What is repeated.
    pub items: Vec<PipelineItem>,
}

/// The body of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provider {
    /// With its braces.
    pub body: Span,
    /// `artifacts`, `strategies`, `program`.
    pub settings: Vec<Setting>,
    /// `service { … }`
    pub service: Option<Fields>,
    /// `infrastructure { … }`
    pub infrastructure: Option<Fields>,
    /// `artifact NAME { … }`
    pub artifacts: Vec<ArtifactType>,
    /// Its steps.
    pub steps: Vec<Signature>,
}

/// `{ NAME: type = default … }`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// With its braces.
    pub span: Span,
    /// In source order.
    pub items: Vec<Param>,
}

/// `artifact NAME { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactType {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Its settings.
    pub fields: Fields,
}

/// `step NAME(params) -> { outputs } { … }`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The whole of it.
    pub span: Span,
    /// Documentation above it.
    pub docs: Docs,
    /// Its name.
    pub name: Name,
    /// Its parameters.
    pub params: Params,
    /// What it gives.
    pub outputs: Option<Fields>,
    /// Where `changes target` stands.
    pub changes: Option<Span>,
    /// The step after `undone by`.
    pub undone_by: Option<Name>,
    /// Where `irreversible` stands.
    pub irreversible: Option<Span>,
    /// `one_of`, `place` and the like.
    pub settings: Vec<Setting>,
}

/// An expression where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expr {
    /// The whole of it.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The forms of expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprKind {
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `20%`
    Percent(u32),
    /// `1h30m`, in milliseconds.
    Duration(u64),
    /// `"…${x}…"`
    Text(Text),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{ a = 1 }`
    Record(Record),
    /// `a.b`
    Path(Path),
    /// `production.*`
    Star(Path),
    /// `checkout { version }`
    Construct(Construct),
    /// `contains(a, b)`
    Call {
        /// The function.
        name: Name,
        /// Its arguments.
        arguments: Vec<Expr>,
    },
    /// `!a`
    Not(Box<Expr>),
    /// `a && b`
    Binary {
        /// Which.
        operator: Operator,
        /// Where the operator stands.
        operator_span: Span,
        /// Before it.
        left: Box<Expr>,
        /// After it.
        right: Box<Expr>,
    },
    /// `if c then a else b`
    If {
        /// What decides.
        condition: Box<Expr>,
        /// When true.
        then: Box<Expr>,
        /// When false.
        otherwise: Box<Expr>,
    },
    /// `(a)`
    Paren(Box<Expr>),
}

/// Infix operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `in`
    In,
}

/// Text with interpolated expressions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// Whether it is written with `"""`.
    pub multiline: bool,
    /// In order; neighbouring literals are joined, empty ones left out.
    pub parts: Vec<TextPart>,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextPart {
    /// Escapes resolved, indentation of a `"""` text removed.
    Literal(CompactString),
    /// `${expr}`
    Expr(Expr),
}
