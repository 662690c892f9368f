//! Conditions, macros, repetitions and includes.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::cursor::{Cursor, in_name, starts_name};
use super::{Assembler, Fail, Severity, fail, string};
use crate::symbol::Place;

type Done = Result<(), Fail>;

/// More repetitions than this are refused.
const MOST_REPEATS: i64 = 1 << 24;

/// An `.if` that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    /// What follows is read.
    active: bool,
    /// A branch has been taken, or the whole `.if` lies in one that is not read.
    settled: bool,
    seen_else: bool,
}

/// A parameter of a macro.
#[derive(Debug)]
struct Parameter {
    name: Vec<u8>,
    default: Vec<u8>,
    required: bool,
    rest: bool,
}

/// A macro.
#[derive(Debug)]
pub(super) struct Macro {
    name: Vec<u8>,
    parameters: Vec<Parameter>,
    body: Vec<u8>,
}

impl Assembler<'_> {
    pub(super) fn is_skipping(&self) -> bool {
        self.conditions.last().is_some_and(|condition| !condition.active)
    }

    /// A statement in a branch that is not taken: only conditions matter.
    pub(super) fn skipped_statement(&mut self, cursor: &mut Cursor<'_>, input: usize) {
        if cursor.peek() == b'.' {
            let start = cursor.pos;
            let name = cursor.name().to_ascii_lowercase();
            match &name[..] {
                b".endif" | b".else" | b".elseif" => {
                    cursor.skip_space();
                    if let Err(error) = self.directive(cursor, &name, start) {
                        self.report(cursor, input, error.message);
                    }
                }
                name if name.starts_with(b".if") => {
                    self.conditions.push(Condition {
                        active: false,
                        settled: true,
                        seen_else: false,
                    });
                }
                _ => {}
            }
        }
        cursor.skip_statement();
        cursor.next_statement();
    }

    pub(super) fn end_if(&mut self) -> Done {
        match self.conditions.pop() {
            Some(_) => Ok(()),
            None => fail(".endif without .if"),
        }
    }

    /// `.exitm`: the rest of this macro is not read.
    pub(super) fn exit_macro(&mut self, cursor: &mut Cursor<'_>) -> Done {
        cursor.pos = cursor.text.len();
        Ok(())
    }

    /// `.end`: the rest of this text is not read.
    pub(super) fn end(&mut self, cursor: &mut Cursor<'_>) -> Done {
        cursor.pos = cursor.text.len();
        Ok(())
    }

    pub(super) fn purge_macro(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?;
        self.macros.remove(&name.to_ascii_lowercase());
        Ok(())
    }

    pub(super) fn alternate_macros(&mut self, on: bool) -> Done {
        self.alternate = on;
        Ok(())
    }

    pub(super) fn abort(&mut self) -> Done {
        self.stop = true;
        fail(".abort")
    }

    /// `.err` and `.error "text"`
    pub(super) fn error_directive(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let text = if cursor.at_end() {
            b".err".to_vec()
        } else {
            string::quoted(cursor).unwrap_or_default()
        };
        fail(String::from_utf8_lossy(&text).into_owned())
    }

    /// `.warning ["text"]`, `.print "text"`
    pub(super) fn message_directive(&mut self, cursor: &mut Cursor<'_>, severity: Severity) -> Done {
        let text = if cursor.at_end() && severity == Severity::Warning {
            b".warning".to_vec()
        } else {
            string::quoted(cursor)?
        };
        self.say(severity, String::from_utf8_lossy(&text).into_owned());
        Ok(())
    }

    fn push_condition(&mut self, active: bool) -> Done {
        self.conditions.push(Condition {
            active,
            settled: active,
            seen_else: false,
        });
        Ok(())
    }

    pub(super) fn if_number(&mut self, cursor: &mut Cursor<'_>, test: fn(i64) -> bool) -> Done {
        match self.number(cursor) {
            Ok(number) => self.push_condition(test(number)),
            Err(error) => {
                self.push_condition(false)?;
                Err(error)
            }
        }
    }

    pub(super) fn if_defined(&mut self, cursor: &mut Cursor<'_>, wanted: bool) -> Done {
        let name = string::name_or_quoted(cursor)?;
        let defined = self
            .unit
            .symbols
            .find(&name)
            .is_some_and(|id| self.unit.symbols.get(id).place != Place::Undefined);
        self.push_condition(defined == wanted)
    }

    pub(super) fn if_blank(&mut self, cursor: &mut Cursor<'_>, wanted: bool) -> Done {
        let blank = cursor.rest_of_statement().is_empty();
        self.push_condition(blank == wanted)
    }

    /// `.ifc a,b`: the texts are the same.
    pub(super) fn if_same(&mut self, cursor: &mut Cursor<'_>, wanted: bool) -> Done {
        let text = cursor.rest_of_statement();
        let mut parts = text.splitn(2, |&b| b == b',');
        let strip = |text: Option<&[u8]>| {
            let text = text.unwrap_or(b"").trim_ascii();
            let quote = matches!(text.first(), Some(b'"' | b'\'')) && text.len() > 1 && text.first() == text.last();
            if quote {
                text[1..text.len() - 1].to_vec()
            } else {
                text.to_vec()
            }
        };
        let same = strip(parts.next()) == strip(parts.next());
        self.push_condition(same == wanted)
    }

    pub(super) fn else_if(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let Some(condition) = self.conditions.last().copied() else {
            return fail(".elseif without .if");
        };
        if condition.settled {
            cursor.skip_statement();
            if let Some(last) = self.conditions.last_mut() {
                last.active = false;
            }
            return Ok(());
        }
        let active = self.number(cursor)? != 0;
        if let Some(last) = self.conditions.last_mut() {
            last.active = active;
            last.settled = active;
        }
        Ok(())
    }

    pub(super) fn else_branch(&mut self) -> Done {
        match self.conditions.last_mut() {
            None => fail(".else without .if"),
            Some(condition) if condition.seen_else => fail("a second .else"),
            Some(condition) => {
                condition.seen_else = true;
                condition.active = !condition.settled;
                condition.settled = true;
                Ok(())
            }
        }
    }

    /// The statements up to the matching end, without it.
    fn body(&mut self, cursor: &mut Cursor<'_>, opens: &[&[u8]], closes: &[&[u8]]) -> Result<Vec<u8>, Fail> {
        cursor.skip_statement();
        cursor.next_statement();
        let start = cursor.pos;
        let mut depth = 0;
        while !cursor.is_eof() {
            let line_start = cursor.pos;
            cursor.skip_space();
            let mut name = cursor.name().to_ascii_lowercase();
            if cursor.peek() == b':' {
                cursor.pos += 1;
                cursor.skip_space();
                name = cursor.name().to_ascii_lowercase();
            }
            if opens.contains(&&name[..]) {
                depth += 1;
            } else if closes.contains(&&name[..]) {
                if depth == 0 {
                    return Ok(cursor.text[start..line_start].to_vec());
                }
                depth -= 1;
            }
            cursor.skip_statement();
            cursor.next_statement();
        }
        fail("the end of this macro or repetition is missing")
    }

    /// `.macro name p1, p2=default, p3:req, p4:vararg`
    pub(super) fn define_macro(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::name_or_quoted(cursor)?.to_ascii_lowercase();
        let mut parameters = Vec::new();
        cursor.eat(b',');
        while !cursor.at_end() {
            let start = cursor.pos;
            let parameter = cursor.name().to_vec();
            if parameter.is_empty() {
                cursor.pos = start;
                return fail("a parameter's name is expected");
            }
            let mut parameter = Parameter {
                name: parameter,
                default: Vec::new(),
                required: false,
                rest: false,
            };
            if cursor.eat(b':') {
                match cursor.name() {
                    b"req" => parameter.required = true,
                    b"vararg" => parameter.rest = true,
                    _ => return fail("`req` or `vararg` is expected"),
                }
            }
            if cursor.eat(b'=') {
                cursor.skip_space();
                parameter.default = argument(cursor, false)?;
            }
            parameters.push(parameter);
            cursor.eat(b',');
        }
        let body = self.body(cursor, &[b".macro"], &[b".endm", b".endmacro"])?;
        self.memo.clear();
        self.macros
            .insert(name.clone(), Rc::new(Macro { name, parameters, body }));
        Ok(())
    }

    pub(super) fn find_macro(&self, name: &[u8]) -> Option<Rc<Macro>> {
        if name.iter().any(u8::is_ascii_uppercase) {
            return self.macros.get(&name.to_ascii_lowercase()[..]).cloned();
        }
        self.macros.get(name).cloned()
    }

    /// Reads the arguments, and then the body with them in place.
    pub(super) fn call_macro(&mut self, cursor: &mut Cursor<'_>, body: &Macro) -> Done {
        self.names_read += 1;
        let mut values: Vec<Option<Vec<u8>>> = body.parameters.iter().map(|_| None).collect();
        let mut position = 0;
        cursor.skip_space();
        while !cursor.at_end() {
            let mut ahead = *cursor;
            let word = ahead.name();
            let keyword = if !word.is_empty() && ahead.eat(b'=') {
                body.parameters.iter().position(|p| p.name == word)
            } else {
                None
            };
            let index = keyword.unwrap_or(position);
            if keyword.is_some() {
                *cursor = ahead;
                cursor.skip_space();
            } else {
                position += 1;
            }
            let Some(parameter) = body.parameters.get(index) else {
                return fail(alloc::format!(
                    "too many arguments for {}",
                    String::from_utf8_lossy(&body.name)
                ));
            };
            let value = if parameter.rest {
                cursor.rest_of_statement().to_vec()
            } else {
                self.argument(cursor)?
            };
            if !value.is_empty() {
                values[index] = Some(value);
            }
            if !cursor.eat(b',') {
                cursor.skip_space();
            }
        }
        for (parameter, value) in body.parameters.iter().zip(&mut values) {
            if value.is_none() {
                if parameter.required {
                    return fail(alloc::format!(
                        "parameter {} needs a value",
                        String::from_utf8_lossy(&parameter.name)
                    ));
                }
                *value = Some(parameter.default.clone());
            }
        }
        let mut names: Vec<&[u8]> = body.parameters.iter().map(|p| &p.name[..]).collect();
        let mut values: Vec<Vec<u8>> = values.into_iter().flatten().collect();
        let mut text = &body.body[..];
        let without_locals;
        if self.alternate {
            without_locals = self.take_locals(text, &mut names, &mut values);
            text = &without_locals;
        }
        let text = substitute(text, &names, &values, self.macro_count, self.alternate);
        self.macro_count += 1;
        self.expand(text)
    }

    /// An argument of a call. In the alternate syntax `%value` is its number, and `<text>` is taken as it is.
    fn argument(&mut self, cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Fail> {
        cursor.skip_space();
        match cursor.peek() {
            b'%' if self.alternate => {
                cursor.pos += 1;
                Ok(alloc::format!("{}", self.number(cursor)?).into_bytes())
            }
            b'<' if self.alternate => angle_brackets(cursor),
            _ => argument(cursor, true),
        }
    }

    /// The lines without `LOCAL name, name`; those names are replaced by labels of this call's own.
    fn take_locals<'t>(&mut self, text: &'t [u8], names: &mut Vec<&'t [u8]>, values: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let mut rest = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let mut cursor = Cursor::new(line, 0);
            cursor.skip_space();
            if !cursor.name().eq_ignore_ascii_case(b"local") {
                rest.extend_from_slice(line);
                continue;
            }
            while !cursor.at_end() && starts_name(cursor.peek()) {
                names.push(cursor.name());
                values.push(alloc::format!(".LL{:04x}", self.local_count).into_bytes());
                self.local_count += 1;
                cursor.eat(b',');
            }
            rest.push(b'\n');
        }
        rest
    }

    /// Reads a made text as if it stood here.
    fn expand(&mut self, text: Vec<u8>) -> Done {
        match self.expansion_budget.checked_sub(text.len() + 1) {
            Some(rest) => self.expansion_budget = rest,
            None => {
                self.stop = true;
                return fail("macros and repetitions make too much text");
            }
        }
        let open = self.conditions.len();
        self.run(&text, self.line, usize::MAX);
        // `.exitm` may leave conditions open.
        self.conditions.truncate(open);
        Ok(())
    }

    /// `.rept count`
    pub(super) fn repeat(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let count = self.number(cursor)?;
        let body = self.body(cursor, &[b".rept", b".rep", b".irp", b".irpc"], &[b".endr"])?;
        if count > MOST_REPEATS {
            return fail("too many repetitions");
        }
        let count = count.max(0) as usize;
        if body.len().saturating_mul(count) > self.expansion_budget {
            self.stop = true;
            return fail("repetitions make too much text");
        }
        let text = body.repeat(count);
        self.expand(text)
    }

    /// `.irp name, value, value` and `.irpc name, characters`
    pub(super) fn repeat_over(&mut self, cursor: &mut Cursor<'_>, characters: bool) -> Done {
        let name = string::name_or_quoted(cursor)?;
        if name.is_empty() {
            return fail("a name is expected");
        }
        cursor.eat(b',');
        let mut values = Vec::new();
        if characters {
            let text = cursor.rest_of_statement();
            let text = text
                .strip_prefix(b"\"")
                .and_then(|t| t.strip_suffix(b"\""))
                .unwrap_or(text);
            values.extend(text.iter().map(|&byte| alloc::vec![byte]));
        } else {
            while !cursor.at_end() {
                values.push(self.argument(cursor)?);
                cursor.eat(b',');
            }
        }
        if values.is_empty() {
            values.push(Vec::new());
        }
        let body = self.body(cursor, &[b".rept", b".rep", b".irp", b".irpc"], &[b".endr"])?;
        let mut text = Vec::new();
        for value in values {
            if text.len() > self.expansion_budget {
                self.stop = true;
                return fail("repetitions make too much text");
            }
            text.extend(substitute(&body, &[&name], &[value], self.macro_count, self.alternate));
        }
        self.expand(text)
    }

    /// `.include "file"`
    pub(super) fn include(&mut self, cursor: &mut Cursor<'_>) -> Done {
        let name = string::quoted(cursor)?;
        let text = self.read_file(&name)?;
        self.read_input(&String::from_utf8_lossy(&name), &text);
        Ok(())
    }
}

