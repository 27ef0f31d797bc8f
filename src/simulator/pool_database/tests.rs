use super::*;
use crate::simulator::model::{Release, release};
use crate::simulator::value::Value;

const SMALL: &str = r#"<database><manifest><pair key="schema_major_vsn" value="5"/><pair key="schema_minor_vsn" value="66"/>
<pair key="generation_count" value="70"/></manifest>
<table name="Novelty"><row ref="OpaqueRef:n" odd="a%_b"/></table>
<table name="pool"><row ref="OpaqueRef:p" __ctime="1" __mtime="2" _ref="OpaqueRef:p" uuid="up" master="OpaqueRef:h"/></table>
<table name="host"><row ref="OpaqueRef:h" __ctime="3" __mtime="4" _ref="OpaqueRef:h" uuid="uh" name__label="a%_b" odd="&lt;%n"
 other_config="(('k'  'it\'s') (bare word))"></row></table><table name="task"><row ref="OpaqueRef:t"/></table></database>"#;

fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load(text.as_bytes(), None)
}

fn dump_text(loaded: &Loaded) -> String {
    let mut out = Vec::new();
    dump(&loaded.database, &loaded.kept, loaded.release, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_dump_is_loaded_with_its_generations_and_values() {
    let loaded = load_text(SMALL).unwrap();
    assert_eq!(loaded.release, release("6.1"));
    assert_eq!(loaded.database.generation(), 70);
    assert_eq!(&*loaded.database.text("host", "OpaqueRef:h", "name_label"), "a  b");
    assert_eq!(loaded.database.map_text("host", "OpaqueRef:h", "other_config", "k").as_deref(), Some("it's"));
    assert_eq!(loaded.database.row("host", "OpaqueRef:h").unwrap().created, 3);
    assert_eq!(loaded.database.count("task"), 0);
}

#[test]
fn strangers_and_odd_spellings_come_back_unchanged() {
    let again = dump_text(&load_text(SMALL).unwrap());
    for text in [r#"<row ref="OpaqueRef:n" odd="a%_b"/>"#, r#"odd="&lt;%n""#, r"(('k'%_'it\'s') (bare word))"] {
        assert!(again.contains(text), "{again}");
    }
    assert_eq!(dump_text(&load_text(&again).unwrap()), again);
}

#[test]
fn a_damaged_value_is_told_saved_in_part_and_kept() {
    let loaded = load_text(&SMALL.replace("(bare word))", "(bare")).unwrap();
    let told: Vec<_> = loaded.damages.iter().map(ToString::to_string).collect();
    let reason = "the text ends too early at byte 21 of an s-expression";
    assert_eq!(told, [format!("table host, row OpaqueRef:h, column other_config cannot be read: {reason}")]);
    assert_eq!(loaded.database.map_text("host", "OpaqueRef:h", "other_config", "k").as_deref(), Some("it's"));
    assert!(dump_text(&loaded).contains(r"(('k'%_'it\'s') (bare"));
}

#[test]
fn columns_that_some_rows_lack_stay_so() {
    let text = SMALL.replace(
        "<table name=\"task\">",
        "<table name=\"network\"><row ref=\"a\" uuid=\"1\"/><row ref=\"b\" MTU=\"7\"/></table>$0",
    );
    let text = text.replace("$0", "<table name=\"task\">");
    let again = dump_text(&load_text(&text).unwrap());
    assert!(again.contains(r#"<row ref="a" uuid="1"/><row ref="b" MTU="7"/>"#), "{again}");
}

#[test]
fn a_value_that_was_changed_is_written_in_the_usual_spelling() {
    let mut loaded = load_text(SMALL).unwrap();
    loaded.database.put("host", "OpaqueRef:h", "other_config", "k", Value::str("new")).unwrap();
    let again = dump_text(&loaded);
    assert!(again.contains("('k' 'new')") && again.contains("('bare' 'word')"), "{again}");
    assert!(again.contains(r#"key="generation_count" value="71""#) && again.contains(r#"__mtime="71""#), "{again}");
}

#[test]
fn a_fresh_database_is_written_in_the_style_of_its_release() {
    let mut database = crate::simulator::database::Database::new();
    database.create("pool", "OpaqueRef:p", []);
    database.create("host", "OpaqueRef:h", [("name_label", Value::str("a b"))]);
    let text = |shown| {
        let mut out = Vec::new();
        dump(&database, &Kept::default(), shown, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let new = text(Release::NEWEST);
    assert!(new.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<database><manifest><pair key=\"schema_major_vsn\""));
    assert!(new.contains(r#"value="909""#) && new.contains(r#"name__label="a%.b""#) && new.contains("__ctime="));
    let old = text(release("5.6"));
    assert!(old.starts_with("<database>") && old.contains(r#"name__label="a b""#) && !old.contains("__ctime="), "{old}");
    assert!(!old.contains("VMSS") && !old.contains("VUSBs"));
}

#[test]
fn what_is_no_complete_pool_database_is_refused_with_a_reason() {
    let cut = |at: usize| &SMALL[..at];
    let without_host = SMALL.replace("table name=\"host\"", "table name=\"Other\"");
    for (text, reason) in [
        ("", "no complete XML"),
        ("garbage", "outside of an attribute"),
        ("<html><body/></html>", "unexpected element <html>"),
        (cut(300), "no complete XML"),
        (cut(SMALL.len() - 5), "no complete XML"),
        ("<database><manifest/><table/></database>", "a table without a name"),
        ("<database><manifest/><row/></database>", "unexpected element <row>"),
        ("<database><manifest/><table name=\"VM\"><row uuid=\"x\"/></table></database>", "no release"),
        ("<database><manifest/></database>", "has no pool"),
        (&without_host, "has no host"),
        (&SMALL.replace("ref=\"OpaqueRef:h\" __c", "__c"), "without ref"),
        (&SMALL.replace("&lt;", "&unknown;"), "no complete XML"),
    ] {
        let error = load_text(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert!(load(&b"<database \xff=\"\"/>"[..], None).is_err());
}

#[test]
fn an_endless_element_ends_in_an_error_within_bounded_memory() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            into.fill(b'a');
            Ok(into.len())
        }
    }
    let start = std::io::Cursor::new(b"<database><table name=\"".to_vec());
    let endless = std::io::BufReader::new(std::io::Read::chain(start, Endless));
    let error = load(endless, None).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
}
