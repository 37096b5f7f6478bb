//! The tree of matched rules: a flat list, in which a node stands before what it holds.

/// A rule of the grammar that leaves a node, and the few without one that messages speak of.
///
/// The names are those of `lockstep.pest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the grammar's rules")]
pub(crate) enum Rule {
    /// The end of the file.
    EOI,
    comment,
    name,
    path,
    star,
    number,
    unit,
    text,
    long_text,
    chunk,
    long_chunk,
    escape,
    hole,
    expr,
    not,
    operator,
    arguments,
    list,
    paren,
    conditional,
    then_word,
    else_word,
    record,
    entry,
    short,
    setting,
    wrong_assign,
    no_value,
    late,
    junk,
    head_junk,
    bad,
    bad_line,
    misplaced,
    file,
    import,
    as_word,
    service,
    environment,
    secret,
    channel,
    group,
    resource,
    workflow,
    pipeline,
    provider,
    environment_body,
    infrastructure,
    params,
    fields,
    param,
    colon,
    ty,
    optional,
    type_arguments,
    angle,
    alternatives,
    within,
    range,
    workflow_body,
    phases,
    phases_body,
    phase,
    phase_body,
    section,
    section_body,
    steps,
    steps_body,
    step,
    step_body,
    barrier,
    barrier_body,
    condition,
    rollback,
    rollback_body,
    use_resource,
    notify,
    on_word,
    names,
    failure,
    kinds,
    under,
    of_hosts,
    action_body,
    action,
    retry,
    every,
    ask,
    answer_within,
    verb,
    pipeline_body,
    stage,
    stage_body,
    index,
    approval,
    parallel,
    max,
    all_or_nothing,
    parallel_body,
    lane,
    lane_body,
    for_each,
    in_word,
    for_body,
    provider_body,
    service_fields,
    infrastructure_fields,
    artifact,
    signature,
    arrow,
    signature_body,
    changes,
    undone,
    irreversible,
    // Without a node.
    separator,
    space,
    opening_brace,
    closing_brace,
    closing_bracket,
    closing_parenthesis,
    equals,
    value,
    operand,
    loop_named,
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub rule: Rule,
    /// Offset of its first byte in the text.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
    /// How many nodes it holds, at any depth: they follow it.
    pub inside: u32,
}

/// A piece of text that matched a rule, and what matched inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'t> {
    text: &'t str,
    node: &'t Node,
    inside: &'t [Node],
}

impl<'t> Pair<'t> {
    /// The first of some nodes.
    pub fn first(text: &'t str, nodes: &'t [Node]) -> Option<Pair<'t>> {
        Pairs { text, nodes }.next()
    }

    pub fn as_rule(self) -> Rule {
        self.node.rule
    }

    pub fn start(self) -> usize {
        self.node.start as usize
    }

    pub fn end(self) -> usize {
        self.node.end as usize
    }

    /// What matched.
    pub fn as_str(self) -> &'t str {
        &self.text[self.start()..self.end()]
    }

    pub fn into_inner(self) -> Pairs<'t> {
        Pairs { text: self.text, nodes: self.inside }
    }
}

/// Neighbours in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'t> {
    text: &'t str,
    nodes: &'t [Node],
}

impl<'t> Pairs<'t> {
    /// The next one, which stays the next.
    pub fn peek(&self) -> Option<Pair<'t>> {
        self.clone().next()
    }

    /// The rule of the next one, which stays the next.
    pub fn rule(&self) -> Option<Rule> {
        self.nodes.first().map(|node| node.rule)
    }

    /// Whether the next one is the last.
    pub fn is_single(&self) -> bool {
        self.nodes.first().is_some_and(|node| node.inside as usize + 1 == self.nodes.len())
    }

    /// The next one, if its rule is wanted.
    pub fn next_if(&mut self, wanted: impl FnOnce(Rule) -> bool) -> Option<Pair<'t>> {
        if self.nodes.first().is_some_and(|node| wanted(node.rule)) { self.next() } else { None }
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = Pair<'t>;

    fn next(&mut self) -> Option<Pair<'t>> {
        let (node, rest) = self.nodes.split_first()?;
        let (inside, rest) = rest.split_at(node.inside as usize);
        self.nodes = rest;
        Some(Pair { text: self.text, node, inside })
    }
}
