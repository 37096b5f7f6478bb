//! Slips in the heads of declarations and blocks, their keyword or their brace: read as what was meant, so that nothing in
//! them is lost.

use super::{DECLARATIONS, Kind, Open, Scan};
use crate::ast::Span;
use crate::message;

/// The words that begin a named block inside of a declaration.
const NAMED: [&str; 8] =
    ["phase", "step", "stage", "barrier", "section", "lane", "approval", "infrastructure"];

/// What begins a line with a name behind it and is no slip of another word.
const OTHERS: [&str; 11] =
    ["use", "notify", "on", "only", "skip", "changes", "undone", "for", "parallel", "rollback", "import"];

impl Scan<'_> {
    /// `pipline release {`, `stpe a = …`: mends the word that begins the line at an offset, where a name follows it and then
    /// what opens a block. Whether a declaration begins there so.
    pub(super) fn mend_keyword(&mut self, at: usize) -> bool {
        // A declaration begins its line, and ends whatever is open.
        let top = self.open.is_empty() || self.indent == 0;
        if !top && self.open.last().is_none_or(|open| open.kind != Kind::Brace) || self.in_hole() {
            return false;
        }
        let rest = &self.source[at..];
        let word =
            &rest[..rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())];
        let behind = rest[word.len()..].trim_start_matches([' ', '\t']);
        if word.len() < 3 || behind.len() == rest.len() - word.len() {
            return false;
        }
        let known = || DECLARATIONS.iter().chain(&NAMED).chain(&OTHERS).copied();
        let import = top && behind.starts_with('"');
        let name = behind.trim_start_matches(is_name_character);
        let after = name.trim_start_matches([' ', '\t']);
        let named =
            name.len() < behind.len() && after.starts_with(['=', '(', '{', '[']) && !after.starts_with("==");
        let bare =
            !top && (behind.starts_with('{') || matches!(leading_word(behind), "max" | "all_or_nothing"));
        if !(import || named || bare) || known().any(|known| known == word) {
            return false;
        }
        let meant = match () {
            () if bare => crate::recover::similar(word, self.blocks()),
            () if import => crate::recover::similar(word, ["import"]),
            () if top => crate::recover::similar(word, DECLARATIONS),
            () => crate::recover::similar(word, NAMED),
        };
        let Some(meant) = meant else { return false };
        let span = Span::new(at, at + word.len());
        self.report(crate::recover::no_keyword(span, word, meant));
        let (same, more) = meant.split_at(meant.len().min(word.len()));
        self.edit(at, at + word.len(), format!("{same:<0$}", word.len()));
        if !more.is_empty() {
            self.edit(at + word.len(), at + word.len(), more);
        }
        top && !import
    }

    /// The words that begin a block without a name, or one of fields, in this declaration.
    fn blocks(&self) -> [&'static str; 2] {
        if self.in_provider() { ["service", "infrastructure"] } else { ["parallel", "rollback"] }
    }

    fn in_provider(&self) -> bool {
        let declaration = self.found.declarations.last();
        declaration.is_some_and(|at| self.source[*at..].starts_with("provider"))
    }

    /// `rollback = {`, `infrastructure: {`: a block is not set.
    pub(super) fn mend_block(&mut self) {
        let head = self.head();
        let word = leading_word(head);
        let behind = head[word.len()..].trim_start();
        if behind == ":" && self.in_block() && NAMED.contains(&self.next_word()) {
            // `steps:`, and below it, as deep, what was to stand in it.
            let span = Span::new(self.at, self.at + head.len());
            self.report(crate::recover::no_block(span, word));
            return self.blank(self.at, span.end as usize);
        }
        let Some(brace) = behind.strip_prefix(['=', ':']).map(str::trim_start) else { return };
        if !brace.starts_with('{') || !self.blocks().contains(&word) || !self.in_block() {
            return;
        }
        let at = self.at + head.len() - behind.len();
        let message = format!("`{word}` is a block, and nothing to be set");
        let error = message::spelling(Span::new(at, at + 1), message, "not here");
        let gap = Span::new(self.at + word.len(), self.at + head.len() - brace.len());
        self.report(error.replace("remove it", gap, " "));
        self.edit(at, at + 1, " ");
    }

    /// The word that begins the next line of code, if that is indented as this one is.
    fn next_word(&self) -> &str {
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let mut below = self.source[self.at..].lines().skip(1).filter(is_code);
        let next = below.next().unwrap_or_default();
        let code = next.trim_start();
        if next.len() - code.len() == self.indent { leading_word(code) } else { "" }
    }

    /// `step s(a: int) => { b: int } {`: what a step gives stands behind `->`, in braces.
    pub(super) fn mend_outputs(&mut self) {
        let head = self.head();
        let name = head.split(['(', '{']).next().unwrap_or_default();
        let is_head = head.starts_with("step ") && !name.contains("= ") || head.starts_with(')');
        if !is_head || !self.in_provider() || !self.in_block() && !head.starts_with(')') {
            return;
        }
        // Behind the parameters, or the name.
        let from = head
            .find("->")
            .or_else(|| head.rfind(')').map(|at| at + 1))
            .or_else(|| head.find([':', '{']).max(head.find("=>")));
        let Some(from) = from else { return };
        let rest = &head[from..];
        let sign = rest.trim_start();
        let at = self.at + head.len() - sign.len();
        let fields = |text: &str| {
            let name = text.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            name.trim_start().starts_with(':')
        };
        let length = if sign.starts_with("=>") { 2 } else { usize::from(sign.starts_with(':')) };
        let braces = sign[length..].trim_start();
        let Some(inside) = braces.strip_prefix('{').filter(|inside| fields(inside)) else { return };
        // Without a sign they may be the body, unless that follows.
        if sign.starts_with("->") || length == 0 && !inside.contains("} {") {
            return;
        }
        let span = Span::new(at, at + length.max(1));
        let error = message::spelling(span, "what a step gives stands behind `->`", "expected `->`");
        let gap = Span::new(at, at + length);
        self.report(error.replace("write `->`", gap, if length == 0 { "-> " } else { "->" }));
        self.blank(at, at + length);
        self.edit(at + length, at + length, "-> ");
    }

    /// `infrastructure zone: string }` in a provider, and `-> revision: string }`: fields stand in braces.
    pub(super) fn mend_fields(&mut self) {
        if !self.in_provider() || !self.in_block() {
            return;
        }
        let head = self.head();
        let word = leading_word(head);
        let rest = &head[word.len()..];
        let from = match word {
            "service" | "infrastructure" => word.len(),
            "artifact" => head.len() - rest.trim_start().trim_start_matches(is_name_character).len(),
            _ => match head.find("->") {
                Some(arrow) => arrow + 2,
                None => return,
            },
        };
        let behind = head[from..].trim_start();
        let field = behind.trim_start_matches(is_name_character);
        let lacks =
            head.matches('}').count() >= head.matches('{').count() + usize::from(!head.ends_with('{'));
        if field.len() == behind.len() || !field.trim_start().starts_with(':') || !lacks {
            return;
        }
        let at = self.at + from;
        let error = crate::recover::expected_in(self.source, at, "`{`");
        self.report(error.replace("insert `{`", Span::new(at, at), " {"));
        self.edit(at, at, " {");
        let (line, indent, mark) = (self.line, self.indent, self.mark());
        self.open.push(Open {
            kind: Kind::Brace,
            at,
            line,
            indent,
            inner: None,
            in_hole: false,
            text: None,
            mark,
        });
        self.at = at;
    }

    /// A line that is the head of a block and lacks its `{`, or the `(` of parameters that take several lines: puts one there,
    /// where what is indented below ends in a `}`, or `)`, that is indented as the head is.
    pub(super) fn mend_head(&mut self) {
        if !self.in_block() {
            return;
        }
        let end = || self.at + self.head().len();
        if self.lacks_brace() {
            self.insert(end(), Kind::Brace, " {");
        } else if self.head().ends_with('=') && self.is_inside_below(']') {
            self.insert(end(), Kind::Bracket, " [");
        } else if let Some((name, first)) = self.name_before_parameters() {
            self.mend_parameters(name, first);
        } else if self.lacks_parenthesis() {
            self.insert(end(), Kind::Parenthesis, "(");
        }
    }

    /// `service web version: string) = …`: where the name in the head of a declaration ends and the first parameter begins, or
    /// only its type, where the brackets in the line are a `(` short.
    fn name_before_parameters(&self) -> Option<(usize, usize)> {
        let head = self.head();
        let word = leading_word(head);
        if !self.takes_parameters(word) {
            return None;
        }
        let behind = head[word.len()..].trim_start().trim_start_matches(is_name_character);
        let first = behind.trim_start();
        let typed = first.trim_start_matches(is_name_character).trim_start().starts_with(':');
        let lacks = first.matches(')').count() > first.matches('(').count();
        (typed && lacks).then(|| (self.at + head.len() - behind.len(), self.at + head.len() - first.len()))
    }

    /// Whether parameters may stand behind the name in a line that begins with this word.
    fn takes_parameters(&self, word: &str) -> bool {
        match self.open.len() {
            0 => DECLARATIONS.contains(&word),
            1 => word == "step" && self.in_provider(),
            _ => false,
        }
    }

    fn mend_parameters(&mut self, name: usize, first: usize) {
        let error = crate::recover::expected_in(self.source, name, "`(`");
        let gap = Span::new(name, first);
        self.report(if name == first {
            error.help("parameters stand behind the name, in parentheses: `NAME(PARAMETER: TYPE)`")
        } else {
            error.replace("insert `(`", gap, "(")
        });
        self.edit(name, name, "(");
        // The bracket that closes it finds it open.
        let (line, indent, mark) = (self.line, self.indent, self.mark());
        let open = Open {
            kind: Kind::Parenthesis,
            at: name,
            line,
            indent,
            inner: None,
            in_hole: false,
            text: None,
            mark,
        };
        self.open.push(open);
        self.at = first;
    }

    /// The same behind parameters that take several lines.
    pub(super) fn mend_body(&mut self) {
        if self.head().is_empty() && self.is_inside_below('}') {
            self.insert(self.at, Kind::Brace, " {");
        }
    }

    fn insert(&mut self, end: usize, kind: Kind, text: &str) {
        let sign = text.trim_start();
        let error = crate::recover::expected_in(self.source, end, &format!("`{sign}`"));
        self.report(error.replace(format!("insert `{sign}`"), Span::new(end, end), text));
        self.edit(end, end, text);
        let (line, indent, mark) = (self.line, self.indent, self.mark());
        self.open.push(Open { kind, at: end, line, indent, inner: None, in_hole: false, text: None, mark });
    }

    /// Whether nothing is open but blocks.
    fn in_block(&self) -> bool {
        self.open.last().is_none_or(|open| open.kind == Kind::Brace && !open.in_hole)
    }

    /// The code of this line.
    fn head(&self) -> &str {
        let line = self.source[self.at..].lines().next().unwrap_or_default();
        line.split("//").next().unwrap_or_default().trim_end()
    }

    fn lacks_brace(&self) -> bool {
        let head = self.head();
        let word = leading_word(head);
        let behind = &head[word.len()..];
        let rest = behind.trim_start();
        let named = behind.starts_with([' ', '\t']) && !leading_word(rest).is_empty();
        let known = match word {
            _ if self.open.is_empty() => named && DECLARATIONS.contains(&word),
            "rollback" => rest.is_empty(),
            "parallel" => rest.split_whitespace().all(|part| {
                matches!(part, "max" | "all_or_nothing") || part.bytes().all(|byte| byte.is_ascii_digit())
            }),
            "for" => named,
            "barrier" => false,
            _ => named && NAMED.contains(&word),
        };
        // What is made of something says of what; a brace, or text, belongs to a value.
        let made = word == "step" && !self.in_provider()
            || matches!(word, "stage" | "infrastructure" | "service" | "secret" | "channel");
        let behind_name = rest.trim_start_matches(is_name_character).trim_start();
        let is_path = |path: &str| path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let fits = match word {
            "rollback" | "parallel" => true,
            "for" => behind_name.strip_prefix("in ").is_some_and(|list| is_path(list.trim_end_matches(".*"))),
            _ if made => behind_name.rsplit_once("= ").is_some_and(|(_, path)| is_path(path)),
            _ => behind_name.is_empty() || behind_name.ends_with([')', ']']),
        };
        if !known || !fits || head.contains(['{', '}', '"']) {
            return false;
        }
        if head.matches('(').count() != head.matches(')').count() {
            return false;
        }
        self.is_inside_below('}')
    }

    /// `workflow w`, and then parameters line by line.
    fn lacks_parenthesis(&self) -> bool {
        let head = self.head();
        let word = leading_word(head);
        let is_bare =
            head[word.len()..].trim_start().chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        head.len() > word.len() && is_bare && self.takes_parameters(word) && self.is_inside_below(')')
    }

    /// Whether lines follow that are indented deeper, and then this bracket, indented as this line is.
    fn is_inside_below(&self, closing: char) -> bool {
        let below = self.source[self.at..].lines().skip(1).map(|line| (line, line.trim_start()));
        let mut below =
            below.filter(|(_, code)| !code.is_empty() && !code.starts_with("//")).map(|(line, code)| {
                let indent = line.len() - code.len();
                (indent, code)
            });
        let deeper = |line: Option<(usize, &str)>| {
            line.is_some_and(|(indent, code)| indent > self.indent && !code.starts_with(['{', '[']))
        };
        deeper(below.next())
            && below
                .find(|(indent, _)| *indent <= self.indent)
                .is_some_and(|(indent, code)| indent == self.indent && code.starts_with(closing))
    }
}

fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// The word that a text begins with; may be empty.
pub(super) fn leading_word(text: &str) -> &str {
    &text[..text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())]
}
