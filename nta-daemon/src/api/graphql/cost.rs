//! What a query may look like, before anything recurses into it: how deep its brackets go, how many words it has, and how many
//! fragments it spreads. The two last multiply: whoever checks a query walks a fragment once for each place that it is spread at.

/// Brackets within each other, of selections, arguments and lists.
const MOST_BRACKETS: usize = 32;
/// Fragments spread, inline ones too. Each may hold others: 12 make at most 81 places, by three in each of four.
const MOST_SPREADS: usize = 12;
/// Names and numbers.
const MOST_WORDS: usize = 2000;
/// What asks for the schema.
const SCHEMA: [&str; 2] = ["__schema", "__type"];
/// Lists of types and fields, which a query for the schema has once each: types have fields, and these have types, so that every step
/// deeper would multiply the answer. Tools ask for each once.
const ONCE: [&str; 6] = ["types", "fields", "inputFields", "interfaces", "possibleTypes", "__typename"];

/// Refuses what would take long to parse or to check.
///
/// # Errors
/// Says what is too much.
pub(super) fn check(query: &str) -> Result<(), String> {
    let (mut depth, mut spreads, mut words) = (0_usize, 0_usize, 0_usize);
    let (mut is_of_schema, mut lists) = (false, [0_usize; ONCE.len()]);
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted(rest),
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '.' if rest.starts_with("...") => {
                spreads += 1;
                3
            }
            '{' | '(' | '[' => {
                depth += 1;
                1
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                1
            }
            symbol if is_of_word(symbol) => {
                words += 1;
                let length = rest.find(|symbol| !is_of_word(symbol)).unwrap_or(rest.len());
                let word = rest.get(..length).unwrap_or_default();
                is_of_schema |= SCHEMA.contains(&word);
                for (list, count) in ONCE.iter().zip(&mut lists) {
                    *count += usize::from(*list == word);
                }
                length
            }
            other => other.len_utf8(),
        };
        if depth > MOST_BRACKETS {
            return Err(format!("the query is too deep: at most {MOST_BRACKETS} brackets within each other"));
        }
        if spreads > MOST_SPREADS {
            return Err(format!("the query spreads too many fragments: at most {MOST_SPREADS}"));
        }
        if words > MOST_WORDS {
            return Err(format!("the query is too long: at most {MOST_WORDS} words"));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    match ONCE.iter().zip(lists).find(|(_, count)| is_of_schema && *count > 1) {
        Some((list, _)) => Err(format!("a query for the schema has `{list}` once at most")),
        None => Ok(()),
    }
}

const fn is_of_word(symbol: char) -> bool {
    symbol == '_' || symbol.is_ascii_alphanumeric()
}

/// The length of a text in quotes, which begins here: of a block, or within a line.
fn quoted(text: &str) -> usize {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut from = 0;
        while let Some(end) = block[from..].find("\"\"\"") {
            let end = from + end;
            if !block[..end].ends_with('\\') {
                return 3 + end + 3;
            }
            from = end + 3;
        }
        return text.len();
    }
    let mut is_escaped = false;
    for (at, symbol) in text.char_indices().skip(1) {
        match symbol {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            // A text ends with its line; the parser refuses it.
            '"' | '\n' | '\r' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_spreads_are_counted_outside_of_texts_and_comments() {
        for (query, is_taken) in [
            ("{ a }".to_owned(), true),
            ("{".repeat(32), true),
            ("{".repeat(33), false),
            ("[{(".repeat(11), false),
            ("{}".repeat(1000), true),
            (format!("{{ a(b: \"{}\") }}", "{".repeat(100)), true),
            (format!("{{ a(b: \"\\\"{}\") }}", "{".repeat(100)), true),
            (format!("{{ a(b: \"\"\"\\\"\"\" {} \"\"\") }}", "{".repeat(100)), true),
            (format!("{{ a # {}\n }}", "{".repeat(100)), true),
            (format!("{{ a # x\n {} }}", "{".repeat(100)), false),
            // What is not closed hides nothing.
            (format!("\"\n{}", "{".repeat(100)), false),
            (format!("{{ {} }}", "...a ".repeat(12)), true),
            (format!("{{ {} }}", "...a ".repeat(13)), false),
            (format!("{{ {} }}", "a_1 ".repeat(2000)), true),
            (format!("{{ {} }}", "a_1 ".repeat(2001)), false),
            (format!("{{ a(b: \"{}\") }}", "c ".repeat(3000)), true),
            ("{ __schema { types { name fields { name } } } }".to_owned(), true),
            ("{ __schema { types { fields { type { x: fields { name } } } } } }".to_owned(), false),
            ("{ x: __type(name: \"a\") { ...a } } fragment a on __Type { fields { type { ...b } } } fragment b on __Type { fields { name } }"
                .to_owned(), false),
            ("{ a: __typename b: __typename types fields fields }".to_owned(), true),
            ("ä…{".to_owned(), true),
        ] {
            assert_eq!(check(&query).is_ok(), is_taken, "{query}");
        }
    }
}
