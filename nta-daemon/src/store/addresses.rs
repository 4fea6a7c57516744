//! The addresses and networks that a list is asked for, as ranges of stored addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::db::Value;
use super::list::Condition;
use super::rows::address;

/// Addresses and networks; none stands for all. IPv4 is what IPv6 has for it, so that `::/0` holds both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(Vec<Range>);

/// The first and the last address as stored.
type Range = [[u8; 16]; 2];

impl FromIterator<IpNet> for Addresses {
    /// Ranges that touch become one: none of them has an address of another.
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        let ends = |network: IpNet| [network.network(), network.broadcast()].map(address);
        let mut ranges: Vec<Range> = networks.into_iter().map(ends).collect();
        ranges.sort_unstable();
        let mut apart: Vec<Range> = Vec::new();
        for [first, last] in ranges {
            match apart.last_mut() {
                Some(before) if first <= before[1] => before[1] = before[1].max(last),
                _ => apart.push([first, last]),
            }
        }
        Self(apart)
    }
}

impl From<IpAddr> for Addresses {
    fn from(host: IpAddr) -> Self {
        Self(vec![[address(host); 2]])
    }
}

impl From<Option<IpAddr>> for Addresses {
    fn from(host: Option<IpAddr>) -> Self {
        host.map_or_else(Self::default, Self::from)
    }
}

impl Addresses {
    /// Whether all are wanted.
    pub const fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all from the first of these addresses to the last are among them.
    pub(super) fn contain(&self, [first, last]: [IpAddr; 2]) -> bool {
        let [first, last] = [first, last].map(address);
        self.0.iter().any(|[low, high]| *low <= first && last <= *high)
    }

    /// The same as values of a column.
    pub(super) fn sought(&self) -> Sought {
        Sought(self.0.iter().map(|range| range.map(|end| Value::from(end.to_vec()))).collect())
    }
}

/// Values of which a column is to have one: ranges that have nothing in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Sought(Vec<[Value; 2]>);

impl Sought {
    pub(super) fn numbers(mut numbers: Vec<i64>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        Self::values(numbers.into_iter().map(Value::from))
    }

    /// Values each by itself, none of them twice.
    pub(super) fn values(values: impl Iterator<Item = Value>) -> Self {
        Self(values.map(|value| [value.clone(), value]).collect())
    }

    pub(super) const fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are values, each by itself.
    pub(super) fn is_exact(&self) -> bool {
        self.0.iter().all(|[low, high]| low == high)
    }

    /// A condition for each range, by which an index finds it.
    pub(super) fn each<'a>(&'a self, column: &'a str) -> impl Iterator<Item = Condition> + 'a {
        self.0.iter().map(move |range| match range {
            [low, high] if low == high => Condition::new(format!("{column} = ?"), vec![low.clone()]),
            [low, high] => Condition::new(format!("{column} BETWEEN ? AND ?"), vec![low.clone(), high.clone()]),
        })
    }

    /// That one of these expressions has one of the values; `None` where any will do.
    pub(super) fn in_one_of(&self, expressions: &[&str]) -> Option<Condition> {
        (!self.is_any()).then(|| Condition::any(expressions.iter().map(|expression| self.in_it(expression))))
    }

    fn in_it(&self, expression: &str) -> Condition {
        if self.is_exact() && self.0.len() > 1 {
            return Condition::one_of(expression, self.0.iter().map(|[value, _]| value.clone()).collect());
        }
        Condition::any(self.each(expression))
    }

    /// That an expression, which is never NULL, has none of them.
    pub(super) fn not_in(&self, expression: &str) -> Condition {
        self.in_it(expression).not()
    }
}
