//! `tokens`: who may use the API. It works on the database alone, whether a daemon runs or not; one that runs takes it up within a second.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::stored::{Format, Stored, by};
use super::{EXIT_USAGE, say};
use crate::api::{Role, Secret, names};
use crate::capture::clock;
use crate::source::kernel::device::Device;
use crate::store::{Created, NewToken, Revoked, Store, StoredToken};
use nta_core::domain::Timestamp;

/// Flags of `tokens`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon tokens create --role admin --name mira\n  \
    nta-daemon tokens create --role viewer --expires 30d --scope eth0,eth1\n  \
    nta-daemon tokens create --role sensor --scope gw-paris   # for the daemon of a gateway that ships here\n  \
    nta-daemon tokens list --format json\n  \
    nta-daemon tokens revoke mira")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    stored: Stored,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it, this once: only its SHA-256 is kept.
    Create {
        /// What its owner may do: viewer, operator, admin or sensor.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Its name, which no other token has or had. Default: the role and a number.
        #[arg(long, value_parser = names::token_name)]
        name: Option<String>,
        /// Until when it holds: a time (2030-01-31T12:00:00Z) or how long (90m, 12h, 30d). Default: always.
        #[arg(long, value_name = "TIME", value_parser = expiry)]
        expires: Option<Timestamp>,
        /// Interfaces that its owner may know of, or of a sensor's token the sensors that it is for. Default: all. An interface that does
        /// not exist yet is taken, and said.
        #[arg(long, visible_alias = "interface", value_name = "IF", value_delimiter = ',', value_parser = names::scope_name)]
        scope: Vec<String>,
    },
    /// List all tokens, with those that are revoked or over.
    List,
    /// Revoke a token: from now on it holds nowhere.
    Revoke {
        /// Its number or its name.
        token: String,
    },
}

pub(super) fn execute(args: Args) -> ExitCode {
    let what = args.what;
    args.stored.with(async |store, _, format| with(store, what, format).await)
}

async fn with(store: &Store, what: What, format: Format) -> Result<String, (u8, String)> {
    let failed = |error: crate::store::StoreError| (1, error.chain());
    match what {
        What::Create { role, name, expires, scope } => {
            let (secret, created) = (Secret::make(), clock::now());
            for name in scope.iter().filter(|name| role != Role::Sensor && Device::find(name).is_err()) {
                let there_are = Device::there_are();
                say(&format!(
                    "there is no interface {name} on this machine yet: {there_are}; the token is for it once it is there"
                ));
            }
            let scope = (!scope.is_empty()).then_some(scope);
            let token = NewToken { name, role: role.word(), hash: secret.hash(), scope, created, expires };
            match store.create_token(&token, &by("create token")).await.map_err(failed)? {
                Created::Done(token) if format == Format::Json => {
                    let mut shown = shown(&token);
                    shown["token"] = secret.reveal().into();
                    Ok(format!("{shown:#}\n"))
                }
                Created::Done(StoredToken { id, name, role, .. }) => {
                    say(&format!("token {id}, `{name}`, role {role}; it is shown this once:"));
                    Ok(format!("{}\n", secret.reveal()))
                }
                Created::NameTaken => {
                    let name = token.name.unwrap_or_default();
                    Err((EXIT_USAGE, format!("--name {name}: another token has this name or had it")))
                }
                Created::Full => {
                    Err((1, "there are as many tokens as there may be: revoke one that is not used".to_owned()))
                }
            }
        }
        What::List => {
            let (tokens, _) = store.tokens().await.map_err(failed)?;
            Ok(if format == Format::Json {
                format!("{:#}\n", json!({"items": tokens.iter().map(shown).collect::<Vec<_>>()}))
            } else {
                table(&tokens)
            })
        }
        What::Revoke { token } => {
            let (tokens, _) = store.tokens().await.map_err(failed)?;
            let unknown =
                || (EXIT_USAGE, format!("there is no token `{}`: `tokens list` has them", token.escape_debug()));
            // A name may look like a number.
            let found = tokens.iter().find(|known| known.name == token);
            let found =
                found.or_else(|| tokens.iter().find(|known| known.id.to_string() == token)).ok_or_else(unknown)?;
            let was = match store.revoke_token(found.id, &by("revoke token")).await.map_err(failed)? {
                Revoked::Unknown => return Err(unknown()),
                Revoked::Done => "is revoked",
                Revoked::Before => "was revoked before",
            };
            Ok(if format == Format::Json {
                format!("{:#}\n", json!({"id": found.id, "name": found.name, "revoked": true}))
            } else {
                format!("token {}, `{}`, {was}\n", found.id, found.name)
            })
        }
    }
}

/// A token without its secret, in the words of the API.
fn shown(token: &StoredToken) -> serde_json::Value {
    let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": token.id, "name": token.name, "role": token.role, "scope": token.scope, "created": token.created.to_string(),
        "expires": text(token.expires), "revoked": text(token.revoked), "last_used": text(token.used),
    })
}

fn table(tokens: &[StoredToken]) -> String {
    let now = clock::now();
    let head = ["ID", "NAME", "ROLE", "SCOPE", "STATE", "CREATED", "EXPIRES", "LAST USED"].map(str::to_owned);
    let row = |token: &StoredToken| {
        let time = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), |time| time.to_string());
        let state = match token.revoked {
            Some(_) => "revoked",
            None if !token.holds(now) => "expired",
            None => "holds",
        };
        let scope = token.scope.as_ref().map_or_else(|| "all".to_owned(), |scope| scope.join(","));
        let (created, expires, used) = (token.created.to_string(), time(token.expires), time(token.used));
        [token.id.to_string(), token.name.clone(), token.role.clone(), scope, state.to_owned(), created, expires, used]
    };
    let rows: Vec<_> = std::iter::once(head).chain(tokens.iter().map(row)).collect();
    super::stored::table(&rows)
}

fn role(text: &str) -> Result<Role, String> {
    let words = Role::OF_TOKENS.map(Role::word).join(", ");
    Role::of_token(text).ok_or_else(|| format!("expected one of {words}"))
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    until(text, clock::now())
}

/// A time to come, or how long from now on.
fn until(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let expected =
        || "expected a time to come such as 2030-01-31T12:00:00Z, or how long, such as 90m, 12h or 30d".to_owned();
    let seconds = |unit: &str| match unit {
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
    let (number, unit) = text.split_at(last);
    let at = match (number.parse::<u64>(), seconds(unit)) {
        (Ok(number), Some(seconds)) => {
            let ns = number.checked_mul(seconds).and_then(|seconds| seconds.checked_mul(1_000_000_000));
            ns.and_then(|ns| ns.checked_add(now.as_nanos()))
                .filter(|ns| i64::try_from(*ns).is_ok())
                .ok_or_else(expected)?
        }
        _ => {
            let time: jiff::Timestamp = text.parse().map_err(|_no_time| expected())?;
            u64::try_from(time.as_nanosecond()).map_err(|_before_1970| expected())?
        }
    };
    let at = Timestamp::from_nanos(at);
    if at <= now { Err(expected()) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_to_come_or_how_long() {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        for (text, seconds) in [("90m", 6_400), ("1h", 4_600), ("2d", 173_800), ("1970-01-01T01:00:00Z", 3_600)] {
            assert_eq!(until(text, now), Ok(Timestamp::from_nanos(seconds * 1_000_000_000)), "{text}");
        }
        for text in ["", "0d", "d", "-1d", "5", "5w", "1970-01-01T00:00:01Z", "tomorrow", "99999999999d", "1µ"] {
            assert!(until(text, now).expect_err(text).contains("30d"), "{text}");
        }
    }
}
