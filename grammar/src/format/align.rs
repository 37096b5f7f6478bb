//! Neighbouring entries on one line each: their `=` stand below each other.

use super::layout::{Item, ItemKind, Piece};
use super::print::WIDTH;

/// For each item how many blanks are put behind its first word.
pub(super) fn paddings(items: &[Item<'_>], indent: usize) -> Vec<usize> {
    let mut paddings = vec![0; items.len()];
    let mut start = 0;
    while start < items.len() {
        let (count, longest) = run(&items[start..], indent);
        for (padding, item) in paddings[start..].iter_mut().zip(&items[start..start + count]) {
            *padding = key(item, indent).map_or(0, |(width, _)| longest - width);
        }
        start += count.max(1);
    }
    paddings
}

/// How many items at the start line up, and the width of the longest of their first words. A line that would become too long
/// by that begins the next run.
fn run(items: &[Item<'_>], indent: usize) -> (usize, usize) {
    let mut longest = 0;
    // Columns that the padding of the tightest entry may still take, its own first word counted in.
    let mut room = usize::MAX;
    for (index, item) in items.iter().enumerate() {
        let Some((width, space)) = key(item, indent) else { return (index, longest) };
        let (next, left) = (longest.max(width), room.min(space));
        if index > 0 && (item.blank || next > left) {
            return (index, longest);
        }
        (longest, room) = (next, left);
    }
    (items.len(), longest)
}

/// The width of the first word of an entry on one line, and the width that word may grow to.
fn key(item: &Item<'_>, indent: usize) -> Option<(usize, usize)> {
    let ItemKind::Member(member) = &item.kind else { return None };
    if !member.aligned || member.multiline {
        return None;
    }
    let width = member.pieces.first().map(Piece::width)?;
    // What cannot be broken stays on one line, however long that is.
    let room = match member.is_breakable() {
        true => (width + WIDTH).checked_sub(indent + member.width).filter(|room| *room >= width)?,
        false => usize::MAX,
    };
    Some((width, room))
}