/// `<text>`, where `!` takes the meaning from the character behind it.
fn angle_brackets(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Fail> {
    let mut out = Vec::new();
    let mut depth = 0;
    while !cursor.is_eof() && cursor.peek() != b'\n' {
        let byte = cursor.peek();
        cursor.pos += 1;
        match byte {
            b'<' if depth == 0 => depth = 1,
            b'>' if depth == 1 => return Ok(out),
            b'!' => {
                out.push(cursor.peek());
                cursor.pos += 1;
            }
            _ => {
                depth += i32::from(byte == b'<') - i32::from(byte == b'>');
                out.push(byte);
            }
        }
    }
    fail("a `>` is expected")
}

/// One argument: up to a comma or blank outside of quotes and parentheses.
fn argument(cursor: &mut Cursor<'_>, call: bool) -> Result<Vec<u8>, Fail> {
    cursor.skip_space();
    if cursor.peek() == b'"' {
        return string::quoted(cursor);
    }
    let start = cursor.pos;
    let mut depth = 0;
    loop {
        match cursor.peek() {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b',' if depth <= 0 => break,
            b'"' => {
                cursor.skip_string();
                continue;
            }
            b'\n' | b';' | b'#' => break,
            b' ' | b'\t' if depth <= 0 && (!call || ends_argument(cursor)) => break,
            0 if cursor.is_eof() => break,
            _ => {}
        }
        cursor.pos += 1;
    }
    Ok(cursor.text[start..cursor.pos].trim_ascii().to_vec())
}

/// A blank ends an argument unless an operator stands before or after it.
fn ends_argument(cursor: &Cursor<'_>) -> bool {
    let operator = |byte: u8| {
        matches!(
            byte,
            b'+' | b'-' | b'*' | b'/' | b'|' | b'&' | b'<' | b'>' | b'=' | b'!' | b'('
        )
    };
    let before = cursor.text[..cursor.pos]
        .iter()
        .rev()
        .find(|b| !b.is_ascii_whitespace())
        .copied()
        .unwrap_or(0);
    let after = cursor.text[cursor.pos..]
        .iter()
        .find(|b| !matches!(b, b' ' | b'\t'))
        .copied()
        .unwrap_or(0);
    !(operator(before) || (operator(after) && after != b'(' && after != b'-'))
}

/// The text with `\name`, `\@` and `\()` replaced, and in the alternate syntax bare names too.
fn substitute(body: &[u8], names: &[&[u8]], values: &[Vec<u8>], count: u64, alternate: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    let part = |b: u8| in_name(b) && b != b'.' && b != b'$';
    let starts = |b: u8| starts_name(b) && b != b'.' && b != b'$';
    let word = |from: usize| {
        let rest = &body[from..];
        &rest[..rest.iter().position(|&b| !part(b)).unwrap_or(rest.len())]
    };
    let value = |name: &[u8]| {
        names
            .iter()
            .position(|known| *known == name)
            .map(|index| &values[index])
    };
    while at < body.len() {
        if body[at] != b'\\' {
            let name = if alternate { word(at) } else { b"" };
            match value(name) {
                Some(value) if starts(body[at]) => {
                    out.extend_from_slice(value);
                    at += name.len();
                    // `&` joins what stands beside it.
                    at += usize::from(body.get(at) == Some(&b'&'));
                }
                _ => {
                    let len = name.len().max(1);
                    out.extend_from_slice(&body[at..at + len]);
                    at += len;
                }
            }
            continue;
        }
        let blanks = body[at + 1..].iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        match body.get(at + 1) {
            Some(b'@') => {
                out.extend(alloc::format!("{count}").into_bytes());
                at += 2;
            }
            Some(b'(') if body.get(at + 2) == Some(&b')') => at += 3,
            // The preprocessor may have put blanks behind the backslash.
            Some(_) if body.get(at + 1 + blanks).is_some_and(|&b| starts(b)) => {
                let name = word(at + 1 + blanks);
                let end = at + 1 + blanks + name.len();
                match value(name) {
                    Some(value) => out.extend_from_slice(value),
                    None => out.extend_from_slice(&body[at..end]),
                }
                at = end;
            }
            _ => {
                out.push(b'\\');
                at += 1;
            }
        }
    }
    out
}
