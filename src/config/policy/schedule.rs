//! `[policy.schedule]`.

use super::super::fields::{Fields, Written, read, text};
use super::super::findings::Findings;
use super::super::told::Told;
use super::Extent;
use crate::domain::schedule::{CatchUp, CronExpression, Schedule, ScheduleError, TimeWindow, Windows};
use crate::domain::span::Exact;
use crate::domain::zone::Zone;

pub(super) fn schedule(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Schedule> {
    if extent == Extent::Whole && fields.lacks("schedule") {
        findings.error(
            fields.place(),
            "this policy has no schedule",
            "write schedule = { cron = \"30 2 * * *\", zone = \"Europe/Berlin\" }",
        );
    }
    let mut fields = fields.table("schedule", findings)?;
    let cron = cron(&mut fields, extent, findings);
    let zone = zone(&mut fields, extent, findings);
    let spread = fields.parsed::<Exact>("spread", findings);
    let windows =
        Windows { open: windows(&mut fields, "window", findings), blackouts: windows(&mut fields, "blackout", findings) };
    let deadline = fields.parsed::<Exact>("deadline", findings);
    let catch_up = catch_up(&mut fields, findings);
    let run_on_start = fields.flag("run_on_start", findings);
    fields.finish(findings);
    bounds(spread.as_ref(), deadline.as_ref(), findings);
    let mut schedule = Schedule::new(cron?, zone?).ok()?;
    schedule.spread = spread.map(|spread| spread.value).unwrap_or_default();
    schedule.windows = windows;
    schedule.deadline = deadline.map(|deadline| deadline.value);
    schedule.catch_up = catch_up.unwrap_or(schedule.catch_up);
    schedule.run_on_start = run_on_start.is_some_and(|run| run.value);
    Some(schedule)
}

fn cron(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Vec<CronExpression>> {
    let example = "write cron = \"30 2 * * *\" for every night at half past two";
    if extent == Extent::Whole && fields.lacks("cron") {
        findings.error(fields.place(), "a schedule needs `cron`", example);
    }
    let all = fields.all_parsed::<CronExpression>("cron", findings)?;
    if all.value.is_empty() {
        findings.error(all.place, ScheduleError::Empty.to_string(), example);
    }
    Some(all.value.into_iter().map(|expression| expression.value).collect())
}

fn zone(fields: &mut Fields<'_>, extent: Extent, findings: &mut Findings) -> Option<Zone> {
    if extent == Extent::Whole && fields.lacks("zone") {
        findings.error(fields.place(), "a schedule needs `zone`", "write zone = \"Europe/Berlin\", or zone = \"UTC\"");
    }
    let node = fields.node("zone")?;
    let text = text("zone", node, findings)?;
    read(node, text, Zone::named(&text.text), findings).map(|zone| zone.value)
}

fn windows(fields: &mut Fields<'_>, key: &'static str, findings: &mut Findings) -> Vec<TimeWindow> {
    let all = fields.all_parsed::<TimeWindow>(key, findings).map(|all| all.value).unwrap_or_default();
    all.into_iter().map(|window| window.value).collect()
}

fn catch_up(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<CatchUp> {
    const DAY: Exact = Exact::seconds(86_400);
    let choice = fields.choice("catch_up", &[("none", false), ("one", true)], findings);
    let max_age = fields.parsed::<Exact>("catch_up_max_age", findings);
    match (choice, max_age) {
        (None, None) => None,
        (Some(Written { value: true, .. }), None) => Some(CatchUp::One { max_age: DAY }),
        (None | Some(Written { value: true, .. }), Some(age)) => Some(CatchUp::One { max_age: age.value }),
        (Some(none), age) => {
            if let Some(age) = age.filter(|age| !age.yields_to(&none)) {
                findings.conflict(
                    age.place,
                    (none.place, "because of this"),
                    "`catch_up_max_age` has no effect",
                    "remove it, or write catch_up = \"one\"",
                );
            }
            Some(CatchUp::None)
        }
    }
}

fn bounds(spread: Option<&Written<Exact>>, deadline: Option<&Written<Exact>>, findings: &mut Findings) {
    if let Some(deadline) = deadline.filter(|deadline| deadline.value == Exact::default()) {
        findings.error(deadline.place, "a deadline of nothing lets no job start", "write for example deadline = \"4h\"");
        return;
    }
    if let (Some(spread), Some(deadline)) = (spread, deadline)
        && spread.value >= deadline.value
    {
        let error = ScheduleError::SpreadBeyondDeadline { spread: spread.value, deadline: deadline.value };
        let told = Told::from_message(&error.to_string());
        findings.conflict(spread.place, (deadline.place, "the deadline"), told.message, told.help);
    }
}
