//! Strikes secrets out of what is printed, as it is printed: before it reaches a file.
//!
//! Line by line: the end of a line that has not come may be the rest of a secret.

use memchr::memmem::Finder;
use std::borrow::Cow;

/// How much of a line is kept back until its end comes, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// What stands for a secret.
const STRUCK: &[u8] = b"***";

pub(crate) struct Striker {
    /// The longest first.
    pieces: Vec<Finder<'static>>,
    /// What has come of a line.
    rest: Vec<u8>,
}

impl Striker {
    /// One that strikes these out, the longest first.
    pub fn new(pieces: &[String]) -> Striker {
        // No line holds what goes over several; its lines are pieces of their own.
        let within_a_line = pieces.iter().filter(|piece| !piece.contains('\n'));
        let pieces = within_a_line.map(|piece| Finder::new(piece).into_owned()).collect();
        Striker { pieces, rest: Vec::new() }
    }

    /// Takes more; gives the lines whose end has come.
    pub fn strike<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.pieces.is_empty() {
            return Cow::Borrowed(bytes);
        }
        self.rest.extend_from_slice(bytes);
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.rest.drain(..=end).collect();
            return Cow::Owned(self.struck(lines));
        }
        if self.rest.len() <= LONGEST_LINE {
            return Cow::Owned(Vec::new());
        }
        let line = std::mem::take(&mut self.rest);
        let mut line = self.struck(line);
        // As much as may be the beginning of a secret stays.
        let longest = self.pieces.first().map_or(0, |piece| piece.needle().len());
        self.rest = line.split_off(line.len().saturating_sub(longest));
        Cow::Owned(line)
    }

    /// What is left of the last line.
    pub fn rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.rest);
        self.struck(rest)
    }

    fn struck(&self, text: Vec<u8>) -> Vec<u8> {
        self.pieces.iter().fold(text, |text, piece| {
            let mut out = Vec::new();
            let mut done = 0;
            for at in piece.find_iter(&text) {
                out.extend_from_slice(&text[done..at]);
                out.extend_from_slice(STRUCK);
                done = at + piece.needle().len();
            }
            if done == 0 {
                return text;
            }
            out.extend_from_slice(&text[done..]);
            out
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(pieces: &[&str], chunks: &[&[u8]]) -> Vec<u8> {
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).into()).collect();
        let mut striker = Striker::new(&pieces);
        let mut all = Vec::new();
        for chunk in chunks {
            all.extend_from_slice(&striker.strike(chunk));
        }
        all.extend(striker.rest());
        all
    }

    #[test]
    fn a_secret_that_comes_in_parts_is_struck_out() {
        assert_eq!(struck(&["hunter2"], &[b"the hun", b"ter", b"2 is\nhunter", b"2"]), b"the *** is\n***");
        assert_eq!(struck(&["hunter22", "hunter"], &[b"hunter22 hunter\n"]), b"*** ***\n");
        assert_eq!(struck(&["a\nb"], &[b"a\nb\xff\0"]), b"a\nb\xff\0");
        assert_eq!(struck(&[], &[b"a", b"b"]), b"ab");
    }

    #[test]
    fn so_is_one_in_a_line_that_does_not_end() {
        let line = vec![b'x'; LONGEST_LINE + 10];
        let all =
            struck(&["hunter2"], &[&line, b"hunter2", &line, b"hun", &line[..LONGEST_LINE], b"hunter", b"2"]);
        let text = String::from_utf8(all).unwrap();
        assert_eq!(text.matches("***").count(), 2);
        assert_eq!(text.replace("***", "").replace('x', ""), "hun");
    }
}
