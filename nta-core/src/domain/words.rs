//! Zeek's words for a connection: `conn_state` and `history`.

use std::fmt;

/// Most letters that a history holds: 24 and the mark of a flip.
const MAX_LETTERS: usize = 25;

/// Letters of a connection's history; upper case is the originator's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    letters: [u8; MAX_LETTERS],
    len: u8,
}

impl History {
    /// As text; empty when nothing was reported.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Whether one of these letters is in it.
    pub fn has(&self, any_of: &[u8]) -> bool {
        self.letters[..usize::from(self.len)].iter().any(|letter| any_of.contains(letter))
    }

    /// The history that reads like this, cut to what fits.
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        text.bytes().for_each(|letter| history.push(letter));
        history
    }

    pub(super) fn push(&mut self, letter: u8) {
        if let Some(place) = self.letters.get_mut(usize::from(self.len)) {
            *place = letter;
            self.len += 1;
        }
    }

    /// What Zeek asks of a history before it says `RSTOS0`: a SYN, then a RST, and nothing but repetitions between.
    pub(super) fn is_syn_then_reset(&self) -> bool {
        let text = self.as_str();
        let Some(rest) = text.strip_prefix('^').unwrap_or(text).strip_prefix('S') else { return false };
        rest.split_once('R').is_some_and(|(between, _)| !between.contains(['H', 'A', 'F', 'G', 'I', 'Q']))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a connection came: Zeek's `conn_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// Attempt without an answer.
    S0,
    /// Established, not ended.
    S1,
    /// Established and ended normally.
    Sf,
    /// Attempt refused.
    Rej,
    /// Established, the originator closed, the responder did not answer that.
    S2,
    /// Established, the responder closed, the originator did not answer that.
    S3,
    /// Established, the originator aborted.
    Rsto,
    /// The responder aborted.
    Rstr,
    /// The originator sent a SYN and then a RST; no SYN-ACK was seen.
    Rstos0,
    /// The responder sent a SYN-ACK and then a RST; no SYN was seen.
    Rstrh,
    /// The originator sent a SYN and then a FIN; no SYN-ACK was seen.
    Sh,
    /// The responder sent a SYN-ACK and then a FIN; no SYN was seen.
    Shr,
    /// None of these: traffic from the middle of a connection, or a protocol without connections.
    #[default]
    Oth,
}

impl ConnState {
    const ALL: [Self; 13] = [
        Self::S0,
        Self::S1,
        Self::Sf,
        Self::Rej,
        Self::S2,
        Self::S3,
        Self::Rsto,
        Self::Rstr,
        Self::Rstos0,
        Self::Rstrh,
        Self::Sh,
        Self::Shr,
        Self::Oth,
    ];

    /// Zeek's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S0 => "S0",
            Self::S1 => "S1",
            Self::Sf => "SF",
            Self::Rej => "REJ",
            Self::S2 => "S2",
            Self::S3 => "S3",
            Self::Rsto => "RSTO",
            Self::Rstr => "RSTR",
            Self::Rstos0 => "RSTOS0",
            Self::Rstrh => "RSTRH",
            Self::Sh => "SH",
            Self::Shr => "SHR",
            Self::Oth => "OTH",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}
