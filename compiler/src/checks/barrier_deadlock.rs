//! `barrier/deadlock`: branches that meet the same barriers in different orders.
//!
//! The barriers of a group are nodes, and each branch draws an edge from every barrier it meets to the next one. A
//! circle of edges is a deadlock: every barrier on it is waited for by a branch that another one keeps from arriving.

use super::Judged;
use super::order::Meeting;
use super::satisfy::Atoms;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::rules::Rule;
use crate::suggest;
use foldhash::HashMap;
use lockstep_plan::{BarrierId, BarrierKind, Before, ConditionId, Expr, ItemId};
use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use std::collections::{BTreeSet, VecDeque};

pub const RULE: Rule = Rule {
    name: "barrier/deadlock",
    severity: Severity::Error,
    summary: "the order of barriers across concurrent stages has a circle: nobody can go on",
    page: include_str!("barrier_deadlock.md"),
};

/// Beyond this many circles in one group more reports help nobody.
const MOST_REPORTS: usize = 20;

/// So many different branches are remembered, to pass over others like them.
const MOST_KINDS: usize = 8;

/// More places times sets of answers than this are not tried out.
const MOST_TRIES: usize = 4_000_000;

/// A stretch of one branch: it meets the barrier at `from` before the one at `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Which branch.
    pub branch: usize,
    /// Index among the branch's meetings.
    pub from: usize,
    /// A later index.
    pub to: usize,
}

/// Looks at every group, forward and for rollbacks.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    for item in judged.items() {
        for kind in [BarrierKind::Forward, BarrierKind::Rollback] {
            let branches = judged.meetings(item, kind);
            // A circle takes two branches that each draw a line.
            if branches.iter().filter(|branch| branch.len() > 1).count() < 2 {
                continue;
            }
            let branches: Vec<Vec<&Meeting>> = branches.iter().map(|branch| once_only(branch)).collect();
            for (circle, possible) in circles(judged, &branches) {
                sink.push(report(judged, item, kind, &branches, &circle, possible));
            }
        }
    }
}

/// A barrier that one branch meets twice is another rule's matter.
fn once_only(branch: &[Meeting]) -> Vec<&Meeting> {
    let mut met: Vec<BarrierId> = branch.iter().map(|meeting| meeting.barrier).collect();
    met.sort_unstable();
    let mut twice: Vec<BarrierId> =
        met.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    twice.dedup();
    branch.iter().filter(|meeting| twice.binary_search(&meeting.barrier).is_err()).collect()
}

/// Every independent circle that can really happen; the flag tells one of which that could not be found out.
fn circles(judged: &Judged<'_, '_>, branches: &[Vec<&Meeting>]) -> Vec<(Vec<Stretch>, bool)> {
    let names: Vec<Vec<BarrierId>> =
        branches.iter().map(|branch| branch.iter().map(|meeting| meeting.barrier).collect()).collect();
    let all = find_circles(&names, &|_, _| true);
    if all.is_empty() {
        return Vec::new();
    }
    let plan = &judged.lowered.plan;
    let mut atoms = Atoms::new(judged.domains());
    for id in branches.iter().flatten().flat_map(|meeting| &meeting.when) {
        atoms.add(&plan.conditions[id.index()]);
    }
    if atoms.len() == 0 {
        return all.into_iter().map(|circle| (circle, false)).collect();
    }
    let places: usize = names.iter().map(Vec::len).sum();
    let answers = atoms.answers().filter(|_| places << atoms.len() <= MOST_TRIES);
    let Some(answers) = answers else {
        return all.into_iter().map(|circle| (circle, true)).collect();
    };
    // The case without skips first: those circles stand as they are where their conditions can hold together.
    let mut found: Vec<Vec<Stretch>> = Vec::new();
    let mut open = all;
    for answers in answers {
        let holds = |id: &ConditionId| atoms.holds(&plan.conditions[id.index()], &answers);
        let there = |branch: usize, index: usize| branches[branch][index].when.iter().all(holds);
        let awaited =
            |branch: usize, index: usize| is_awaited(judged, branches[branch][index], &atoms, &answers);
        let real = |circle: &Vec<Stretch>| {
            circle.iter().all(|it| there(it.branch, it.from) && awaited(it.branch, it.to))
        };
        found.extend(open.extract_if(.., |circle| real(circle)));
        let late = find_circles(&names, &awaited).into_iter().filter(&real);
        for circle in find_circles(&names, &there).into_iter().chain(late) {
            let touched: BTreeSet<BarrierId> = barriers(&names, &circle);
            if found.iter().all(|known| barriers(&names, known).is_disjoint(&touched))
                && !open.iter().any(&real)
            {
                found.push(circle);
            }
        }
    }
    found.into_iter().map(|circle| (circle, false)).collect()
}

