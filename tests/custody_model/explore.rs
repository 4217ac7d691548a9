//! Breadth-first exploration of every reachable state, with the shortest counterexample and the question whether an end
//! can still be reached from everywhere.

use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// What is explored.
pub(crate) trait Model {
    /// One state of everything.
    type State: Copy + Eq + Hash;

    /// Where it begins.
    fn starts(&self) -> Vec<Self::State>;

    /// Everything that may happen next.
    fn steps(&self, state: &Self::State) -> Vec<Step<Self::State>>;

    /// What is broken in a state.
    fn broken(&self, state: &Self::State) -> Option<String>;

    /// The end that a state is, if it is one.
    fn end(&self, state: &Self::State) -> Option<String>;
}

/// What happened, to which file, where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What {
    pub(crate) text: &'static str,
    pub(crate) file: usize,
    pub(crate) rse: Option<&'static str>,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}: {}", self.file + 1, self.text)?;
        self.rse.map_or(Ok(()), |rse| write!(f, " ({rse})"))
    }
}

/// One thing that may happen.
#[derive(Clone, Debug)]
pub(crate) struct Step<S> {
    pub(crate) what: What,
    /// It happens sooner or later if it can again and again: the daemon works, Rucio works, time passes.
    pub(crate) fair: bool,
    pub(crate) to: S,
    /// What the step itself breaks.
    pub(crate) broken: Option<String>,
}

/// What was explored.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) longest: usize,
    /// The ends that were reached, with the number of states of each.
    pub(crate) ends: std::collections::BTreeMap<String, usize>,
    pub(crate) counterexample: Option<Counterexample>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, longest, ends, .. } = self;
        write!(f, "{states} states, {steps} steps, the farthest {longest} steps away, ends {ends:?}")
    }
}

/// A shortest way to something that must not be.
#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) why: String,
    pub(crate) trace: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} steps:", self.why, self.trace.len())?;
        self.trace.iter().enumerate().try_for_each(|(at, what)| writeln!(f, "{:3}. {what}", at + 1))
    }
}

/// How a state was reached first: from which, by which of its steps.
#[derive(Clone, Copy)]
struct Parent {
    from: u32,
    step: u16,
}

const START: u32 = u32::MAX;

/// Explores everything, up to the first violation.
pub(crate) fn explore<M: Model>(model: &M, most: usize) -> Report {
    let mut seen: FxHashMap<M::State, u32> = FxHashMap::default();
    let mut parents: Vec<Parent> = Vec::new();
    let mut depths: Vec<u16> = Vec::new();
    let mut ended: Vec<u32> = Vec::new();
    let mut fair: Vec<(u32, u32)> = Vec::new();
    let mut queue = VecDeque::new();
    let mut report = Report::default();
    for (at, start) in (0_u16..).zip(model.starts()) {
        let id = u32::try_from(parents.len()).unwrap();
        seen.insert(start, id);
        parents.push(Parent { from: START, step: at });
        depths.push(0);
        queue.push_back((id, start));
    }
    let mut wrong: Option<(Parent, String)> = None;
    'search: while let Some((id, state)) = queue.pop_front() {
        report.longest = usize::from(depths[id as usize]);
        if let Some(why) = model.broken(&state) {
            wrong = Some((parents[id as usize], why));
            break;
        }
        if let Some(end) = model.end(&state) {
            *report.ends.entry(end).or_default() += 1;
            ended.push(id);
        }
        for (at, step) in (0_u16..).zip(model.steps(&state)) {
            report.steps += 1;
            let parent = Parent { from: id, step: at };
            if let Some(why) = step.broken {
                wrong = Some((parent, why));
                break 'search;
            }
            let next = u32::try_from(parents.len()).unwrap();
            let to = *seen.entry(step.to).or_insert(next);
            if to == next {
                parents.push(parent);
                depths.push(depths[id as usize] + 1);
                queue.push_back((next, step.to));
                assert!(parents.len() <= most, "more than {most} states: the bounds are too wide");
            }
            if step.fair && to != id {
                fair.push((to, id));
            }
        }
    }
    report.states = parents.len();
    report.counterexample =
        wrong.map(|(last, why)| Counterexample { why, trace: trace(model, &parents, last) }).or_else(|| {
            stranded(&ended, fair, parents.len()).map(|id| Counterexample {
                why: "no end can be reached any more".to_owned(),
                trace: trace(model, &parents, parents[id]),
            })
        });
    report
}

/// The first state from which fair steps lead to no end.
fn stranded(ended: &[u32], mut reversed: Vec<(u32, u32)>, states: usize) -> Option<usize> {
    reversed.sort_unstable();
    let mut reaches = vec![false; states];
    let mut todo = ended.to_vec();
    while let Some(id) = todo.pop() {
        if std::mem::replace(&mut reaches[id as usize], true) {
            continue;
        }
        let from = reversed.partition_point(|(to, _)| *to < id);
        todo.extend(reversed[from..].iter().take_while(|(to, _)| *to == id).map(|(_, from)| *from));
    }
    reaches.iter().position(|reached| !reached)
}

/// The steps to a state, found by walking them again from the start.
fn trace<M: Model>(model: &M, parents: &[Parent], last: Parent) -> Vec<String> {
    let mut way = vec![last];
    while let Some(Parent { from, .. }) = way.last().filter(|parent| parent.from != START) {
        way.push(parents[*from as usize]);
    }
    let Some(start) = way.pop() else { return Vec::new() };
    let mut state = model.starts()[usize::from(start.step)];
    let mut told = Vec::with_capacity(way.len());
    for parent in way.into_iter().rev() {
        let step = model.steps(&state).swap_remove(usize::from(parent.step));
        told.push(step.what.to_string());
        state = step.to;
    }
    told
}
