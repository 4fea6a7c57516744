//! What somebody may do.

/// Who may use a route, and what the owner of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Anybody: of a route only.
    Public,
    /// Who may look.
    Viewer,
    /// Who may work with alerts, baselines and captures.
    Operator,
    /// Who may do all.
    Admin,
    /// A sensor, which sends what it saw and reads nothing.
    Sensor,
}

impl Role {
    /// Those that a token may have.
    pub const OF_TOKENS: [Self; 4] = [Self::Viewer, Self::Operator, Self::Admin, Self::Sensor];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Sensor => "sensor",
        }
    }

    /// The role of a token by its name.
    pub fn of_token(word: &str) -> Option<Self> {
        Self::OF_TOKENS.into_iter().find(|role| role.word() == word)
    }

    /// Whether who has this role may use a route of that one.
    pub const fn allows(self, needed: Self) -> bool {
        match (self, needed) {
            (_, Self::Public) | (Self::Admin, _) | (Self::Sensor, Self::Sensor) => true,
            (Self::Sensor, _) | (_, Self::Sensor | Self::Admin) => false,
            (Self::Operator, _) => true,
            (Self::Viewer, Self::Viewer) => true,
            (Self::Viewer | Self::Public, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_what_those_below_it_have_and_a_sensor_only_sends() {
        let allowed = |role: Role| {
            let needed = [Role::Public, Role::Viewer, Role::Operator, Role::Admin, Role::Sensor];
            needed.map(|needed| role.allows(needed))
        };
        assert_eq!(allowed(Role::Public), [true, false, false, false, false]);
        assert_eq!(allowed(Role::Viewer), [true, true, false, false, false]);
        assert_eq!(allowed(Role::Operator), [true, true, true, false, false]);
        assert_eq!(allowed(Role::Admin), [true; 5]);
        assert_eq!(allowed(Role::Sensor), [true, false, false, false, true]);
        assert_eq!((Role::of_token("operator"), Role::of_token("public")), (Some(Role::Operator), None));
    }
}