/// Whether others wait for somebody at a barrier. Who is kept away by what is known before the run is no participant. By what
/// steps put out a place is only skipped once it is reached: until then others wait for it.
pub fn is_awaited(judged: &Judged<'_, '_>, meeting: &Meeting, atoms: &Atoms<'_>, answers: &[bool]) -> bool {
    let before = |atom: &Expr| match atom.asks_of_run() {
        true => Before::Late,
        false => Before::Comes(atoms.holds(atom, answers)),
    };
    let conditions = &judged.lowered.plan.conditions;
    meeting.when.iter().all(|id| conditions[id.index()].before(&before) != Before::Comes(false))
}

fn barriers(names: &[Vec<BarrierId>], circle: &[Stretch]) -> BTreeSet<BarrierId> {
    circle.iter().map(|it| names[it.branch][it.from]).collect()
}

/// A branch's barriers that are still looked at, each with its index among the branch's meetings.
type Line = Vec<(usize, BarrierId)>;

/// Barriers that reach each other, ascending, and what each branch meets of them.
#[derive(Default)]
struct Knot {
    barriers: Vec<BarrierId>,
    /// Without branches that meet none of them.
    rows: Vec<(usize, Line)>,
}

/// Whether branches meet some barriers in different orders.
pub fn has_circle(names: &[Vec<BarrierId>]) -> bool {
    let lines: Vec<Line> = names.iter().map(|names| names.iter().copied().enumerate().collect()).collect();
    !is_one_line(&lines) && !knots(&lines).is_empty()
}

/// Shortest circles until none is left; after each, the barrier that it begins with is taken out.
fn find_circles(names: &[Vec<BarrierId>], there: &dyn Fn(usize, usize) -> bool) -> Vec<Vec<Stretch>> {
    let mut left: Vec<Line> = names
        .iter()
        .enumerate()
        .map(|(branch, names)| {
            names.iter().copied().enumerate().filter(|(index, _)| there(branch, *index)).collect()
        })
        .collect();
    let mut found = Vec::new();
    while found.len() < MOST_REPORTS && !is_one_line(&left) {
        let mut taken = BTreeSet::new();
        for knot in knots(&left) {
            if let Some(circle) = shortest(&knot) {
                taken.insert(names[circle[0].branch][circle[0].from]);
                found.push(circle);
            }
        }
        for branch in &mut left {
            branch.retain(|(_, barrier)| !taken.contains(barrier));
        }
        if taken.is_empty() {
            break;
        }
    }
    found
}

/// Whether branches are all alike and draw one line.
fn is_one_line(lines: &[Line]) -> bool {
    let Some((first, others)) = lines.split_first() else { return true };
    others.iter().all(|other| other == first) && is_line(first)
}

/// Everything that holds circles, in the order of the first barrier of each.
fn knots(lines: &[Line]) -> Vec<Knot> {
    let barriers = || lines.iter().flatten().map(|(_, barrier)| *barrier);
    // The barriers of a group have been numbered one after another.
    let (Some(least), Some(most)) = (barriers().min(), barriers().max()) else { return Vec::new() };
    let node = |barrier: BarrierId| barrier.0 - least.0;
    let mut graph: DiGraph<(), ()> = DiGraph::new();
    // Most branches are stages of a few workflows, which draw the same edges.
    let mut drawn: Vec<&Line> = Vec::new();
    for line in lines {
        if drawn.contains(&line) {
            continue;
        }
        if drawn.len() < MOST_KINDS {
            drawn.push(line);
        }
        graph.extend_with_edges(line.windows(2).map(|pair| (node(pair[0].1), node(pair[1].1))));
    }
    let mut knots: Vec<Knot> = tarjan_scc(&graph)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| {
            let mut barriers: Vec<BarrierId> =
                component.into_iter().map(|it| BarrierId(it.index() as u32 + least.0)).collect();
            barriers.sort_unstable();
            Knot { barriers, rows: Vec::new() }
        })
        .collect();
    knots.sort_unstable_by_key(|knot| knot.barriers.first().copied());
    if knots.is_empty() {
        return knots;
    }
    let mut of: Vec<Option<usize>> = vec![None; node(most) as usize + 1];
    for (index, knot) in knots.iter().enumerate() {
        for barrier in &knot.barriers {
            of[node(*barrier) as usize] = Some(index);
        }
    }
    for (branch, line) in lines.iter().enumerate() {
        for (index, barrier) in line {
            let Some(knot) = of[node(*barrier) as usize] else { continue };
            let rows = &mut knots[knot].rows;
            match rows.last_mut() {
                Some((last, row)) if *last == branch => row.push((*index, *barrier)),
                _ => rows.push((branch, vec![(*index, *barrier)])),
            }
        }
    }
    knots
}

