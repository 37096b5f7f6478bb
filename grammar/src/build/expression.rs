//! Expressions: the parser gives operands and operators in a row, precedence is applied here.

use super::{Build, Nodes};
use crate::ast::{Construct, Expr, ExprKind, Operator, Span};
use crate::place::Place;
use crate::syntax::{Pair, Rule};
use crate::{foreign, message};

/// An infix operator and where it stands.
type Infix = (Operator, Span);

impl<'s> Build<'s> {
    /// An expression. Nothing when part of it was not understood, which has been reported then.
    pub(super) fn expr(&mut self, pair: Pair<'_>) -> Option<Expr> {
        let span = self.span(&pair);
        let nodes = self.children(pair);
        // Every operator may nest the operands before it one deeper.
        let mut levels = 1;
        if !nodes.pairs.is_single() {
            let operators =
                nodes.pairs.clone().filter(|pair| matches!(pair.as_rule(), Rule::operator | Rule::not));
            levels += operators.count() as u32;
        }
        self.nested(span, levels, |build| build.operands(nodes))
    }

    fn operands(&mut self, mut nodes: Nodes<'_>) -> Option<Expr> {
        let mut complete = true;
        let mut operands = Vec::new();
        let mut operators: Vec<Infix> = Vec::new();
        let first = self.next(&mut nodes)?;
        let conditional = first.as_rule() == Rule::conditional;
        let first = self.operand(first, &mut nodes);
        if nodes.pairs.rule().is_none() {
            return first;
        }
        if conditional {
            self.bare_conditional(first.as_ref());
        }
        match first {
            Some(first) => operands.push(first),
            None => complete = false,
        }
        while let Some(pair) = self.next(&mut nodes) {
            operators.push((Self::operator(&pair), self.span(&pair)));
            let operand = match nodes.pairs.rule() {
                None | Some(Rule::operator) => {
                    self.expected(nodes.end, &[Rule::operand]);
                    self.damage();
                    None
                }
                Some(_) => self.next(&mut nodes).and_then(|pair| {
                    let conditional = pair.as_rule() == Rule::conditional;
                    let operand = self.operand(pair, &mut nodes);
                    if conditional {
                        self.bare_conditional(operand.as_ref());
                    }
                    operand
                }),
            };
            match operand {
                Some(operand) => operands.push(operand),
                None => complete = false,
            }
        }
        if !complete {
            return None;
        }
        let mut operands = operands.into_iter();
        let mut operators = operators.into_iter().peekable();
        let first = operands.next()?;
        Some(self.climb(first, &mut operands, &mut operators, 0))
    }

    /// Joins operands as long as their operators bind at least as tight as `level`.
    fn climb(
        &mut self,
        mut left: Expr,
        operands: &mut std::vec::IntoIter<Expr>,
        operators: &mut std::iter::Peekable<std::vec::IntoIter<Infix>>,
        level: u8,
    ) -> Expr {
        while let Some((operator, operator_span)) =
            operators.next_if(|(operator, _)| binding(*operator) >= level)
        {
            let Some(mut right) = operands.next() else { return left };
            while let Some((next, span)) = operators.peek().copied() {
                if binding(next) == COMPARISON && binding(operator) == COMPARISON {
                    self.report(
                        message::unexpected(span, "comparisons cannot be chained", "a second comparison")
                            .help("join two comparisons with `&&`, or put one in parentheses"),
                    );
                    break;
                }
                if binding(next) <= binding(operator) {
                    break;
                }
                right = self.climb(right, operands, operators, binding(next));
            }
            let span = left.span.to(right.span);
            let kind =
                ExprKind::Binary { operator, operator_span, left: Box::new(left), right: Box::new(right) };
            left = Expr { span, kind };
        }
        left
    }

    fn operator(pair: &Pair<'_>) -> Operator {
        match pair.as_str() {
            "||" => Operator::Or,
            "&&" => Operator::And,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterEqual,
            _ => Operator::In,
        }
    }

