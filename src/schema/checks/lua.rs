//! Whether a text is Lua 5.1 (with LuaJIT's labels), and LuaJIT's words when it is not. Nothing is run.

use super::Outcome;
use super::texts::is_word_or_placeholder;

pub fn pre_function(source: &str) -> Outcome {
    function("pre-function", source)
}

pub fn post_function(source: &str) -> Outcome {
    function("post-function", source)
}

/// A function, or a single word or `${...}` that another tool will replace by one.
pub fn lua_or_word(source: &str) -> Outcome {
    if is_word_or_placeholder(source) { Ok(()) } else { function("the function", source) }
}

fn function(plugin: &str, source: &str) -> Outcome {
    parse(source).map_err(|fault| format!("error parsing {plugin}: {fault}").into())
}

/// What nests deeper than this is refused, as LuaJIT does.
const DEEPEST: usize = 190;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name,
    Number,
    Text,
    /// A keyword, an operator or any other character.
    Symbol,
    End,
}

const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];
const LONG_SYMBOLS: [&str; 7] = ["...", "..", "==", "~=", "<=", ">=", "::"];
const BINARY: [&str; 15] =
    ["+", "-", "*", "/", "%", "^", "..", "<", "<=", ">", ">=", "==", "~=", "and", "or"];

struct Parser<'a> {
    source: &'a str,
    /// Where the present token begins and ends.
    start: usize,
    end: usize,
    line: usize,
    token: Token,
    depth: usize,
}

type Step = Result<(), String>;

