//! How tokens and interfaces may be called, for the API and the command line.

/// Most interfaces of a scope.
pub const MOST_INTERFACES: usize = 64;
/// What a token may be called.
pub(in crate::api) const NAME_PATTERN: &str = r"^[A-Za-z0-9._\-]{1,64}$";
/// What an interface may be called.
pub(in crate::api) const INTERFACE_PATTERN: &str = r"^[A-Za-z0-9._:@\-]{1,15}$";

/// What may stand in a scope: an interface, or of a sensor's token a sensor.
pub(in crate::api) const SCOPE_PATTERN: &str = r"^[A-Za-z0-9._:@\-]{1,64}$";

/// The name of a token.
///
/// # Errors
/// Says what is expected.
pub fn token_name(text: &str) -> Result<String, String> {
    // Nobody is to be taken for who asks without one.
    let is_taken = text == super::ANONYMOUS || text == "api";
    let is_one = is_word(text, 64, "._-") && !is_taken;
    if is_one {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}`: expected 1 to 64 letters, digits, `.`, `_` or `-`, and not `anonymous` or `api`",
            shown(text)
        ))
    }
}

/// The name of an interface, as the kernel takes it.
///
/// # Errors
/// Says what is expected.
pub fn interface_name(text: &str) -> Result<String, String> {
    if is_word(text, 15, "._:@-") {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}`: expected the name of an interface, up to 15 letters, digits, `.`, `_`, `:`, `@` or `-`",
            shown(text)
        ))
    }
}

/// The name of an interface, or of a sensor whose batches the owner of a token ships.
///
/// # Errors
/// Says what is expected.
pub fn scope_name(text: &str) -> Result<String, String> {
    if is_word(text, 64, "._:@-") {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "`{}`: expected the name of an interface or, of a sensor's token, of a sensor: up to 64 letters, digits, `.`, `_`, `:`, `@` or `-`",
            shown(text)
        ))
    }
}

fn is_word(text: &str, most: usize, others: &str) -> bool {
    (1..=most).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
