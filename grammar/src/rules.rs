//! The names of syntax errors, and what they mean.

/// Every rule a [`crate::SyntaxError`] can have, with a paragraph that explains it.
pub const RULES: &[(&str, &str)] = &[
    (
        "syntax/unexpected",
        "Something stands where something else should. The message says what was found and what could stand there. \
         Members of brackets are separated by commas or new lines; a value is given with `=`; the brace of a block \
         stands on the line of what it belongs to. What was not understood is left out, everything else is checked.",
    ),
    (
        "syntax/unclosed",
        "A bracket is opened and never closed. A declaration that begins at the start of a line ends everything that is \
         still open before it. Where the brackets of a declaration do not balance, its indentation tells which of them \
         lacks its partner: what stands in brackets is indented deeper than the line that opens them.",
    ),
    (
        "syntax/text",
        "A fault in a text. `\"…\"` ends on its line, `\"\"\"…\"\"\"` may have several. Both know the escapes `\\\"`, `\\\\`, \
         `\\n`, `\\t`, and `${EXPRESSION}`, which needs its `}`; `\\${` stands for the characters themselves. There are no \
         comments inside of text. The path of an import and the keys of records are plain text.",
    ),
    (
        "syntax/number",
        "A fault in a number. Numbers are whole and have no sign. A percentage is written `20%`, a duration with \
         descending units: `1h30m`, `500ms`. The units are `d`, `h`, `m`, `s` and `ms`, written without a space.",
    ),
    (
        "syntax/spelling",
        "Something is written as other languages write it: `name: value`, `#` or `/* … */` for comments, `'…'` for text, \
         names in quotes, lists with dashes, blocks by indentation, `and` for `&&`, `depends_on` for order. The message \
         says how it is written here, and where that is mechanical there is a fix.",
    ),
    (
        "syntax/place",
        "Something the language knows stands where it cannot: a step outside of a phase, a lane outside of `parallel`, a \
         section in a section, a loop in a loop. The help says where it may stand.",
    ),
];
