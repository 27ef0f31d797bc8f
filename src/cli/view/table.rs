//! Tables for people. A remark that belongs to a row stands beside it where there is room, and below it otherwise, never cut: it is
//! the reason why something is as it is.

use super::super::out::say;
use super::NOTHING;
use super::layout::{Fit, GAP, total, widths};
use super::screen::{Screen, Tone, beginning, cut, harmless, width, wrapped};

/// A column.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Column {
    title: String,
    right: bool,
    fit: Fit,
    if_any: bool,
}

impl Column {
    /// A column of words.
    pub(in crate::cli) fn left(title: impl Into<String>) -> Self {
        Self { title: title.into(), right: false, fit: Fit::Whole, if_any: false }
    }

    /// A column of numbers.
    pub(in crate::cli) fn right(title: impl Into<String>) -> Self {
        Self { right: true, ..Self::left(title) }
    }

    /// Its cells may be cut to this width.
    pub(in crate::cli) fn cut(self, least: usize) -> Self {
        Self { fit: Fit::Cut(least), ..self }
    }

    /// The first so many characters of its cells are enough where room is short.
    pub(in crate::cli) fn brief(self, brief: usize) -> Self {
        Self { fit: Fit::Brief(brief), ..self }
    }

    /// It is left out where room is short.
    pub(in crate::cli) fn extra(self) -> Self {
        Self { fit: Fit::Extra, ..self }
    }

    /// It is left out when no cell says anything.
    pub(in crate::cli) fn if_any(self) -> Self {
        Self { if_any: true, ..self }
    }

    fn shown(&self, text: &str, columns: usize) -> String {
        match self.fit {
            Fit::Brief(_) => beginning(text, columns),
            _ => cut(text, columns),
        }
    }
}

/// What stands in a row and column.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text with a meaning.
    pub(in crate::cli) fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }

    fn says_nothing(&self) -> bool {
        self.text.is_empty() || self.text == NOTHING
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(Tone::Plain, text)
    }
}

#[derive(Debug, Clone)]
enum Line {
    Group(String),
    Row { cells: Vec<Cell>, remark: Option<Cell> },
}

/// Rows under titles, in groups if there are any.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    remarks: String,
    lines: Vec<Line>,
}

impl Table {
    /// An empty table.
    pub(in crate::cli) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), remarks: "WHY".to_owned(), lines: Vec::new() }
    }

    /// What the remarks are called where they are a column.
    pub(in crate::cli) fn remarks(self, title: &str) -> Self {
        Self { remarks: title.to_owned(), ..self }
    }

    /// Begins a group of rows.
    pub(in crate::cli) fn group(&mut self, heading: impl AsRef<str>) {
        self.lines.push(Line::Group(harmless(heading.as_ref())));
    }

    /// Adds a row, with a cell for each column.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = Cell>, remark: Option<Cell>) {
        self.lines.push(Line::Row { cells: cells.into_iter().collect(), remark });
    }

    /// Prints it.
    pub(in crate::cli) fn print(&self, screen: &Screen) {
        self.render(screen).iter().for_each(|line| say!("{line}"));
    }

    /// The table as lines.
    pub(in crate::cli) fn render(&self, screen: &Screen) -> Vec<String> {
        let indent = if self.lines.iter().any(|line| matches!(line, Line::Group(_))) { GAP } else { 0 };
        let sheet = Sheet::of(self, screen, indent);
        let mut lines = vec![sheet.titles()];
        for line in &self.lines {
            match line {
                Line::Group(heading) => lines.push(screen.paint(Tone::Strong, &cut(heading, screen.width))),
                Line::Row { cells, remark } => sheet.row(cells, remark.as_ref(), &mut lines),
            }
        }
        lines
    }

    /// What each column would like to have; nothing for one that is left out.
    fn natural(&self) -> Vec<usize> {
        let rows = || self.lines.iter().filter_map(|line| if let Line::Row { cells, .. } = line { Some(cells) } else { None });
        let of = |(at, column): (usize, &Column)| {
            let cells = || rows().filter_map(|cells| cells.get(at));
            let said = !column.if_any || cells().any(|cell| !cell.says_nothing());
            let widest = cells().map(|cell| width(&cell.text)).max().unwrap_or(0);
            if said { widest.max(width(&column.title)) } else { 0 }
        };
        self.columns.iter().enumerate().map(of).collect()
    }

    fn widest_remark(&self) -> usize {
        let remark = |line: &Line| match line {
            Line::Row { remark: Some(remark), .. } => Some(width(&remark.text)),
            _ => None,
        };
        self.lines.iter().filter_map(remark).max().unwrap_or(0)
    }
}

