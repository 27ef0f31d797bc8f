//! Which columns of a table are shown, and how wide. What identifies or counts is never cut; names give way; what is only convenient
//! goes first.

/// Between two columns.
pub(super) const GAP: usize = 2;

/// How a column behaves where there is not enough room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It needs what it needs.
    Whole,
    /// It is cut, down to this width.
    Cut(usize),
    /// Its first so many characters say as much.
    Brief(usize),
    /// It is left out.
    Extra,
}

/// The width of each column; none for one that is left out. `natural` is what each would like to have.
pub(super) fn widths(fits: &[Fit], natural: &[usize], room: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = natural.iter().copied().map(Some).collect();
    for (at, fit) in fits.iter().enumerate() {
        if let Fit::Brief(brief) = fit
            && total(&widths) > room
        {
            widths[at] = widths[at].map(|width| width.min(*brief));
        }
    }
    for (at, fit) in fits.iter().enumerate().rev() {
        if *fit == Fit::Extra && total(&widths) > room {
            widths[at] = None;
        }
    }
    let least = |fit: &Fit| if let Fit::Cut(least) = fit { *least } else { usize::MAX };
    shrink(&mut widths, fits.iter().map(least), room);
    // Nothing gives way any more: better all a little too narrow than a torn line.
    shrink(&mut widths, fits.iter().map(|_| 3), room);
    widths
}

/// Takes from the widest column that has more than its least, until all fit or none has.
fn shrink(widths: &mut [Option<usize>], least: impl Iterator<Item = usize> + Clone, room: usize) {
    while total(widths) > room {
        let over =
            widths.iter_mut().zip(least.clone()).filter_map(|(width, least)| width.as_mut().filter(|width| **width > least));
        match over.max_by_key(|width| **width) {
            Some(widest) => *widest -= 1,
            None => return,
        }
    }
}

/// What the columns take together.
pub(super) fn total(widths: &[Option<usize>]) -> usize {
    widths.iter().flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FITS: [Fit; 4] = [Fit::Whole, Fit::Cut(6), Fit::Extra, Fit::Brief(8)];
    const NATURAL: [usize; 4] = [10, 20, 10, 36];

    #[test]
    fn with_room_everything_is_shown() {
        assert_eq!(widths(&FITS, &NATURAL, 82), NATURAL.map(Some));
    }

    #[test]
    fn first_what_has_a_short_form_then_what_is_extra_then_names_give_way() {
        assert_eq!(widths(&FITS, &NATURAL, 81), [Some(10), Some(20), Some(10), Some(8)]);
        assert_eq!(widths(&FITS, &NATURAL, 53), [Some(10), Some(20), None, Some(8)]);
        assert_eq!(widths(&FITS, &NATURAL, 40), [Some(10), Some(18), None, Some(8)]);
    }

    #[test]
    fn a_line_is_never_wider_than_the_screen() {
        for room in 20..100 {
            assert!(total(&widths(&FITS, &NATURAL, room)) <= room, "{room}");
        }
    }
}
