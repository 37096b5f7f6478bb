//! Neighbours on one line each: their `=` stand below each other.

use super::layout::{Item, ItemKind, Stop};
use super::print::WIDTH;

/// For each item how many blanks are put before its `=`.
pub(super) fn paddings(items: &[Item<'_>], indent: usize) -> Vec<usize> {
    let mut paddings = vec![0; items.len()];
    let mut start = 0;
    while start < items.len() {
        let (count, longest) = run(&items[start..], indent);
        for (padding, item) in paddings[start..].iter_mut().zip(&items[start..start + count]) {
            *padding = stop(item, indent).map_or(0, |(stop, _)| longest - stop.width);
        }
        start += count.max(1);
    }
    paddings
}

/// How many items at the start line up, and the columns before the `=` of the longest. A line that would become too long by
/// that begins the next run.
fn run(items: &[Item<'_>], indent: usize) -> (usize, usize) {
    let mut longest = 0;
    let mut limit = usize::MAX;
    let mut kind = None;
    for (index, item) in items.iter().enumerate() {
        let Some((stop, own)) = stop(item, indent) else { return (index, longest) };
        let (next, left) = (longest.max(stop.width), limit.min(own));
        if index > 0 && (item.blank || kind != Some(stop.kind) || next > left) {
            return (index, longest);
        }
        (longest, limit, kind) = (next, left, Some(stop.kind));
    }
    (items.len(), longest)
}

/// Where a member on one line lines up, and how many columns there may be before that.
fn stop(item: &Item<'_>, indent: usize) -> Option<(Stop, usize)> {
    let ItemKind::Member(member) = &item.kind else { return None };
    let stop = member.stop.filter(|_| !member.multiline)?;
    // What cannot be broken stays on one line, however long that is.
    let limit = match member.is_breakable() {
        true => {
            (stop.width + WIDTH).checked_sub(indent + member.width).filter(|limit| *limit >= stop.width)?
        }
        false => usize::MAX,
    };
    Some((stop, limit))
}
