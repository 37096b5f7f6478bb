//! Failure rules and their actions.

use super::{Build, Nodes};
use crate::ast::{Action, ActionKind, Failure, Name, Span};
use crate::message;
use crate::syntax::{Pair, Rule};

/// An action that still lacks what follows its `then`.
struct Deed {
    span: Span,
    kind: DeedKind,
}

enum DeedKind {
    Last(ActionKind),
    Retry { times: u32, every: Vec<u64> },
    Ask { group: Name, within: u64 },
}

impl<'s> Build<'s> {
    /// `on failure of KIND under N% of hosts { ACTION }`
    pub(super) fn failure(&mut self, pair: Pair<'_>) -> Option<Failure> {
        let span = self.span(&pair);
        let blanks = pair.as_str().len() - 2 - pair.as_str()[2..].trim_start().len();
        let start = pair.start() + 2 + blanks + "failure".len();
        let mut nodes = self.children(pair);
        nodes.end = start;
        let mut complete = true;
        let mut kinds = Vec::new();
        if let Some(pair) = self.take(&mut nodes, Rule::kinds) {
            let mut inner = self.keyworded(pair, "of");
            match self.names(&mut inner) {
                Some(names) => kinds = names,
                None => complete = false,
            }
        }
        let mut under = None;
        if let Some(pair) = self.take(&mut nodes, Rule::under) {
            under = self.detail(|build| build.under(pair));
            complete &= under.is_some();
        }
        // What stands before the brace may say when the rule counts.
        complete &= nodes.pairs.rule() != Some(Rule::head_junk);
        let action = self.body(&mut nodes, Rule::action_body);
        let action = action.and_then(|pair| self.detail(|build| build.action_body(pair)));
        match action {
            Some(action) if complete => Some(Failure { span, kinds, under, action }),
            _ => {
                self.detail(Self::damage);
                None
            }
        }
    }

    /// `under 20% of hosts`
    fn under(&mut self, pair: Pair<'_>) -> Option<(u32, Span)> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "under");
        let Some(number) = self.take(&mut nodes, Rule::number) else {
            self.expected(nodes.end, &[Rule::number]);
            return None;
        };
        let share = self.percent(&number);
        if self.take(&mut nodes, Rule::of_hosts).is_none() {
            self.expected(nodes.end, &[Rule::of_hosts]);
        }
        Some((share?, span))
    }

    fn action_body(&mut self, pair: Pair<'_>) -> Option<Action> {
        let start = pair.start() + 1;
        let mut nodes = self.children(pair);
        nodes.end = start;
        let Some(pair) = self.take(&mut nodes, Rule::action) else {
            self.expected(start, &[Rule::action]);
            self.leftover(&mut nodes, &[Rule::closing_brace]);
            return None;
        };
        let action = self.action(pair);
        if action.is_some() {
            self.leftover(&mut nodes, &[Rule::closing_brace]);
        }
        action
    }

    /// One action, and those after each `then`.
    fn action(&mut self, pair: Pair<'_>) -> Option<Action> {
        let span = self.span(&pair);
        let levels = pair.into_inner().count() as u32;
        self.nested(span, levels, |build| {
            let mut nodes = build.children(pair);
            let mut deeds = Vec::with_capacity(1);
            let mut complete = true;
            loop {
                let deed = build.next(&mut nodes)?;
                match build.deed(deed) {
                    Some(deed) => deeds.push(deed),
                    None => complete = false,
                }
                if build.take(&mut nodes, Rule::then_word).is_none() {
                    break;
                }
                if nodes.pairs.rule().is_none() {
                    build.expected(nodes.end, &[Rule::action]);
                    return None;
                }
            }
            if complete { build.chain(deeds, nodes.end) } else { None }
        })
    }

    /// Joins deeds, last first.
    fn chain(&mut self, deeds: Vec<Deed>, end: usize) -> Option<Action> {
        let mut next: Option<Action> = None;
        for deed in deeds.into_iter().rev() {
            let span = next.as_ref().map_or(deed.span, |next| deed.span.to(next.span));
            let kind = match (deed.kind, next) {
                (DeedKind::Last(kind), None) => kind,
                (DeedKind::Last(_), Some(next)) => {
                    self.report(
                        message::unexpected(next.span, "nothing can follow this action", "never reached")
                            .help("only `retry` and `ask` have a `then`"),
                    );
                    return None;
                }
                (_, None) => {
                    self.expected(end, &[Rule::then_word]);
                    return None;
                }
                (DeedKind::Retry { times, every }, Some(next)) => {
                    ActionKind::Retry { times, every, then: Box::new(next) }
                }
                (DeedKind::Ask { group, within }, Some(next)) => {
                    ActionKind::Ask { group, within, then: Box::new(next) }
                }
            };
            next = Some(Action { span, kind });
        }
        next
    }