    /// An `if` beside an operator needs parentheses: its last branch would take in all that follows.
    fn bare_conditional(&mut self, value: Option<&Expr>) {
        if let Some(Expr { span, .. }) = value {
            let edits = vec![
                (Span { start: span.start, end: span.start }, "(".to_owned()),
                (Span { start: span.end, end: span.end }, ")".to_owned()),
            ];
            self.report(
                message::unexpected(
                    *span,
                    "`if` beside an operator needs parentheses",
                    "put this in parentheses",
                )
                .edits("add parentheses", edits),
            );
        }
    }

    /// An operand that starts with this pair.
    fn operand(&mut self, pair: Pair<'_>, nodes: &mut Nodes<'_>) -> Option<Expr> {
        if pair.as_rule() != Rule::not {
            return self.primary(pair, nodes);
        }
        let mut starts = vec![self.span(&pair).start];
        while let Some(pair) = self.take(nodes, Rule::not) {
            starts.push(self.span(&pair).start);
        }
        let inner = self.next(nodes)?;
        let conditional = inner.as_rule() == Rule::conditional;
        let mut value = self.primary(inner, nodes)?;
        if conditional {
            self.bare_conditional(Some(&value));
        }
        for start in starts.into_iter().rev() {
            let span = Span { start, end: value.span.end };
            value = Expr { span, kind: ExprKind::Not(Box::new(value)) };
        }
        Some(value)
    }

