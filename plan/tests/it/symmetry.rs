//! Stages whose undoing asks how they failed are alike for the proof where that comes to the same in all of them.

use crate::build::{Builder, Shape};
use lockstep_plan::proof::{self, Effort, Fault, Promise, Proof, prove};
use lockstep_plan::*;

const PROMISE: Shape = Shape { max: None, promise: true };

/// So many stages that do the same; the undoing of `x` runs unless a step of that name has failed, by the stage's number.
fn stages(count: usize, name: &dyn Fn(usize) -> String) -> Plan {
    let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
    let stages: Vec<[(&str, &str, &[Rule]); 1]> =
        names.iter().map(|name| [(name.as_str(), "w x! |p y", [].as_slice())]).collect();
    let branches: Vec<&[(&str, &str, &[Rule])]> = stages.iter().map(|stage| stage.as_slice()).collect();
    let mut plan = Builder::default().group(PROMISE, &branches).done();
    for number in 0..count {
        let failed = Box::new(Expr::Failure(FailureFact::Step));
        let name = Box::new(Expr::Value(Value::Text(name(number))));
        plan.conditions.push(Expr::Binary(Operator::NotEqual, failed, name));
        let condition = ConditionId(plan.conditions.len() as u32 - 1);
        let undo = plan.step_named(&format!("s{number}.p1.x.undo")).expect("the step");
        plan.steps[undo.index()].when.push(condition);
    }
    plan
}

fn proved(plan: &Plan) -> Proof {
    // Nothing is open but what the machine decides.
    struct Nothing(Vec<proof::Known>);
    impl proof::World for Nothing {
        fn known(&self) -> &[proof::Known] {
            &self.0
        }
        fn split(&self, _: ConditionId) -> Option<Vec<Box<dyn proof::World>>> {
            None
        }
        fn before(&self, _: ConditionId) -> Before {
            Before::Late
        }
        fn complete(&self) -> Option<Box<dyn proof::World>> {
            Some(Box::new(Nothing(self.0.clone())))
        }
    }
    let asks = || plan.conditions.iter().cloned().map(proof::Known::Asks).collect();
    let world = |_: &[ConditionId]| -> Option<Box<dyn proof::World>> { Some(Box::new(Nothing(asks()))) };
    prove(plan, &world, &mut Effort::new(usize::MAX)).remove(0)
}

#[test]
fn a_name_that_nothing_has_decides_nothing() {
    let proof = proved(&stages(200, &|_| "nosuch".into()));
    assert_eq!(proof.promise, Promise::Kept);
    assert_eq!((proof.coverage.shapes, proof.coverage.replays), (1, 0));
}

#[test]
fn names_of_their_own_make_no_difference_between_stages() {
    // Where `w` fails nothing is to be undone.
    let proof = proved(&stages(50, &|number| format!("s{number}.p1.w")));
    assert_eq!(proof.promise, Promise::Kept);
    assert_eq!(proof.coverage.shapes, 1);
    let few = proved(&stages(5, &|number| format!("s{number}.p1.w")));
    assert!(few.coverage.replays > 0);
    assert_eq!(proof.coverage.replays, few.coverage.replays, "one stage is played for all");
}

#[test]
fn a_name_of_one_of_them_does() {
    let proof = proved(&stages(50, &|_| "s17.p1.y".into()));
    assert_eq!(proof.coverage.shapes, 2);
    let Promise::Broken(found) = proof.promise else { panic!("{:?}", proof.promise) };
    let Fault::Step { step, .. } = found.fault else { panic!("{:?}", found.fault) };
    let plan = stages(50, &|_| "s17.p1.y".into());
    assert_eq!(plan.steps[step.index()].name, "s17.p1.y");
}