    fn deed(&mut self, pair: Pair<'_>) -> Option<Deed> {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::retry => {
                let mut nodes = self.keyworded(pair, "retry");
                let times = match self.take(&mut nodes, Rule::number) {
                    Some(number) => self.count(&number),
                    None => {
                        self.expected(nodes.end, &[Rule::number]);
                        None
                    }
                };
                let every = self.every(&mut nodes);
                DeedKind::Retry { times: times?, every: every? }
            }
            Rule::ask => {
                let mut nodes = self.keyworded(pair, "ask");
                let group = match self.take(&mut nodes, Rule::path) {
                    Some(pair) => Some(self.dotted(&pair)),
                    None => {
                        self.expected(nodes.end, &[Rule::name]);
                        None
                    }
                };
                let within = match self.take(&mut nodes, Rule::answer_within) {
                    Some(pair) => {
                        let mut inner = self.keyworded(pair, "within");
                        self.durations(&mut inner).and_then(|times| times.first().copied())
                    }
                    None => {
                        self.expected(nodes.end, &[Rule::answer_within]);
                        None
                    }
                };
                DeedKind::Ask { group: group?, within: within? }
            }
            _ => DeedKind::Last(self.verb(pair, span)?),
        };
        Some(Deed { span, kind })
    }

    fn every(&mut self, nodes: &mut Nodes<'_>) -> Option<Vec<u64>> {
        let Some(pair) = self.take(nodes, Rule::every) else {
            self.expected(nodes.end, &[Rule::every]);
            return None;
        };
        let mut inner = self.keyworded(pair, "every");
        self.durations(&mut inner)
    }

    /// At least one duration.
    fn durations(&mut self, nodes: &mut Nodes<'_>) -> Option<Vec<u64>> {
        let mut durations = Some(Vec::with_capacity(1));
        let mut any = false;
        while let Some(number) = self.take(nodes, Rule::number) {
            any = true;
            let unit = self.take(nodes, Rule::unit);
            match self.duration(&number, unit) {
                Some(value) => durations.iter_mut().for_each(|all| all.push(value)),
                None => durations = None,
            }
        }
        if !any {
            self.expected_words(nodes.end, "a duration, like `10m`");
            return None;
        }
        durations
    }

    /// An action of one or two words.
    fn verb(&mut self, pair: Pair<'_>, span: Span) -> Option<ActionKind> {
        let mut nodes = self.children(pair);
        let word = self.next(&mut nodes)?;
        let object = self.next(&mut nodes);
        let kind = match (word.as_str(), object.map(Pair::as_str)) {
            ("ignore", None) => ActionKind::Ignore,
            ("succeed", None) => ActionKind::Succeed,
            ("fail", None) => ActionKind::Fail,
            ("abort", None) => ActionKind::Abort,
            ("rollback", None) => ActionKind::Rollback,
            ("rollback", Some("phase")) => ActionKind::RollbackPhase,
            ("rollback", Some("pipeline")) => ActionKind::RollbackPipeline,
            ("rollback", Some("workflow")) => {
                let error =
                    message::unexpected(span, "`rollback` means the whole workflow", "one word is enough");
                self.report(error.replace("write `rollback`", span, "rollback"));
                ActionKind::Rollback
            }
            (known @ ("ignore" | "succeed" | "fail" | "abort" | "rollback"), Some(other)) => {
                let object = object.as_ref().map_or(span, |object| self.span(object));
                let error = message::unexpected(
                    object,
                    format!("unexpected `{other}` after `{known}`"),
                    "unexpected",
                );
                self.report(match known {
                    "rollback" => error.help("write `rollback`, `rollback phase` or `rollback pipeline`"),
                    _ => error.help(format!("`{known}` stands alone")),
                });
                return None;
            }
            (other, _) => {
                self.unknown_action(self.span(&word), other);
                return None;
            }
        };
        Some(kind)
    }

    fn unknown_action(&mut self, span: Span, word: &str) {
        let message = format!("`{word}` is not an action");
        let known = ["ignore", "succeed", "fail", "abort", "rollback", "retry", "ask"];
        let meant = match word {
            "continue" | "skip" | "pass" => Some("ignore"),
            "stop" | "cancel" | "exit" => Some("abort"),
            "revert" | "undo" | "roll_back" => Some("rollback"),
            _ => crate::recover::similar(word, known),
        };
        let error = message::unexpected(span, message, "no such action");
        self.report(match meant {
            Some(meant) => error.help(format!("did you mean `{meant}`?")).replace(
                format!("write `{meant}`"),
                span,
                meant,
            ),
            None => {
                error.help(format!("actions are {}", message::human(Rule::action).replace(" or ", " and ")))
            }
        });
    }
}
