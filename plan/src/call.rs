//! What a driver is told: an action of the plan with every expression evaluated.

use crate::machine::evaluate;
use crate::{Action, Call, CallService, CallTarget, EvalError, Facts, File, Filled, Plan, Value};

impl Call {
    /// The call of an action of that plan, with what is known; without a record.
    ///
    /// # Errors
    /// Something is not known that the action, its target or its service needs.
    pub fn of(plan: &Plan, action: &Action, facts: &dyn Facts) -> Result<Call, EvalError> {
        let target = match action.target.map(|target| &plan.targets[target.index()]) {
            Some(target) => Some(CallTarget {
                name: target.name.clone(),
                provider: target.provider.to_string(),
                settings: evaluate(&target.settings, facts)?,
            }),
            None => None,
        };
        let service = match action.service.map(|service| &plan.services[service.index()]) {
            Some(service) => Some(CallService {
                name: service.name.clone(),
                artifact_type: service.artifact_type.to_string(),
                artifact: evaluate(&service.artifact, facts)?,
                settings: evaluate(&service.settings, facts)?,
                files: fill_in(plan, &action.service_files, facts)?,
            }),
            None => None,
        };
        Ok(Call {
            provider: action.provider.to_string(),
            step: action.step.to_string(),
            arguments: evaluate(&action.arguments, facts)?,
            target,
            service,
            record: None,
            files: fill_in(plan, &action.files, facts)?,
        })
    }
}

fn fill_in(plan: &Plan, files: &[Filled], facts: &dyn Facts) -> Result<Vec<File>, EvalError> {
    let file = |filled: &Filled| {
        let template = &plan.templates[filled.template.index()];
        let text = String::with_capacity(template.pieces.iter().map(String::len).sum());
        let mut file = File { path: template.path.clone(), text, filled: Vec::new() };
        let mut holes = filled.holes.iter();
        for piece in &template.pieces {
            file.text.push_str(piece);
            match holes.next().map(|hole| hole.eval(facts)).transpose()? {
                Some(Value::Secret(name)) => {
                    return Err(EvalError::Type(format!("secret `{name}` cannot become text")));
                }
                Some(value) => file.fill(&value),
                None => {}
            }
        }
        Ok(file)
    };
    files.iter().map(file).collect()
}