fn parse(source: &str) -> Step {
    let mut parser = Parser { source, start: 0, end: 0, line: 1, token: Token::End, depth: 0 };
    parser.advance()?;
    parser.block()?;
    if parser.token == Token::End { Ok(()) } else { parser.expected("<eof>") }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.end..).unwrap_or_default()
    }

    fn text(&self) -> &'a str {
        match self.token {
            Token::End => "<eof>",
            _ => self.source.get(self.start..self.end).unwrap_or_default(),
        }
    }

    fn is(&self, symbol: &str) -> bool {
        self.token == Token::Symbol && self.text() == symbol
    }

    /// LuaJIT's words with the place: `[string "..."]:1: words near 'token'`.
    fn fail(&self, words: &str, near: &str) -> String {
        let first = self.source.lines().next().unwrap_or_default();
        let whole = first.len() == self.source.len() && first.len() < 45;
        let shown: String = first.chars().take(42).collect();
        let chunk = if whole { first.to_owned() } else { format!("{shown}...") };
        format!("[string \"{chunk}\"]:{}: {words} near '{near}'", self.line)
    }

    fn expected(&self, symbol: &str) -> Step {
        Err(self.fail(&format!("'{symbol}' expected"), self.text()))
    }

    fn name_expected(&self) -> Step {
        Err(self.fail("<name> expected", self.text()))
    }

    fn advance(&mut self) -> Step {
        self.skip_space()?;
        self.start = self.end;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            self.token = Token::End;
            return Ok(());
        };
        if first.is_ascii_alphabetic() || first == '_' || !first.is_ascii() {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
            self.end += rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            self.token = if KEYWORDS.contains(&self.text_now()) { Token::Symbol } else { Token::Name };
            return Ok(());
        }
        let digit_follows = rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_digit() || first == '.' && digit_follows {
            return self.number(rest);
        }
        if first == '"' || first == '\'' {
            return self.quoted(rest, first);
        }
        if let Some(level) = long_bracket(rest) {
            let from = self.start;
            self.skip_long(rest, level, "unfinished long string")?;
            self.start = from;
            self.token = Token::Text;
            return Ok(());
        }
        let long = LONG_SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
        self.end += long.map_or(first.len_utf8(), |symbol| symbol.len());
        self.token = Token::Symbol;
        Ok(())
    }

    /// The text of the token being read.
    fn text_now(&self) -> &'a str {
        self.source.get(self.start..self.end).unwrap_or_default()
    }

    fn skip_space(&mut self) -> Step {
        loop {
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("--") {
                match long_bracket(comment) {
                    Some(level) => {
                        self.end += 2;
                        self.skip_long(comment, level, "unfinished long comment")?;
                    }
                    None => self.end += rest.find('\n').unwrap_or(rest.len()),
                }
                continue;
            }
            match rest.chars().next() {
                Some('\n') => self.line += 1,
                Some(c) if c.is_ascii_whitespace() || c == '\x0B' => {}
                _ => return Ok(()),
            }
            self.end += 1;
        }
    }

    /// A long string or comment whose opening bracket stands first in `rest`.
    fn skip_long(&mut self, rest: &str, level: usize, words: &str) -> Step {
        let close = format!("]{}]", "=".repeat(level));
        match rest.find(&close) {
            Some(at) => {
                let text = rest.get(..at).unwrap_or_default();
                self.line += text.matches('\n').count();
                self.end += at + close.len();
                Ok(())
            }
            None => Err(self.fail(words, "<eof>")),
        }
    }

    fn number(&mut self, rest: &str) -> Step {
        let mut length = 0;
        let mut before = ' ';
        for c in rest.chars() {
            let sign = (c == '+' || c == '-')
                && (matches!(before, 'e' | 'E') && !rest.starts_with("0x") && !rest.starts_with("0X")
                    || matches!(before, 'p' | 'P'));
            if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
                break;
            }
            before = c;
            length += c.len_utf8();
        }
        self.end += length;
        self.token = Token::Number;
        let text = self.text_now().to_ascii_lowercase();
        let bare = ["ull", "ll", "i"].iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(&text);
        let good = match bare.strip_prefix("0x") {
            Some(hex) => {
                let (digits, exponent) = hex.split_once('p').unwrap_or((hex, "0"));
                let digits = digits.replacen('.', "", 1);
                !digits.is_empty()
                    && digits.chars().all(|c| c.is_ascii_hexdigit())
                    && exponent.parse::<i64>().is_ok()
            }
            None => bare.parse::<f64>().is_ok(),
        };
        if good { Ok(()) } else { Err(self.fail("malformed number", self.text_now())) }
    }

    fn quoted(&mut self, rest: &str, quote: char) -> Step {
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, '\n')) => self.line += 1,
                    Some(_) => {}
                    None => break,
                },
                '\n' => {
                    let read = rest.get(..at).unwrap_or_default();
                    return Err(self.fail("unfinished string", read));
                }
                c if c == quote => {
                    self.end += at + 1;
                    self.token = Token::Text;
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.fail("unfinished string", "<eof>"))
    }

    fn take(&mut self, symbol: &str) -> Result<bool, String> {
        let found = self.is(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn need(&mut self, symbol: &str) -> Step {
        if self.take(symbol)? { Ok(()) } else { self.expected(symbol) }
    }

    /// The symbol that closes what another one opened on a line.
    fn close(&mut self, symbol: &str, opener: &str, line: usize) -> Step {
        if self.take(symbol)? {
            return Ok(());
        }
        if line == self.line {
            return self.expected(symbol);
        }
        Err(self.fail(&format!("'{symbol}' expected (to close '{opener}' at line {line})"), self.text()))
    }

    fn name(&mut self) -> Step {
        // LuaJIT takes `goto` as a name where no label follows.
        if self.token == Token::Name || self.is("goto") { self.advance() } else { self.name_expected() }
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Step) -> Step {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fail("chunk has too many syntax levels", self.text()));
        }
        let outcome = inner(self);
        self.depth -= 1;
        outcome
    }

    fn ends_block(&self) -> bool {
        self.token == Token::End || ["end", "else", "elseif", "until"].iter().any(|word| self.is(word))
    }

    fn block(&mut self) -> Step {
        self.deeper(|parser| {
            while !parser.ends_block() {
                let last = parser.is("return");
                parser.statement()?;
                parser.take(";")?;
                if last {
                    break;
                }
            }
            Ok(())
        })
    }

    fn statement(&mut self) -> Step {
        let line = self.line;
        let word = if self.token == Token::Symbol { self.text() } else { "" };
        match word {
            ";" => self.advance(),
            "if" => self.if_statement(line),
            "while" => {
                self.advance()?;
                self.expression()?;
                self.need("do")?;
                self.block()?;
                self.close("end", "while", line)
            }
            "do" => {
                self.advance()?;
                self.block()?;
                self.close("end", "do", line)
            }
            "for" => self.for_statement(line),
            "repeat" => {
                self.advance()?;
                self.block()?;
                self.close("until", "repeat", line)?;
                self.expression()
            }
            "function" => {
                self.advance()?;
                self.name()?;
                while self.take(".")? {
                    self.name()?;
                }
                if self.take(":")? {
                    self.name()?;
                }
                self.body(line)
            }
            "local" => {
                self.advance()?;
                if self.take("function")? {
                    self.name()?;
                    return self.body(line);
                }
                self.names()?;
                if self.take("=")? { self.expressions() } else { Ok(()) }
            }
            "return" => {
                self.advance()?;
                if self.ends_block() || self.is(";") { Ok(()) } else { self.expressions() }
            }
            "break" => self.advance(),
            "::" => {
                self.advance()?;
                self.name()?;
                self.need("::")
            }
            "goto" => {
                self.advance()?;
                self.name()
            }
            _ => self.call_or_assignment(),
        }
    }

    fn if_statement(&mut self, line: usize) -> Step {
        self.advance()?;
        self.expression()?;
        self.need("then")?;
        self.block()?;
        while self.take("elseif")? {
            self.expression()?;
            self.need("then")?;
            self.block()?;
        }
        if self.take("else")? {
            self.block()?;
        }
        self.close("end", "if", line)
    }

    fn for_statement(&mut self, line: usize) -> Step {
        self.advance()?;
        self.name()?;
        if self.take("=")? {
            self.expression()?;
            self.need(",")?;
            self.expression()?;
            if self.take(",")? {
                self.expression()?;
            }
        } else if self.is(",") || self.is("in") {
            while self.take(",")? {
                self.name()?;
            }
            self.need("in")?;
            self.expressions()?;
        } else {
            return Err(self.fail("'=' or 'in' expected", self.text()));
        }
        self.need("do")?;
        self.block()?;
        self.close("end", "for", line)
    }

    fn names(&mut self) -> Step {
        self.name()?;
        while self.take(",")? {
            self.name()?;
        }
        Ok(())
    }

    fn body(&mut self, line: usize) -> Step {
        self.need("(")?;
        if !self.is(")") {
            loop {
                if self.take("...")? {
                    break;
                }
                self.name()?;
                if !self.take(",")? {
                    break;
                }
            }
        }
        self.need(")")?;
        self.block()?;
        self.close("end", "function", line)
    }

    fn call_or_assignment(&mut self) -> Step {
        let mut is_call = self.suffixed()?;
        if is_call && !self.is(",") && !self.is("=") {
            return Ok(());
        }
        loop {
            if is_call {
                return Err(self.fail("syntax error", self.text()));
            }
            if self.take(",")? {
                is_call = self.suffixed()?;
                continue;
            }
            self.need("=")?;
            return self.expressions();
        }
    }

    /// A name or an expression in parentheses with what follows it; true when it ends in a call.
    fn suffixed(&mut self) -> Result<bool, String> {
        let line = self.line;
        if self.take("(")? {
            self.expression()?;
            self.close(")", "(", line)?;
        } else if self.token == Token::Name || self.is("goto") {
            self.advance()?;
        } else {
            return Err(self.fail("unexpected symbol", self.text()));
        }
        let mut is_call = false;
        loop {
            if self.take(".")? {
                self.name()?;
                is_call = false;
            } else if self.take("[")? {
                self.expression()?;
                self.need("]")?;
                is_call = false;
            } else if self.take(":")? {
                self.name()?;
                self.arguments()?;
                is_call = true;
            } else if self.is("(") || self.is("{") || self.token == Token::Text {
                self.arguments()?;
                is_call = true;
            } else {
                return Ok(is_call);
            }
        }
    }

    fn arguments(&mut self) -> Step {
        let line = self.line;
        if self.token == Token::Text {
            return self.advance();
        }
        if self.is("{") {
            return self.table();
        }
        if !self.take("(")? {
            return Err(self.fail("function arguments expected", self.text()));
        }
        if !self.is(")") {
            self.expressions()?;
        }
        self.close(")", "(", line)
    }

    fn expressions(&mut self) -> Step {
        self.expression()?;
        while self.take(",")? {
            self.expression()?;
        }
        Ok(())
    }

    fn expression(&mut self) -> Step {
        self.deeper(|parser| {
            loop {
                while ["not", "-", "#"].iter().any(|operator| parser.is(operator)) {
                    parser.advance()?;
                }
                parser.simple()?;
                if !BINARY.iter().any(|operator| parser.is(operator)) {
                    return Ok(());
                }
                parser.advance()?;
            }
        })
    }

    fn simple(&mut self) -> Step {
        if matches!(self.token, Token::Number | Token::Text)
            || ["nil", "true", "false", "..."].iter().any(|word| self.is(word))
        {
            return self.advance();
        }
        if self.is("{") {
            return self.table();
        }
        let line = self.line;
        if self.take("function")? {
            return self.body(line);
        }
        self.suffixed().map(|_| ())
    }

    fn table(&mut self) -> Step {
        let line = self.line;
        self.need("{")?;
        while !self.is("}") {
            if self.take("[")? {
                self.expression()?;
                self.need("]")?;
                self.need("=")?;
                self.expression()?;
            } else {
                // `name = value`, or a value that begins with a name.
                self.expression()?;
                if self.take("=")? {
                    self.expression()?;
                }
            }
            if !self.take(",")? && !self.take(";")? {
                break;
            }
        }
        self.close("}", "{", line)
    }
}

