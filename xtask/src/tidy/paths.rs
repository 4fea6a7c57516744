//! Every path with `::` in a file, imports unfolded: `use std::{fs, net::TcpStream}` gives two.

use super::source::Source;

/// One path as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
}

impl Path {
    /// Whether it begins with these segments.
    pub(super) fn starts_with(&self, segments: &[&str]) -> bool {
        self.segments.len() >= segments.len() && self.segments.iter().zip(segments).all(|(a, b)| a == b)
    }

    /// Whether it ends with these segments.
    pub(super) fn ends_with(&self, segments: &[&str]) -> bool {
        self.segments.iter().rev().zip(segments.iter().rev()).filter(|(a, b)| a == b).count() == segments.len()
    }
}

/// The paths outside of tests, in the order in which they stand there.
pub(super) fn paths(source: &Source) -> Vec<Path> {
    let mut reader = Reader { tokens: tokens(source), at: 0, paths: Vec::new() };
    while reader.at < reader.tokens.len() {
        match reader.peek() {
            Token::Word(_) => reader.path(&[]),
            _ => reader.at += 1,
        }
    }
    reader.paths
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Separator,
    Other(char),
    End,
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    paths: Vec<Path>,
}

impl Reader {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).map_or(Token::End, |(_, token)| token.clone())
    }

    /// Reads one path or one branch of an import's tree, after `prefix`.
    fn path(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(line, _)| *line);
        loop {
            match self.peek() {
                Token::Word(word) => segments.push(word),
                Token::Other('*') => segments.push("*".to_owned()),
                Token::Other('{') => {
                    self.at += 1;
                    return self.group(&segments);
                }
                _ => break,
            }
            self.at += 1;
            if self.peek() != Token::Separator {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 {
            self.paths.push(Path { line, segments });
        }
    }

    /// Reads the branches of an import's tree up to its closing brace.
    fn group(&mut self, prefix: &[String]) {
        loop {
            match self.peek() {
                Token::End => return,
                Token::Other('}') => {
                    self.at += 1;
                    return;
                }
                Token::Word(word) if word == "as" => self.at += 2,
                Token::Word(_) | Token::Other('*') => self.path(prefix),
                _ => self.at += 1,
            }
        }
    }
}

fn tokens(source: &Source) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    for (line, code) in source.product() {
        let mut rest = code;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (token, length) = if word > 0 {
                (Token::Word(rest[..word].to_owned()), word)
            } else if rest.starts_with("::") {
                (Token::Separator, 2)
            } else {
                (Token::Other(first), first.len_utf8())
            };
            if !first.is_whitespace() {
                tokens.push((line, token));
            }
            rest = &rest[length..];
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{Source, paths};

    #[test]
    fn imports_are_unfolded_and_expressions_found() {
        let text = "use std::{fs, net::{IpAddr, TcpStream as S}};\nuse a::*;\nfn f() { crate::b::c(1) + x.y }\n";
        let found: Vec<String> = paths(&Source::read("x.rs", text))
            .into_iter()
            .map(|path| format!("{}:{}", path.line, path.segments.join("::")))
            .collect();
        assert_eq!(found, ["1:std::fs", "1:std::net::IpAddr", "1:std::net::TcpStream", "2:a::*", "3:crate::b::c"]);
    }
}
