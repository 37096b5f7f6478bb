//! Lowering of expressions: names replaced by what they mean, constants folded.

use super::Lowerer;
use super::value::{Frame, Val, is_deeper};
use crate::checks;
use crate::program::{ModuleId, normalise};
use crate::types::Ty;
use lockstep_grammar::ast::{self, ExprKind, Name, Path, TextPart};
use lockstep_plan::{EvalError, Expr, FailureFact, Function, Operator, RunFact, Value};
use std::collections::BTreeMap;

/// How deep what is read may nest, and so may what comes of it: parameters nest in each other by their defaults.
const DEEPEST: usize = 256;

/// Where any type will do.
const ANY: &Ty = &Ty::Error;

/// Finding a name among so many more costs as much as anything else.
const VARS: usize = 16;

impl<'p> Lowerer<'_, 'p> {
    /// The value of an expression where `ty` is expected.
    pub fn eval(&mut self, expr: &'p ast::Expr, ty: &Ty, frame: &Frame<'p>) -> Val {
        let value = self.eval_any(expr, ty, frame);
        self.coerce(value, ty, self.model.module(frame.file))
    }

    /// As data.
    pub fn data(&mut self, expr: &'p ast::Expr, ty: &Ty, frame: &Frame<'p>) -> Expr {
        self.eval(expr, ty, frame).into_expr()
    }

    /// Expressions nest by themselves, and through the services that they read: together no deeper than the stack reaches.
    fn eval_any(&mut self, expr: &'p ast::Expr, ty: &Ty, frame: &Frame<'p>) -> Val {
        if self.depth == DEEPEST {
            return self.too_deep(expr, frame);
        }
        self.depth += 1;
        let value = self.eval_one(expr, ty, frame);
        self.depth -= 1;
        value
    }

    fn too_deep(&mut self, expr: &ast::Expr, frame: &Frame<'p>) -> Val {
        // Said once: whatever leads there is as deep.
        if !self.deep {
            self.sink.push(checks::type_not_allowed_value::too_deep(frame.at(expr.span), DEEPEST));
            self.deep = true;
        }
        Val::Unknown("?".into())
    }

    fn eval_one(&mut self, expr: &'p ast::Expr, ty: &Ty, frame: &Frame<'p>) -> Val {
        self.charge(1);
        let folded = match &expr.kind {
            ExprKind::Bool(value) => return Val::constant(Value::Bool(*value)),
            ExprKind::Int(value) => return Val::constant(Value::Int(*value)),
            ExprKind::Percent(value) => return Val::constant(Value::Percent(*value)),
            ExprKind::Duration(value) => return Val::constant(Value::Duration(*value)),
            ExprKind::Paren(inner) => return self.eval_any(inner, ty, frame),
            ExprKind::Path(path) => return self.path(path, frame),
            ExprKind::Star(path) => return self.star(path, frame),
            ExprKind::Construct(construct) => return self.service(construct, frame),
            ExprKind::Text(text) => {
                match text.parts.as_slice() {
                    [] => return Val::constant(Value::Text(String::new())),
                    [TextPart::Literal(text)] => return Val::constant(Value::Text(text.as_str().to_owned())),
                    _ => {}
                }
                Expr::Text(
                    text.parts
                        .iter()
                        .map(|part| match part {
                            TextPart::Literal(text) => Expr::Value(Value::Text(text.as_str().to_owned())),
                            TextPart::Expr(expr) => self.data(expr, ANY, frame),
                        })
                        .collect(),
                )
            }
            ExprKind::List(items) => {
                let element = match ty.required() {
                    Ty::List(element) => element,
                    _ => ANY,
                };
                let items: Vec<Val> = items.iter().map(|item| self.eval(item, element, frame)).collect();
                if items.iter().all(|item| item.as_value().is_some()) {
                    let values = items.into_iter().filter_map(|item| match item {
                        Val::Data(Expr::Value(value)) => Some(value),
                        _ => None,
                    });
                    return Val::constant(Value::List(values.collect()));
                }
                if !items.iter().all(|item| matches!(item, Val::Data(_))) {
                    return Val::List(items);
                }
                Expr::List(items.into_iter().map(Val::into_expr).collect())
            }
            ExprKind::Record(record) => {
                let element = match ty.required() {
                    Ty::Map(element) => element,
                    _ => ANY,
                };
                let entries = record.entries.iter();
                Expr::Map(
                    entries
                        .map(|entry| {
                            (entry.name.text.as_str().to_owned(), self.data(&entry.value, element, frame))
                        })
                        .collect(),
                )
            }
            ExprKind::Call { name, arguments } => return self.call(expr, name, arguments, frame),
            ExprKind::Not(inner) => Expr::Not(Box::new(self.data(inner, ANY, frame))),
            ExprKind::Binary { operator, left, right, .. } => {
                let (left, right) = (self.data(left, ANY, frame), self.data(right, ANY, frame));
                Expr::Binary(lower_operator(*operator), Box::new(left), Box::new(right))
            }
            ExprKind::If { condition, then, otherwise } => {
                let condition = self.data(condition, ANY, frame);
                if let Some(Value::Bool(decided)) = condition.as_value() {
                    return self.eval(if *decided { then } else { otherwise }, ty, frame);
                }
                let (then, otherwise) = (self.eval(then, ty, frame), self.eval(otherwise, ty, frame));
                match (then, otherwise) {
                    (Val::Data(then), Val::Data(otherwise)) => {
                        Expr::If(Box::new(condition), Box::new(then), Box::new(otherwise))
                    }
                    // Which of the two things it is cannot be told.
                    (then, otherwise) if then == otherwise => return then,
                    _ => return Val::Unknown(self.model.program.text(frame.file, expr.span).to_string()),
                }
            }
        };
        self.fold(folded, expr, frame)
    }

    /// Whether reading an expression comes to a value, whatever it is, and to nothing else: no report, no service or target that
    /// the plan does not know yet. With `constant`, also whether that is known by now. It costs what reading it costs.
    pub fn is_quiet(&mut self, expr: &'p ast::Expr, frame: &Frame<'p>, constant: bool) -> bool {
        self.charge(1);
        match &expr.kind {
            ExprKind::Bool(_) | ExprKind::Int(_) | ExprKind::Percent(_) | ExprKind::Duration(_) => true,
            ExprKind::Paren(inner) => self.is_quiet(inner, frame, constant),
            ExprKind::Text(text) => text.parts.iter().all(|part| match part {
                TextPart::Literal(_) => true,
                TextPart::Expr(expr) => self.is_quiet(expr, frame, constant),
            }),
            ExprKind::List(items) => items.iter().all(|item| self.is_quiet(item, frame, constant)),
            ExprKind::Record(record) => {
                record.entries.iter().all(|it| self.is_quiet(&it.value, frame, constant))
            }
            ExprKind::Path(path) => self.is_bound(path, frame) && (!constant || is_constant(path, frame)),
            _ => false,
        }
    }

    /// Whether a path begins with something that the frame knows.
    fn is_bound(&mut self, path: &Path, frame: &Frame<'p>) -> bool {
        let head = path.names[0].text.as_str();
        if let Some(value) = frame.var(head) {
            let weight = value.weight();
            self.charge(frame.vars.as_slice().len() / VARS + weight);
            return true;
        }
        match head {
            "service" => frame.service.is_some(),
            "infra" => frame.infra.is_some(),
            "stage" | "run" => frame.stage.is_some() && path.names.len() > 1,
            _ => frame.outputs.get(head).is_some() && path.names.len() > 1,
        }
    }

    fn fold(&mut self, value: Expr, expr: &ast::Expr, frame: &Frame<'p>) -> Val {
        if is_deeper(&value, DEEPEST) {
            return self.too_deep(expr, frame);
        }
        match value.fold() {
            Ok(value) => Val::Data(value),
            Err(EvalError::Pattern { pattern, message }) => {
                let at = match &expr.kind {
                    ExprKind::Call { arguments, .. } if arguments.len() == 2 => frame.at(arguments[1].span),
                    _ => frame.at(expr.span),
                };
                self.sink.push(checks::type_not_allowed_value::pattern(at, &pattern, &message));
                Val::Unknown("?".into())
            }
            // The types were judged elsewhere.
            Err(_) => Val::Unknown("?".into()),
        }
    }

    fn call(
        &mut self,
        expr: &'p ast::Expr,
        name: &Name,
        arguments: &'p [ast::Expr],
        frame: &Frame<'p>,
    ) -> Val {
        let function = match name.text.as_str() {
            "contains" => Function::Contains,
            "starts_with" => Function::StartsWith,
            "ends_with" => Function::EndsWith,
            "matches" => Function::Matches,
            "lower" => Function::Lower,
            "upper" => Function::Upper,
            "join" => Function::Join,
            "len" => Function::Len,
            "default" => Function::Default,
            _ => return Val::Unknown("?".into()),
        };
        let mut values: Vec<Val> = arguments.iter().map(|item| self.eval(item, &Ty::Error, frame)).collect();
        if function == Function::Default && values.len() == 2 {
            match &values[0] {
                Val::Absent => return values.remove(1),
                Val::Data(_) => {}
                _ => return values.remove(0),
            }
        }
        let value = Expr::Call(function, values.into_iter().map(Val::into_expr).collect());
        self.fold(value, expr, frame)
    }

    fn path(&mut self, path: &'p Path, frame: &Frame<'p>) -> Val {
        let head = path.names[0].text.as_str();
        let rest = &path.names[1..];
        let phase_thing = match head {
            "service" => frame.service.clone(),
            "infra" => frame.infra.clone(),
            _ => None,
        };
        if frame.own
            && let Some(value) = &phase_thing
        {
            return self.fields(value.clone(), rest);
        }
        // Finding it takes longer among many, copying it when it holds much.
        if let Some(value) = frame.var(head) {
            self.charge(frame.vars.as_slice().len() / VARS + value.weight());
            if self.is_spent() {
                return Val::Unknown("?".into());
            }
            return self.fields(value.clone(), rest);
        }
        if let Some(value) = phase_thing {
            return self.fields(value, rest);
        }
        if let Some(stage) = &frame.stage {
            let fact = match (head, rest.first().map(|name| name.text.as_str())) {
                ("stage", Some("name")) => Some(Expr::Value(Value::Text(stage.to_string()))),
                ("run", Some("id")) => Some(Expr::Run(RunFact::Id)),
                ("run", Some("by")) => Some(Expr::Run(RunFact::By)),
                ("failure", Some("step")) if frame.rollback => Some(Expr::Failure(FailureFact::Step)),
                ("failure", Some("kind")) if frame.rollback => Some(Expr::Failure(FailureFact::Kind)),
                ("failure", Some("message")) if frame.rollback => Some(Expr::Failure(FailureFact::Message)),
                (_, Some(output)) => {
                    frame.outputs.get(head).map(|step| Expr::Output { step, name: output.to_string() })
                }
                _ => None,
            };
            if let Some(fact) = fact {
                self.asked = true;
                return self.fields(Val::Data(fact), &rest[1..]);
            }
        }
        let module = self.model.module(frame.file);
        match self.model.find(module, path) {
            Ok(found) => self.declared(found.decl, &path.names[found.taken..]),
            Err(_) => Val::Unknown(self.model.program.text(frame.file, path.span).to_string()),
        }
    }

    /// Gives a value the form its type asks for: text becomes a path.
    pub fn coerce(&self, value: Val, ty: &Ty, module: ModuleId) -> Val {
        match (value, ty.required()) {
            (Val::Data(expr), Ty::Path | Ty::List(_) | Ty::Map(_)) => {
                Val::Data(self.coerce_data(expr, ty.required(), module))
            }
            (other, _) => other,
        }
    }

    fn coerce_data(&self, expr: Expr, ty: &Ty, module: ModuleId) -> Expr {
        match (expr, ty) {
            (Expr::Value(value), ty) => Expr::Value(self.coerce_value(value, ty, module)),
            (Expr::List(items), Ty::List(element)) => {
                Expr::List(items.into_iter().map(|item| self.coerce_data(item, element, module)).collect())
            }
            (Expr::Map(entries), Ty::Map(element)) => Expr::Map(
                entries
                    .into_iter()
                    .map(|(key, item)| (key, self.coerce_data(item, element, module)))
                    .collect(),
            ),
            (other, _) => other,
        }
    }

    /// As [`Lowerer::coerce`], for a constant.
    pub fn coerce_value(&self, value: Value, ty: &Ty, module: ModuleId) -> Value {
        match (value, ty.required()) {
            (Value::Text(text), Ty::Path) => Value::Path(self.rebase(&text, module)),
            (Value::List(items), Ty::List(element)) => {
                Value::List(items.into_iter().map(|item| self.coerce_value(item, element, module)).collect())
            }
            (Value::Map(entries), Ty::Map(element)) => {
                let entries = entries.into_iter();
                let entries: BTreeMap<_, _> =
                    entries.map(|(key, item)| (key, self.coerce_value(item, element, module))).collect();
                Value::Map(entries)
            }
            (other, _) => other,
        }
    }

    /// A path that a file of `module` spells, relative to the pipeline's module.
    fn rebase(&self, text: &str, module: ModuleId) -> String {
        let path = std::path::Path::new(text);
        if path.is_absolute() {
            return normalise(path).display().to_string();
        }
        let path = if module == self.root || module == ModuleId::PRELUDE {
            normalise(path)
        } else {
            let (from, to) =
                (self.model.program.module_dir(self.root), self.model.program.module_dir(module));
            normalise(&relative(from, to).join(path))
        };
        if path.as_os_str().is_empty() { ".".into() } else { path.display().to_string() }
    }
}