/// The level of the long bracket that a text begins with.
fn long_bracket(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    let level = inner.len() - inner.trim_start_matches('=').len();
    inner.get(level..)?.starts_with('[').then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_pass() {
        for source in [
            "",
            "return function(message) return message end",
            "local a, b = 1, 0x1F; if a ~= b then a = -b^2 else goto done end ::done::",
            "for k, v in pairs({1, x = 2, [3] = 'c'; f()}) do kong.log(k .. v) end",
            "for i = 10, 1, -1 do break end",
            "local s = [==[ ]] ]==] -- comment\n--[[ long\n ]] t.a[1]:m \"x\" {1}",
            "kong.response.set_header('x', #t.y and not z or 1e-3)",
            "function a.b:c(...) local function d(e, ...) return ... end repeat x = 1 until true end",
        ] {
            assert_eq!(parse(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn faults_are_told_as_luajit_tells_them() {
        for (source, words) in [
            ("example-access", "1: '=' expected near '-'"),
            ("${x}", "1: unexpected symbol near '$'"),
            ("if a then", "1: 'end' expected near '<eof>'"),
            ("if a then\nb()\n", "3: 'end' expected (to close 'if' at line 1) near '<eof>'"),
            ("x = 'abc", "1: unfinished string near '<eof>'"),
            ("x = 3x", "1: malformed number near '3x'"),
            ("local 1", "1: <name> expected near '1'"),
            ("end", "1: '<eof>' expected near 'end'"),
        ] {
            let fault = parse(source).unwrap_err();
            assert!(fault.ends_with(&format!("]:{words}")), "{source}: {fault}");
        }
        assert!(parse(&"(".repeat(100_000)).unwrap_err().contains("too many syntax levels"));
        assert!(parse(&"x = ".repeat(3)).is_err());
    }
}
