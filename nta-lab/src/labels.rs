//! `labels.tsv`: what is in which capture, and when.

use super::attacks::Attack;
use super::capture::Span;

/// The columns, in the order of the labels of other people's captures, but for their last, `source`: a lab's captures are all
/// of one.
pub(crate) const HEADER: &str = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool";

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    pub(crate) file: String,
    pub(crate) kind: String,
    pub(crate) attacker: String,
    pub(crate) victim: String,
    /// Unix times of the first and last frame, in seconds.
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) tool: String,
}

impl Label {
    /// An attack, with the frames of it that are in the capture.
    pub(crate) fn of(file: &str, attack: &Attack, span: Span) -> Self {
        Self {
            file: file.to_owned(),
            kind: attack.kind.to_owned(),
            attacker: attack.attacker.clone(),
            victim: attack.victim.clone(),
            start: span.first,
            end: span.last,
            tool: attack.tool.to_owned(),
        }
    }

    /// A capture with nothing to find.
    pub(crate) fn benign(file: &str, span: Span) -> Self {
        let unknown = || "-".to_owned();
        Self {
            file: file.to_owned(),
            kind: "benign".to_owned(),
            attacker: unknown(),
            victim: unknown(),
            start: span.first,
            end: span.last,
            tool: unknown(),
        }
    }

    pub(crate) fn row(&self) -> String {
        let Self { file, kind, attacker, victim, start, end, tool } = self;
        format!("{file}\t{kind}\t{attacker}\t{victim}\t{start:.6}\t{end:.6}\t{tool}")
    }
}

/// The whole file.
pub(crate) fn table(labels: &[Label]) -> String {
    let rows = labels.iter().map(Label::row);
    std::iter::once(HEADER.to_owned()).chain(rows).map(|row| row + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(row: &str) -> Label {
        let cells: Vec<&str> = row.split('\t').collect();
        let [file, kind, attacker, victim, start, end, tool] = cells[..] else { panic!("{row}") };
        let own = str::to_owned;
        let (start, end) = (start.parse().unwrap(), end.parse().unwrap());
        Label {
            file: own(file),
            kind: own(kind),
            attacker: own(attacker),
            victim: own(victim),
            start,
            end,
            tool: own(tool),
        }
    }

    #[test]
    fn a_table_has_a_head_and_what_went_into_it() {
        let span = Span { first: 1_790_000_000.25, last: 1_790_000_010.5, frames: 7 };
        let attack = crate::scenario::plan(1, 60).into_iter().find_map(|one| one.attacks.into_iter().next());
        let labels = [Label::of("a.pcap", &attack.expect("an attack"), span), Label::benign("b.pcap", span)];
        let table = table(&labels);
        let rows: Vec<&str> = table.lines().collect();
        // As tests/detection/labels.tsv has them.
        let head = include_str!("../../tests/detection/labels.tsv").lines().next().unwrap();
        assert_eq!(format!("{}\tsource", rows[0]), head);
        assert_eq!(rows[1..].iter().map(|row| parse(row)).collect::<Vec<_>>(), labels);
    }
}