/// A table laid out on a screen.
struct Sheet<'a> {
    table: &'a Table,
    screen: &'a Screen,
    indent: usize,
    widths: Vec<Option<usize>>,
    /// Remarks stand beside their rows.
    beside: bool,
}

impl<'a> Sheet<'a> {
    fn of(table: &'a Table, screen: &'a Screen, indent: usize) -> Self {
        let room = screen.width - indent;
        let (columns, natural): (Vec<_>, Vec<_>) =
            table.columns.iter().zip(table.natural()).map(|(column, width)| (column.fit, width)).unzip();
        let shown: Vec<usize> = (0..columns.len()).filter(|at| natural[*at] > 0).collect();
        let pick = |list: &[usize]| shown.iter().map(|at| list[*at]).collect::<Vec<_>>();
        let fits: Vec<Fit> = shown.iter().map(|at| columns[*at]).collect();
        let mut all = vec![None; columns.len()];
        for (at, width) in shown.iter().zip(widths(&fits, &pick(&natural), room)) {
            all[*at] = width;
        }
        let remark = table.widest_remark();
        let beside = remark > 0 && total(&all) + GAP + remark.max(width(&table.remarks)) <= room;
        Self { table, screen, indent, widths: all, beside }
    }

    fn titles(&self) -> String {
        let cells: Vec<Cell> = self.table.columns.iter().map(|column| Cell::toned(Tone::Strong, &column.title)).collect();
        let remark = Cell::toned(Tone::Strong, &self.table.remarks);
        self.line(&cells, self.beside.then_some(&remark))
    }

    fn row(&self, cells: &[Cell], remark: Option<&Cell>, lines: &mut Vec<String>) {
        lines.push(self.line(cells, remark.filter(|_| self.beside)));
        if let Some(remark) = remark.filter(|_| !self.beside) {
            let indent = self.indent + 2 * GAP;
            let below = wrapped(&remark.text, self.screen.width - indent);
            lines.extend(below.iter().map(|text| format!("{:indent$}{}", "", self.screen.paint(remark.tone, text))));
        }
    }

    fn line(&self, cells: &[Cell], remark: Option<&Cell>) -> String {
        let mut line = " ".repeat(self.indent);
        // Blanks are written once something follows them.
        let mut blanks = 0;
        for ((column, cell), columns) in self.table.columns.iter().zip(cells).zip(&self.widths) {
            let Some(columns) = columns else { continue };
            let text = column.shown(&cell.text, *columns);
            let pad = columns - width(&text);
            let (before, after) = if column.right { (pad, 0) } else { (0, pad) };
            if !text.is_empty() {
                line.push_str(&" ".repeat(blanks + before));
                line.push_str(&self.screen.paint(cell.tone, &text));
                blanks = after + GAP;
            } else {
                blanks += columns + GAP;
            }
        }
        if let Some(remark) = remark {
            line.push_str(&" ".repeat(blanks));
            line.push_str(&self.screen.paint(remark.tone, &remark.text));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize) -> Screen {
        Screen { width, colour: false, is_terminal: false }
    }

    fn table() -> Table {
        let columns =
            [Column::left("NAME").cut(6), Column::right("DONE"), Column::left("PIN").if_any(), Column::left("UUID").brief(4)];
        let mut table = Table::new(columns);
        table.row(["database-server-01", "3", "-", "0123-4567-89ab"].map(Cell::from), None);
        table.row(["web", "12", "", "cdef-4567-89ab"].map(Cell::from), Some("the disk is full".into()));
        table
    }

    #[test]
    fn with_room_a_remark_is_a_column() {
        let lines = [
            "NAME                DONE  UUID            WHY",
            "database-server-01     3  0123-4567-89ab",
            "web                   12  cdef-4567-89ab  the disk is full",
        ];
        assert_eq!(table().render(&screen(60)), lines);
    }

    #[test]
    fn without_room_names_are_cut_uuids_shortened_and_remarks_stand_below() {
        let lines = ["NAME        DONE  UUID", "database-…     3  0123", "web           12  cdef", "    the disk is full"];
        assert_eq!(table().render(&screen(22)), lines);
    }

    #[test]
    fn rows_of_a_group_are_indented_below_its_heading() {
        let mut table = Table::new([Column::left("A"), Column::left("B")]);
        table.group("first");
        table.row(["1", ""].map(Cell::from), None);
        assert_eq!(table.render(&screen(60)), ["  A  B", "first", "  1"]);
    }
}