/// Whether a branch comes by no barrier twice.
fn is_line(branch: &[(usize, BarrierId)]) -> bool {
    let mut barriers: Vec<BarrierId> = branch.iter().map(|(_, barrier)| *barrier).collect();
    barriers.sort_unstable();
    barriers.windows(2).all(|pair| pair[0] != pair[1])
}

/// The circle with the fewest stretches among barriers that reach each other.
fn shortest(knot: &Knot) -> Option<Vec<Stretch>> {
    /// Looking from every barrier is quadratic; beyond this much work the first ones have to do.
    const BUDGET: usize = 4_000_000;
    let mut places: Vec<(BarrierId, usize, usize)> = Vec::new();
    for (number, (_, row)) in knot.rows.iter().enumerate() {
        places.extend(row.iter().enumerate().map(|(position, (_, barrier))| (*barrier, number, position)));
    }
    places.sort_unstable();
    let starts = (BUDGET / places.len().max(1)).max(1);
    let mut best: Option<Vec<Stretch>> = None;
    for start in knot.barriers.iter().take(starts) {
        let circle = from(*start, &knot.rows, &places);
        if let Some(circle) = circle
            && best.as_ref().is_none_or(|best| circle.len() < best.len())
        {
            let least = circle.len() == 2;
            best = Some(circle);
            if least {
                break;
            }
        }
    }
    best
}

/// Breadth first from one barrier back to it, counting stretches. Each position of a branch is looked at once: what
/// lies behind an earlier one was reached with it. `places` says where each barrier is met: by barrier, row and position.
fn from(
    start: BarrierId,
    rows: &[(usize, Line)],
    places: &[(BarrierId, usize, usize)],
) -> Option<Vec<Stretch>> {
    let mut reached: Vec<usize> = rows.iter().map(|(_, row)| row.len()).collect();
    let mut before: HashMap<BarrierId, (BarrierId, Stretch)> = HashMap::default();
    let mut todo = VecDeque::from([start]);
    while let Some(barrier) = todo.pop_front() {
        let first = places.partition_point(|(other, ..)| *other < barrier);
        for (_, number, position) in places[first..].iter().take_while(|(other, ..)| *other == barrier) {
            let (branch, row) = &rows[*number];
            let end = reached[*number];
            for next in position + 1..end {
                let stretch = Stretch { branch: *branch, from: row[*position].0, to: row[next].0 };
                let found = row[next].1;
                if found == start {
                    let mut circle = vec![stretch];
                    let mut here = barrier;
                    while here != start {
                        let (earlier, stretch) = before[&here];
                        circle.push(stretch);
                        here = earlier;
                    }
                    circle.reverse();
                    return Some(circle);
                }
                before.entry(found).or_insert_with(|| {
                    todo.push_back(found);
                    (barrier, stretch)
                });
            }
            reached[*number] = end.min(position + 1);
        }
    }
    None
}

fn report(
    judged: &Judged<'_, '_>,
    item: ItemId,
    kind: BarrierKind,
    branches: &[Vec<&Meeting>],
    circle: &[Stretch],
    possible: bool,
) -> Diagnostic {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let name = |meeting: &Meeting| plan.barriers[meeting.barrier.index()].name.as_str();
    let stage = |meeting: &Meeting| plan.stages[meeting.stage.index()].name.as_str();
    let ends =
        |stretch: &Stretch| (branches[stretch.branch][stretch.from], branches[stretch.branch][stretch.to]);
    let names: Vec<&str> = circle.iter().map(|stretch| name(ends(stretch).0)).collect();
    let what = if kind == BarrierKind::Rollback { "rollback barriers" } else { "barriers" };
    let mut message = format!("{what} {} are met in different orders: nobody can go on", and(&names));
    let mut open: Vec<ConditionId> = Vec::new();
    for stretch in circle {
        let (first, second) = ends(stretch);
        open.extend(first.when.iter().chain(&second.when));
    }
    open.sort_unstable();
    open.dedup();
    if !open.is_empty() {
        let texts: Vec<String> = open.iter().map(|id| condition_text(judged, *id)).collect();
        let verb = if possible { "possible" } else { "this happens" };
        message.push_str(&format!(" ({verb} depending on {})", suggest::list(&texts)));
    }
    let mut diagnostic = Diagnostic::new(&RULE, origins.items[item.index()], message)
        .label("the branches of this group wait for each other for ever")
        .help(format!("let all stages meet {} in the same order", and(&names)));
    let mut labels: Vec<(Location, String)> = Vec::new();
    for stretch in circle {
        let (first, second) = ends(stretch);
        let (one, two) = (origins.places[first.place.index()], origins.places[second.place.index()]);
        let (this, that) = (stage(first), stage(second));
        let waits =
            |stage: &str, meeting: &Meeting| format!("stage `{stage}` waits here at `{}`", name(meeting));
        // In a lane the second barrier may be that of a later stage. Each text stands by itself: places can be shared.
        let (this, that) = match first.stage == second.stage {
            true => (format!("{} first", waits(this, first)), format!("{} after that", waits(that, second))),
            false => (
                format!("{}, before stage `{that}` starts", waits(this, first)),
                format!("{}, when stage `{this}` has ended", waits(that, second)),
            ),
        };
        add(&mut labels, one, this);
        add(&mut labels, two, that);
    }
    for id in open {
        add(&mut labels, origins.conditions[id.index()], "an open condition: both ways count".into());
    }
    diagnostic.labels = labels;
    diagnostic
}

