//! `xensnap man`: the manual pages. The program and its verbs are told from the source of `--help`, the files from the table of
//! their keys, so that none of it can be out of date.

mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args as ClapArgs, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::exits::CODES;
use super::out::say;

/// Writes the manual pages into a folder: xensnap(1), one for each verb, xensnap.toml(5) and xensnap-policy(5).
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder; it is made if there is none
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// A page: the name of its file, and its text.
type Page = (String, Vec<u8>);

/// What stands at the foot of each page.
const SOURCE: &str = concat!("xensnap ", env!("CARGO_PKG_VERSION"));
/// What stands at the head of each page.
const MANUAL: &str = "xensnap manual";

/// Writes.
///
/// # Errors
/// When the folder cannot be written to.
pub(super) fn run(args: &Args, program: Command) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let pages = pages(program).context("the manual cannot be written")?;
    for (name, text) in &pages {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    say!("{} manual pages are in {}", pages.len(), folder.display());
    Ok(ExitCode::SUCCESS)
}

fn pages(program: Command) -> std::io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    add(&program, &mut pages)?;
    pages.push(files::main_file()?);
    pages.push(files::policy_file()?);
    Ok(pages)
}

/// The page of a command, and those of its verbs.
fn add(command: &Command, pages: &mut Vec<Page>) -> std::io::Result<()> {
    pages.push((format!("{}.1", title(command)), page(command)?));
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| add(verb, pages))
}

fn title(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(SOURCE).manual(MANUAL);
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    let is_program = title(command) == "xensnap";
    if let Some(text) = command.get_after_help().filter(|_| !is_program) {
        // As it is laid out in --help.
        rest.control("SH", ["NOTES"]).control("nf", []);
        rest.text([roman(text.to_string())]).control("fi", []);
    }
    exit_status(&mut rest);
    see_also(&mut rest, if is_program { &["xensnap-daemon(1)"] } else { &["xensnap(1)"] });
    rest.to_writer(&mut page)?;
    Ok(page)
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in CODES {
        roff.control("TP", []).text([bold(code.to_string())]).text([roman(meaning)]);
    }
}

fn see_also(roff: &mut Roff, first: &[&str]) {
    let pages = first.iter().copied().chain(["xensnap.toml(5)", "xensnap-policy(5)"]);
    roff.control("SH", ["SEE ALSO"]).text([roman(pages.collect::<Vec<_>>().join(", "))]);
}
