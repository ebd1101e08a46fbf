//! Reads just enough Rust to tell which paths a file names: words, `::`, braces; no comments, no strings, no test code.

/// What one file names in its shipped code.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) paths: Vec<UsedPath>,
    pub(crate) unsafe_lines: Vec<usize>,
    /// Names of `#[cfg(test)] mod name;`.
    pub(crate) test_modules: Vec<String>,
}

/// `a::b::c`, whether in a `use` or in an expression.
#[derive(Debug)]
pub(crate) struct UsedPath {
    pub(crate) segments: Vec<String>,
    /// Written with a leading `::`: it starts at a crate.
    pub(crate) is_global: bool,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        let mut source = Self::default();
        let tokens = source.without_test_items(&tokens(text));
        let mut at = 0;
        while at < tokens.len() {
            match &*tokens[at].text {
                "unsafe" => source.unsafe_lines.push(tokens[at].line),
                // `use<'a>` in a return type captures a lifetime, and imports nothing.
                "use" if tokens.get(at + 1).is_some_and(|next| next.text != "<") => {
                    source.use_tree(&tokens, &mut (at + 1), &[], false);
                    while at + 1 < tokens.len() && tokens[at].text != ";" {
                        at += 1;
                    }
                }
                word if is_word(word) => {
                    let is_global = at > 0 && tokens[at - 1].text == "::";
                    let line = tokens[at].line;
                    let mut segments = vec![word.to_owned()];
                    while at + 2 < tokens.len()
                        && tokens[at + 1].text == "::"
                        && is_word(&tokens[at + 2].text)
                    {
                        at += 2;
                        segments.push(tokens[at].text.clone());
                    }
                    // A lone word outside `use` is a local name.
                    if segments.len() > 1 {
                        source.paths.push(UsedPath {
                            segments,
                            is_global,
                            line,
                        });
                    }
                }
                _ => {}
            }
            at += 1;
        }
        source
    }

    /// One branch of `use a::{b, c::{self, d as e}};`, starting at token `*at`.
    fn use_tree(&mut self, tokens: &[Token], at: &mut usize, stem: &[String], is_global: bool) {
        let mut segments = stem.to_vec();
        let mut is_global = is_global;
        while let Some(token) = tokens.get(*at) {
            match &*token.text {
                "::" => is_global |= segments.is_empty(),
                "{" => {
                    *at += 1;
                    while tokens.get(*at).is_some_and(|token| token.text != "}") {
                        self.use_tree(tokens, at, &segments, is_global);
                        if tokens.get(*at).is_some_and(|token| token.text == ",") {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "," | "}" | ";" => break,
                "as" => *at += 1,
                "self" if !segments.is_empty() => {}
                word => segments.push(word.to_owned()),
            }
            *at += 1;
        }
        if let (false, Some(token)) = (segments.is_empty(), tokens.get(at.saturating_sub(1))) {
            self.paths.push(UsedPath {
                segments,
                is_global,
                line: token.line,
            });
        }
    }

    /// Cuts every item that stands behind `#[cfg(test)]`.
    fn without_test_items(&mut self, tokens: &[Token]) -> Vec<Token> {
        const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mut kept = Vec::with_capacity(tokens.len());
        let mut at = 0;
        while at < tokens.len() {
            let is_test = tokens[at..]
                .iter()
                .map(|token| &*token.text)
                .take(CFG_TEST.len())
                .eq(CFG_TEST);
            if !is_test {
                kept.push(tokens[at].clone());
                at += 1;
                continue;
            }
            at += CFG_TEST.len();
            let mut depth = 0_usize;
            while let Some(token) = tokens.get(at) {
                match &*token.text {
                    "mod" if tokens.get(at + 2).is_some_and(|next| next.text == ";") => {
                        self.test_modules.push(tokens[at + 1].text.clone());
                    }
                    "{" | "(" | "[" => depth += 1,
                    "}" | ")" | "]" => depth = depth.saturating_sub(1),
                    _ => {}
                }
                at += 1;
                if depth == 0 && (token.text == "}" || token.text == ";") {
                    break;
                }
            }
        }
        kept
    }
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c == '_' || c.is_alphabetic())
}

/// Words, `::` and single punctuation marks; comments and the contents of literals are gone.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else if word > 0 {
            found.push(Token {
                text: rest[..word].to_owned(),
                line,
            });
            word
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                found.push(Token {
                    text: rest[..length].to_owned(),
                    line,
                });
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of the block comment that `text` starts with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal of any kind (`""`, `b""`, `c""`, `r#""#`, `br""`) that `text` starts with.
fn string(text: &str) -> Option<usize> {
    let prefix = text
        .find(|c| !matches!(c, 'b' | 'c' | 'r'))
        .filter(|length| *length <= 2)?;
    let is_raw = text[..prefix].contains('r');
    let hashes = text[prefix..]
        .chars()
        .take_while(|c| is_raw && *c == '#')
        .count();
    let body = text[prefix + hashes..].strip_prefix('"')?;
    let start = text.len() - body.len();
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(
            body.find(&end)
                .map_or(text.len(), |at| start + at + end.len()),
        );
    }
    let mut escaped = false;
    let end = body.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(text.len(), |at| start + at + 1))
}

/// The length of the character literal that `text` starts with; 1 when the quote belongs to a lifetime.
fn character(text: &str) -> usize {
    let mut rest = text[1..].chars();
    match (rest.next(), rest.next()) {
        // The character behind the backslash may itself be a quote.
        (Some('\\'), _) => text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1),
        (Some(single), Some('\'')) => 2 + single.len_utf8(),
        _ => 1,
    }
}