/// Stages of one workflow stand at the same place of the source: their texts share one label.
fn add(labels: &mut Vec<(Location, String)>, at: Location, text: String) {
    match labels.iter_mut().find(|(place, _)| *place == at) {
        Some((_, known)) if !known.contains(&text) => {
            known.push_str("; ");
            known.push_str(&text);
        }
        Some(_) => {}
        None => labels.push((at, text)),
    }
}

/// "`a`, `b` and `c`"
pub fn and(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A condition as the source says it.
pub fn condition_text(judged: &Judged<'_, '_>, id: ConditionId) -> String {
    let at = judged.lowered.origins.conditions[id.index()];
    judged.model.program.text(at.file, at.span).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(names: &[&[u32]]) -> Vec<Vec<BarrierId>> {
        names.iter().map(|branch| branch.iter().map(|id| BarrierId(*id)).collect()).collect()
    }

    fn always(_: usize, _: usize) -> bool {
        true
    }

    #[test]
    fn independent_inversions_are_all_found() {
        let names = ids(&[&[0, 1, 2, 3], &[1, 0, 3, 2]]);
        assert_eq!(find_circles(&names, &always).len(), 2);
    }

    #[test]
    fn a_circle_over_three_branches_is_shown_with_three_stretches() {
        let names = ids(&[&[0, 1], &[1, 2], &[2, 0]]);
        let found = find_circles(&names, &always);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].len(), 3);
    }

    #[test]
    fn the_shortest_of_several_circles_is_shown() {
        let names = ids(&[&[0, 1], &[1, 2], &[2, 0], &[1, 0]]);
        assert_eq!(find_circles(&names, &always)[0].len(), 2);
    }

    #[test]
    fn other_barriers_between_do_not_make_it_longer() {
        let names = ids(&[&[0, 5, 6, 1], &[1, 7, 0]]);
        assert_eq!(find_circles(&names, &always)[0].len(), 2);
    }

    /// Whether some interleaving of arrivals gets stuck before every branch is through.
    fn stuck(branches: &[Vec<BarrierId>]) -> bool {
        let mut seen = BTreeSet::new();
        let mut todo = vec![vec![(0_usize, false); branches.len()]];
        while let Some(state) = todo.pop() {
            if !seen.insert(state.clone()) {
                continue;
            }
            let mut next = Vec::new();
            for (branch, (position, waiting)) in state.iter().enumerate() {
                let Some(barrier) = branches[branch].get(*position) else { continue };
                let mut state = state.clone();
                if !waiting {
                    state[branch].1 = true;
                    next.push(state);
                    continue;
                }
                // It opens when every branch that meets it has arrived.
                let open = branches.iter().zip(&state).all(|(other, (at, waiting))| {
                    match other.iter().position(|it| it == barrier) {
                        Some(index) => *at > index || (*at == index && *waiting),
                        None => true,
                    }
                });
                if open {
                    state[branch] = (position + 1, false);
                    next.push(state);
                }
            }
            if next.is_empty() && state.iter().zip(branches).any(|((at, _), branch)| *at < branch.len()) {
                return true;
            }
            todo.extend(next);
        }
        false
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_circle_is_found_exactly_when_some_interleaving_gets_stuck(
            branches in prop::collection::vec(
                prop::collection::vec(0_u32..5, 0..5).prop_map(|mut branch| {
                    let mut seen = BTreeSet::new();
                    branch.retain(|id| seen.insert(*id));
                    branch.into_iter().map(BarrierId).collect::<Vec<_>>()
                }),
                1..5,
            )
        ) {
            let found = find_circles(&branches, &always);
            prop_assert_eq!(!found.is_empty(), stuck(&branches));
            for circle in &found {
                for (index, stretch) in circle.iter().enumerate() {
                    let next = &circle[(index + 1) % circle.len()];
                    prop_assert!(stretch.from < stretch.to);
                    prop_assert_eq!(branches[stretch.branch][stretch.to], branches[next.branch][next.from]);
                }
            }
        }
    }
}
