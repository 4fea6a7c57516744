//! Lines of a page: as wide as the terminal, coloured where that is wanted, and without anything that a terminal would obey.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Width of the names before a line.
const LABEL: usize = 10;
/// Narrower pages are written as if they were so wide.
const NARROWEST: usize = 40;
/// Spaces between the columns of a table, and before them.
const GAP: usize = 2;

/// How a page looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Columns of the terminal.
    pub(crate) width: usize,
    /// Whether it shows colours.
    pub(crate) colour: bool,
    /// Whether the chart is drawn.
    pub(crate) plot: bool,
}

/// What a text stands out by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Heading,
    Faint,
    Good,
    Warning,
    Bad,
}

/// A column of a table.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers end below one another.
    pub(super) is_number: bool,
    /// Which columns are left out first where the page is narrow: the largest number; 0 stays.
    pub(super) leave: u8,
}

/// A page that is being written.
pub(crate) struct Page {
    text: String,
    look: Look,
}

impl Page {
    /// An empty one.
    pub(crate) fn new(look: Look) -> Self {
        Self { text: String::new(), look: Look { width: look.width.max(NARROWEST), ..look } }
    }

    /// What was written.
    pub(crate) fn text(self) -> String {
        self.text
    }

    pub(super) const fn look(&self) -> Look {
        self.look
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.blank();
        for line in wrap(text, self.look.width) {
            self.line(0, &line, Style::Heading);
        }
    }

    /// A name and what it is, which goes on below itself.
    pub(super) fn entry(&mut self, label: &str, text: &str) {
        self.styled(label, text, Style::Plain);
    }

    pub(super) fn styled(&mut self, label: &str, text: &str, style: Style) {
        for (number, line) in wrap(text, self.look.width - LABEL).into_iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let _always = write!(self.text, "{label:<LABEL$}");
            self.line(0, &line, style);
        }
    }

    /// A paragraph, indented.
    pub(super) fn paragraph(&mut self, indent: usize, text: &str, style: Style) {
        for line in wrap(text, self.look.width - indent) {
            self.line(indent, &line, style);
        }
    }

    /// A line that fits.
    pub(super) fn line(&mut self, indent: usize, text: &str, style: Style) {
        let [begin, end] = if self.look.colour { style.codes() } else { [""; 2] };
        let _always = writeln!(self.text, "{:indent$}{begin}{}{end}", "", text.trim_end());
    }

    /// Rows below their titles. Where the page is narrow columns are left out, then the last one goes on below.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
        let mut shown: Vec<usize> = (0..columns.len()).collect();
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
            cells.max().unwrap_or_default().max(columns[at].title.width())
        };
        let room = self.look.width;
        while shown.iter().map(|at| width(*at) + GAP).sum::<usize>() > room {
            let least = shown.iter().enumerate().max_by_key(|(_, at)| columns[**at].leave);
            match least {
                Some((place, at)) if columns[*at].leave > 0 => {
                    shown.remove(place);
                }
                _ => break,
            }
        }
        let Some((last, before)) = shown.split_last() else { return };
        let indent: usize = before.iter().map(|at| width(*at) + GAP).sum::<usize>() + GAP;
        // A last column without room of its own stands below the others.
        let fits = indent + 12 <= room || indent + width(*last) <= room;
        let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
        for (number, row) in std::iter::once(&titles).chain(&rows).enumerate() {
            let style = if number == 0 { Style::Faint } else { Style::Plain };
            let mut line = String::new();
            for at in before {
                line.push_str(&" ".repeat(GAP));
                line.push_str(&pad(&row[*at], width(*at), columns[*at].is_number));
            }
            let (hang, text_room) = if fits { (indent, room - indent) } else { (2 * GAP, room - 2 * GAP) };
            let text = if columns[*last].is_number { pad(&row[*last], width(*last), true) } else { row[*last].clone() };
            let mut pieces = wrap_keeping(&text, text_room).into_iter();
            if fits {
                line.push_str(&" ".repeat(GAP));
                line.push_str(&pieces.next().unwrap_or_default());
            }
            self.line(0, &line, style);
            for piece in pieces {
                self.line(hang, &piece, style);
            }
        }
    }
}

