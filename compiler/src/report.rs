//! Diagnostics as miette renders them: with the source around them.

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::lines::Lines;
use crate::program::{FileId, Program};
use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use std::fmt;
use std::sync::Arc;

/// What ends farther to the right is named and not drawn: nobody could see it, and miette cannot either.
const FARTHEST: u32 = 10_000;

/// The rendered form of a diagnostic. It holds what it needs of the program.
pub fn report(program: &Program, diagnostic: &Diagnostic) -> impl miette::Diagnostic + Send + Sync + 'static {
    let own = diagnostic.primary.file;
    let mut labels = vec![(diagnostic.primary, diagnostic.label.clone(), true)];
    let here = diagnostic.labels.iter().filter(|(at, _)| at.file == own);
    labels.extend(here.map(|(at, text)| (*at, text.clone(), false)));
    let mut others: Vec<FileId> = Vec::new();
    for (at, _) in &diagnostic.labels {
        if at.file != own && !others.contains(&at.file) {
            others.push(at.file);
        }
    }
    let mut message = diagnostic.message.clone();
    labels.retain(|(at, text, _)| {
        let far = is_far(program, *at);
        if far {
            let file = program.file(at.file);
            let place = file.lines.position(at.span.start);
            message += &format!("\nat {}:{}:{}: {text}", file.path.display(), place.line, place.column);
        }
        !far
    });
    let related = others.into_iter().map(|file| {
        let there = diagnostic.labels.iter().filter(|(at, _)| at.file == file && !is_far(program, *at));
        Report {
            message: format!("see also {}", program.file(file).path.display()),
            code: None,
            severity: Severity::Note,
            help: None,
            source: Source::of(program, file),
            labels: there.map(|(at, text)| label(*at, text, false)).collect(),
            related: Vec::new(),
        }
    });
    Report {
        message,
        code: Some(diagnostic.rule),
        severity: diagnostic.severity,
        help: diagnostic.help.clone(),
        source: Source::of(program, own),
        labels: labels.into_iter().map(|(at, text, primary)| label(at, &text, primary)).collect(),
        related: related.collect(),
    }
}

/// Whether something ends too far to the right to be drawn.
fn is_far(program: &Program, at: Location) -> bool {
    program.file(at.file).lines.position(at.span.end).column > FARTHEST
}

fn label(at: Location, text: &str, primary: bool) -> LabeledSpan {
    let text = (!text.is_empty()).then(|| text.to_string());
    let (start, length) = (at.span.start as usize, at.span.len());
    if primary {
        LabeledSpan::new_primary_with_span(text, (start, length))
    } else {
        LabeledSpan::new_with_span(text, (start, length))
    }
}

#[derive(Debug)]
struct Report {
    message: String,
    code: Option<&'static str>,
    severity: Severity,
    help: Option<String>,
    source: Source,
    labels: Vec<LabeledSpan>,
    related: Vec<Report>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|it| it as &dyn miette::Diagnostic)))
    }
}

/// A file that finds its lines by index; miette's own sources walk from the first byte for each span.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: Arc<str>,
    lines: Arc<Lines>,
}

impl Source {
    fn of(program: &Program, file: FileId) -> Self {
        let file = program.file(file);
        Source {
            name: file.path.display().to_string(),
            text: Arc::clone(&file.text),
            lines: Arc::clone(&file.lines),
        }
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let last_byte = (span.offset() + span.len().saturating_sub(1)) as u32;
        let place = self.lines.position(span.offset() as u32);
        let first = place.line.saturating_sub(before as u32).max(1);
        let last = self.lines.position(last_byte).line + after as u32;
        // Without context the contents begin with the span itself: miette's heading names that place.
        let (start, column) = match before {
            0 => (span.offset(), place.column as usize - 1),
            _ => (self.lines.line(first).start as usize, 0),
        };
        let end = self.lines.line(last).end as usize;
        let end = (end + 1).min(self.text.len()).max(start);
        let data = self.text.as_bytes().get(start..end).ok_or(MietteError::OutOfBounds)?;
        let count = (last - first) as usize + 1;
        let contents = MietteSpanContents::new_named(
            self.name.clone(),
            data,
            (start, end - start).into(),
            first as usize - 1,
            column,
            count,
        );
        Ok(Box::new(contents))
    }
}