    /// An expression that starts with this pair and has no operators.
    pub(super) fn primary(&mut self, pair: Pair<'_>, nodes: &mut Nodes<'_>) -> Option<Expr> {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::path => return self.named(&pair, nodes),
            Rule::text | Rule::long_text => return self.text_expr(pair),
            Rule::number => {
                let unit = self.take(nodes, Rule::unit);
                return self.number_expr(&pair, unit);
            }
            Rule::list => ExprKind::List(self.elements(pair, Place::List)),
            Rule::record if is_set(pair) => {
                let open = self.place(pair.start(), pair.start() + 1);
                let before = self.text[..pair.start()].trim_end();
                self.report(match before.ends_with("then") || before.ends_with("else") {
                    true => {
                        let what = "the values of a condition stand without braces";
                        message::unexpected(open, what, "not opened").help(foreign::BRANCHES)
                    }
                    false => message::unexpected(open, "a list is not written with braces", "expected `[`")
                        .help(LIST),
                });
                self.damage();
                return None;
            }
            Rule::record => ExprKind::Record(self.record(pair)),
            Rule::paren => ExprKind::Paren(Box::new(self.bracketed(pair, Rule::closing_parenthesis)?)),
            _ => return self.conditional(pair),
        };
        Some(Expr { span, kind })
    }

    /// A path and what belongs to it.
    fn named(&mut self, pair: &Pair<'_>, nodes: &mut Nodes<'_>) -> Option<Expr> {
        let span = self.span(pair);
        let before = self.unreliable.partition_point(|guess| guess.start <= span.start);
        if self.unreliable[..before].last().is_some_and(|guess| span.end <= guess.end) {
            self.detail(Self::damage);
            return None;
        }
        let follows = nodes.pairs.next_if(|next| matches!(next, Rule::star | Rule::record | Rule::arguments));
        let Some(next) = follows else {
            let kind = match pair.as_str() {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                _ => ExprKind::Path(self.path(pair)),
            };
            return Some(Expr { span, kind });
        };
        nodes.end = next.end();
        let mut path = self.path(pair);
        let span = span.to(self.span(&next));
        let kind = match next.as_rule() {
            Rule::star => ExprKind::Star(path),
            Rule::record => ExprKind::Construct(Construct { span, path, record: self.record(next) }),
            _ => {
                let reported = self.errors.len();
                let open = next.start();
                let named = next.as_str().contains(['=', ':']);
                let arguments = self.elements(next, Place::Arguments);
                if named && self.errors.len() > reported {
                    // `web(version = "1")`
                    self.errors.truncate(reported);
                    self.expected_words(open, "`{`");
                    if let Some(error) = self.errors.last_mut() {
                        error.help = Some("arguments with names stand in braces: `{ name = value }`".into());
                    }
                    self.damage();
                    return None;
                }
                if path.names.len() > 1 {
                    let message = "functions belong to the language and have no dots in their names";
                    let function = path.names.last().map_or("", |name| name.text.as_str());
                    self.report(
                        message::unexpected(path.span, message, "not a function")
                            .help(format!("a value is an argument: `{function}(VALUE)`")),
                    );
                    self.damage();
                    return None;
                }
                ExprKind::Call { name: path.names.swap_remove(0), arguments }
            }
        };
        Some(Expr { span, kind })
    }

    /// What a list or a call holds.
    pub(super) fn elements(&mut self, pair: Pair<'_>, place: Place) -> Vec<Expr> {
        let mut elements = Vec::with_capacity(pair.into_inner().count());
        let mut members = self.members(pair, place);
        while let Some(member) = self.member(&mut members) {
            self.undocumented(member.docs);
            match member.pair.as_rule() {
                Rule::expr => elements.extend(self.expr(member.pair)),
                _ => self.stray(&member.pair, place),
            }
        }
        elements
    }

    /// One expression between brackets.
    pub(super) fn bracketed(&mut self, pair: Pair<'_>, close: Rule) -> Option<Expr> {
        let start = pair.start() + 1;
        let mut nodes = self.children(pair);
        nodes.end = start;
        let value = match self.take(&mut nodes, Rule::expr) {
            Some(pair) => self.expr(pair),
            None => {
                self.expected(start, &[Rule::expr]);
                self.damage();
                None
            }
        };
        // `(a, b)` has no value, though `(a` would have one.
        let whole = nodes.pairs.clone().all(|pair: Pair<'_>| pair.as_rule() == Rule::comment);
        self.leftover(&mut nodes, &[close]);
        value.filter(|_| whole)
    }

    /// `if c then a else b`
    fn conditional(&mut self, pair: Pair<'_>) -> Option<Expr> {
        if let Some(brace) = braced_branch(pair) {
            self.expected(brace, &[Rule::then_word]);
            self.damage();
            return None;
        }
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "if");
        let condition = self.branch(&mut nodes);
        let mut complete = condition.is_some();
        let mut part = |build: &mut Self, word: Rule| -> Option<Expr> {
            let mut value = None;
            if build.take(&mut nodes, word).is_some() {
                value = build.branch(&mut nodes);
            } else if complete {
                build.expected(nodes.end, &[word]);
                build.damage();
            }
            complete &= value.is_some();
            value
        };
        let then = part(self, Rule::then_word);
        let otherwise = part(self, Rule::else_word);
        let (condition, then, otherwise) = (Box::new(condition?), Box::new(then?), Box::new(otherwise?));
        Some(Expr { span, kind: ExprKind::If { condition, then, otherwise } })
    }

    fn branch(&mut self, nodes: &mut Nodes<'_>) -> Option<Expr> {
        match self.take(nodes, Rule::expr) {
            Some(pair) => self.expr(pair),
            None => {
                self.expected(nodes.end, &[Rule::expr]);
                self.damage();
                None
            }
        }
    }
}

/// How a list is written.
pub(super) const LIST: &str = "a list is `[a, b]`";

/// `{ "a", "b" }`
fn is_set(pair: Pair<'_>) -> bool {
    let mut members = pair.into_inner();
    members.peek().is_some()
        && members.all(|member| member.as_rule() == Rule::short && member.as_str().starts_with('"'))
}

/// How tight a comparison binds.
const COMPARISON: u8 = 3;

fn binding(operator: Operator) -> u8 {
    match operator {
        Operator::Or => 1,
        Operator::And => 2,
        _ => COMPARISON,
    }
}

/// Where the brace of `if c { a } else { b }` stands, which is read as the condition `c { a }`.
fn braced_branch(conditional: Pair<'_>) -> Option<usize> {
    let mut parts = conditional.into_inner().filter(|it| it.as_rule() != Rule::comment);
    let condition = parts.next().filter(|it| it.as_str().ends_with('}'))?;
    let brace = condition.start()
        + condition.as_str().find(['{', '"']).filter(|at| condition.as_str()[*at..].starts_with('{'))?;
    parts.next().filter(|next| next.as_rule() == Rule::else_word).map(|_| brace)
}
