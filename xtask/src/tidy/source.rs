//! A Rust file with comments and strings blanked out, and its inline test modules marked.

/// One file as the rules see it.
pub(super) struct Source {
    /// Relative to the root of the checkout.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
    /// Whether its first line is documentation of the file.
    pub(super) has_head: bool,
}

pub(super) struct Line {
    /// What the compiler sees, with strings emptied to spaces.
    pub(super) code: String,
    pub(super) is_test: bool,
}

impl Source {
    pub(super) fn read(path: &str, text: &str) -> Self {
        let code = blank(text);
        let lines = code.lines().map(|line| Line { code: line.to_owned(), is_test: false });
        let mut source = Self { path: path.to_owned(), lines: lines.collect(), has_head: text.starts_with("//!") };
        let whole_file = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let ranges = if whole_file { vec![(0, source.lines.len())] } else { test_modules(&source.lines) };
        for (first, end) in ranges {
            source.lines[first..end].iter_mut().for_each(|line| line.is_test = true);
        }
        source
    }

    /// Lines outside of tests, with their numbers.
    pub(super) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate().filter(|(_, line)| !line.is_test);
        numbered.map(|(index, line)| (index + 1, line.code.as_str()))
    }
}

/// Where `#[cfg(test)] mod x { … }` begins and ends.
fn test_modules(lines: &[Line]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut index = 0;
    while index < lines.len() {
        if lines[index].code.trim() == "#[cfg(test)]" {
            let end = end_of_item(lines, index + 1);
            ranges.push((index, end));
            index = end;
        } else {
            index += 1;
        }
    }
    ranges
}

/// The line after the item that begins here: after its closing brace, or its semicolon if it has no braces.
fn end_of_item(lines: &[Line], first: usize) -> usize {
    let mut depth = 0_usize;
    for (index, line) in lines.iter().enumerate().skip(first) {
        for character in line.code.chars() {
            match character {
                '{' => depth += 1,
                '}' if depth <= 1 => return index + 1,
                '}' => depth -= 1,
                ';' if depth == 0 => return index + 1,
                _ => {}
            }
        }
    }
    lines.len()
}

/// The text with the insides of comments, strings and characters as spaces; line ends stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = opaque_length(&chars[at..], at.checked_sub(1).map(|before| chars[before]));
        if length == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..at + length].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at += length;
        }
    }
    out
}

/// How many characters from here on are a comment, a string or a character; 0 if code.
fn opaque_length(rest: &[char], before: Option<char>) -> usize {
    let follows_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, 1),
        ['r', '"' | '#', ..] if !follows_word => raw_string(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !follows_word => raw_string(rest, 2),
        ['\'', '\\', ..] => rest[3.min(rest.len())..].iter().position(|&c| c == '\'').map_or(rest.len(), |end| end + 4),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[char], first: usize) -> usize {
    let mut at = first;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw string whose hashes begin at `first`; 0 if it is a raw identifier.
fn raw_string(rest: &[char], first: usize) -> usize {
    let hashes = rest[first..].iter().take_while(|&&c| c == '#').count();
    let open = first + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let is_end =
        |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    (open + 1..rest.len()).find(is_end).map_or(rest.len(), |end| end + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::{Source, blank};

    #[test]
    fn comments_strings_and_characters_are_blanked() {
        assert_eq!(blank("a // unsafe\nb"), "a          \nb");
        assert_eq!(blank("a /* x /* y */ z */ b"), format!("a {} b", " ".repeat(17)));
        assert_eq!(blank("f(\"un\\\"safe\") g"), format!("f({}) g", " ".repeat(10)));
        assert_eq!(blank("r#\"a\"b\"# c"), format!("{} c", " ".repeat(8)));
        assert_eq!(blank("'{' '\\'' 'a: &'static str"), format!("{} 'a: &'static str", " ".repeat(8)));
        assert_eq!(blank("r#type"), "r#type");
        assert_eq!(blank("b\"x\" br\"y\" c"), "b          c");
    }

    #[test]
    fn test_modules_are_marked_and_what_follows_is_not() {
        let text = "//! x\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { \"}\"; }\n}\nfn c() {}\n#[cfg(test)]\nmod t;\nfn d() {}\n";
        let source = Source::read("nta-daemon/src/x.rs", text);
        let product: Vec<usize> = source.product().map(|(line, _)| line).collect();
        assert_eq!(product, [1, 2, 7, 10]);
        assert_eq!(Source::read("tests/replay/main.rs", text).product().count(), 0);
    }
}
