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

/// A text and the nodes it came to.
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    pub text: &'t str,
    pub nodes: &'t [Node],
}

/// A piece of text that matched a rule, and what matched inside. Small enough for two registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'t> {
    tree: &'t Tree<'t>,
    /// Which node it is.
    at: u32,
}

impl<'t> Tree<'t> {
    /// What all of it matched.
    pub fn root(&'t self) -> Pair<'t> {
        Pair { tree: self, at: 0 }
    }
}

impl<'t> Pair<'t> {
    fn node(self) -> &'t Node {
        &self.tree.nodes[self.at as usize]
    }

    pub fn as_rule(self) -> Rule {
        self.node().rule
    }

    pub fn start(self) -> usize {
        self.node().start as usize
    }

    pub fn end(self) -> usize {
        self.node().end as usize
    }

    /// What matched.
    pub fn as_str(self) -> &'t str {
        let node = self.node();
        &self.tree.text[node.start as usize..node.end as usize]
    }

    pub fn into_inner(self) -> Pairs<'t> {
        let at = self.at + 1;
        Pairs { tree: self.tree, at, end: at + self.node().inside }
    }
}

/// Neighbours in the tree.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'t> {
    tree: &'t Tree<'t>,
    /// The next node, and the one behind the last.
    at: u32,
    end: u32,
}

impl<'t> Pairs<'t> {
    fn node(&self) -> Option<&'t Node> {
        if self.at < self.end { self.tree.nodes.get(self.at as usize) } else { None }
    }

    /// The next one, which stays the next.
    pub fn peek(&self) -> Option<Pair<'t>> {
        self.clone().next()
    }

    /// The rule of the next one, which stays the next.
    pub fn rule(&self) -> Option<Rule> {
        self.node().map(|node| node.rule)
    }

    /// Whether the next one is the last.
    pub fn is_single(&self) -> bool {
        self.node().is_some_and(|node| self.at + 1 + node.inside == self.end)
    }

    /// The next one, if its rule is wanted.
    pub fn next_if(&mut self, wanted: impl FnOnce(Rule) -> bool) -> Option<Pair<'t>> {
        if self.rule().is_some_and(wanted) { self.next() } else { None }
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = Pair<'t>;

    fn next(&mut self) -> Option<Pair<'t>> {
        let node = self.node()?;
        let pair = Pair { tree: self.tree, at: self.at };
        self.at += 1 + node.inside;
        Some(pair)
    }
}