/// Whether a path is a name that stands for a constant. What a secret holds is none.
fn is_constant(path: &Path, frame: &Frame<'_>) -> bool {
    let value = frame.var(path.names[0].text.as_str()).and_then(Val::as_value);
    path.names.len() == 1 && value.is_some_and(|value| !matches!(value, Value::Secret(_)))
}

/// The way from a directory to something, by their spelling.
pub(super) fn relative(from: &std::path::Path, to: &std::path::Path) -> std::path::PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().count() - common;
    let down: std::path::PathBuf = to.components().skip(common).collect();
    std::iter::repeat_n("..", up).collect::<std::path::PathBuf>().join(down)
}

fn lower_operator(operator: ast::Operator) -> Operator {
    match operator {
        ast::Operator::Or => Operator::Or,
        ast::Operator::And => Operator::And,
        ast::Operator::Equal => Operator::Equal,
        ast::Operator::NotEqual => Operator::NotEqual,
        ast::Operator::Less => Operator::Less,
        ast::Operator::LessEqual => Operator::LessEqual,
        ast::Operator::Greater => Operator::Greater,
        ast::Operator::GreaterEqual => Operator::GreaterEqual,
        ast::Operator::In => Operator::In,
    }
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn the_way_between_directories() {
        for (from, to, way) in [("a/b", "a/c", "../c"), ("", "../common", "../common"), ("a", "a", "")] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(way), "{from} to {to}");
        }
    }
}
