//! Packets over time as bars.

use super::numbers::{counted, duration};
use super::page::{Page, Style};
use crate::replay::Timeline;
use nta_core::domain::Timestamp;

/// Lines that the highest bar has.
const LINES: u64 = 5;
/// Parts of a line that a bar can end at.
const PARTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// More columns say no more.
const MOST_COLUMNS: usize = 120;

/// Draws them.
pub(super) fn draw(page: &mut Page, timeline: &Timeline, times: (Timestamp, Timestamp)) {
    const INDENT: usize = 2;
    let (each, columns) = timeline.columns((page.look().width - INDENT).min(MOST_COLUMNS));
    let most = columns.iter().map(|column| column.packets).max().unwrap_or_default();
    if columns.len() < 2 || most == 0 {
        return;
    }
    let column_s = each as f64 * timeline.step_ns() as f64 / 1e9;
    page.heading(&format!(
        "packets over time: a column is {}, the highest {}",
        duration(column_s),
        counted(most, "packet")
    ));
    for line in (0..LINES).rev() {
        let bar = |packets: u64| {
            let full = LINES * 8;
            // Any packet shows.
            let height = (u128::from(packets) * u128::from(full)).div_ceil(u128::from(most)) as u64;
            PARTS[height.saturating_sub(line * 8).min(8) as usize]
        };
        let drawn: String = columns.iter().map(|column| bar(column.packets)).collect();
        page.line(INDENT, &drawn, Style::Plain);
    }
    let clock = |time: Timestamp| time.to_string().get(11..19).unwrap_or_default().to_owned();
    let (first, last) = (clock(times.0), clock(times.1));
    let wide = columns.len();
    if wide > first.len() + last.len() {
        let between = wide - first.len();
        page.line(INDENT, &format!("{first}{last:>between$}"), Style::Faint);
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::Look;
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_share() {
        let mut timeline = Timeline::default();
        let at = |ms: u64| Timestamp::from_nanos(1_700_000_000_000_000_000 + ms * 1_000_000);
        // 1 ms a column: 40, 20, 0, 1 packets.
        for (ms, packets) in [(0, 40), (1, 20), (3, 1)] {
            (0..packets).for_each(|_| timeline.add(at(ms), 60));
        }
        let mut page = Page::new(Look { width: 80, colour: false, plot: true });
        draw(&mut page, &timeline, (at(0), at(3)));
        let wanted = "\npackets over time: a column is 1.00 ms, the highest 40 packets\n  █\n  █\n  █▄\n  ██\n  ██ ▁\n";
        assert_eq!(page.text(), wanted);
    }
}