impl Style {
    const fn codes(self) -> [&'static str; 2] {
        let begin = match self {
            Self::Plain => return [""; 2],
            Self::Heading => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
        };
        [begin, "\x1b[0m"]
    }
}

fn pad(text: &str, width: usize, to_the_right: bool) -> String {
    let spaces = " ".repeat(width.saturating_sub(text.width()));
    if to_the_right { spaces + text } else { text.to_owned() + &spaces }
}

/// A text that comes from outside, without what moves a cursor, rings a bell or turns the direction of writing round.
pub(super) fn clean(text: &str) -> String {
    let is_obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            cleaned.extend(c.escape_unicode());
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// A text in lines that are so wide at most, cleaned.
fn wrap(text: &str, width: usize) -> Vec<String> {
    wrap_keeping(&clean(text), width)
}

fn wrap_keeping(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        for (number, piece) in pieces(word, width).into_iter().enumerate() {
            let line = lines.last().map_or(0, |line| line.width());
            let needs = piece.width() + usize::from(number == 0 && line > 0);
            if line > 0 && line + needs > width {
                lines.push(piece);
            } else if let Some(last) = lines.last_mut() {
                if number == 0 && line > 0 {
                    last.push(' ');
                }
                last.push_str(&piece);
            }
        }
    }
    lines
}

/// A word that is wider than a line, in pieces.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut wide = 0;
    for c in word.chars() {
        let of_c = c.width().unwrap_or_default();
        if wide + of_c > width && wide > 0 {
            pieces.push(String::new());
            wide = 0;
        }
        wide += of_c;
        if let Some(piece) = pieces.last_mut() {
            piece.push(c);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        Page::new(Look { width, colour: false, plot: false })
    }

    #[test]
    fn no_line_is_wider_than_the_page_and_no_word_is_lost() {
        let text =
            "A sentence with 2001:db8:85a3:1111:2222:8a2e:0370:7334 > 2001:db8:1:2:3:4:5:6 and 漢字漢字漢字 in it";
        for width in 40..=200 {
            let mut page = page(width);
            page.entry("label", text);
            page.paragraph(4, &"x".repeat(300), Style::Plain);
            let column = |title, is_number, leave| Column { title, is_number, leave };
            let columns = [column("bytes", true, 0), column("share", true, 2), column("flow", false, 0)];
            let row = |bytes: &str| vec![bytes.to_owned(), "100.0 %".to_owned(), text.to_owned()];
            page.table(&columns, &[row("18,446,744,073,709,551,615"), row("1")]);
            let shown = page.text();
            assert!(shown.lines().all(|line| line.width() <= width), "{width}\n{shown}");
            let squeezed: String = shown.split_whitespace().collect();
            let wanted: String = text.split_whitespace().collect();
            assert_eq!(squeezed.matches(&wanted).count(), 3, "{width}\n{shown}");
        }
    }

    #[test]
    fn nothing_is_obeyed_by_a_terminal() {
        let mut page = page(80);
        page.entry("file", "a\u{1b}[31m\r\n\u{7}\u{202e}b\u{9b}c");
        assert_eq!(page.text(), "file      a\\u{1b}[31m\\u{d}\\u{a}\\u{7}\\u{202e}b\\u{9b}c\n");
    }

    #[test]
    fn colours_come_only_where_they_are_wanted() {
        let mut coloured = Page::new(Look { width: 80, colour: true, plot: false });
        coloured.heading("alerts");
        assert_eq!(coloured.text(), "\n\u{1b}[1malerts\u{1b}[0m\n");
    }
}
