use std::collections::BTreeMap;

use rstest::rstest;
use serde::Deserialize;
use serde_json::Value;

use super::super::{Answer, DecodeError, Limits, Wire, decode, task_result};
use super::{in_pieces, json, success, xml};
use crate::xenapi::failure::Failure;
use crate::xenapi::types::{Any, Date, Int64, Number, Ref, StringMap, Void};

fn failure(words: &[&str]) -> Failure {
    Failure { code: words[0].to_owned(), params: words[1..].iter().map(|word| (*word).to_owned()).collect() }
}

fn value<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Value(value) => value,
        Answer::Failure(failure) => panic!("{failure}"),
    }
}

#[rstest]
#[case(r#"{"jsonrpc":"2.0","result":["a"],"id":1}"#)]
#[case(r#"{"result":["a"],"error":null,"id":0}"#)]
#[case(r#"{"error":null,"id":"x","result":["a"]}"#)]
#[case(" {\"result\" : [\"a\"]} \r\n")]
fn every_shape_of_success_is_one(#[case] text: &str) {
    assert_eq!(json::<Vec<String>>(text).unwrap(), Answer::Value(vec!["a".to_owned()]));
}

#[rstest]
#[case(r#"{"jsonrpc":"2.0","error":{"code":1,"message":"HANDLE_INVALID","data":["VM","x"]},"id":1}"#)]
#[case(r#"{"jsonrpc":"2.0","error":{"data":["VM","x"],"message":"HANDLE_INVALID","code":0},"id":1}"#)]
#[case(r#"{"jsonrpc":"2.0","error":["HANDLE_INVALID","VM","x"],"id":0}"#)]
#[case(r#"{"result":null,"error":["HANDLE_INVALID","VM","x"],"id":1}"#)]
#[case(r#"{"error":["HANDLE_INVALID","VM","x"],"result":null,"id":1}"#)]
fn every_shape_of_a_json_error_is_the_same_failure(#[case] text: &str) {
    let expected = failure(&["HANDLE_INVALID", "VM", "x"]);
    assert_eq!(json::<Vec<String>>(text).unwrap(), Answer::Failure(expected.clone()));
    assert_eq!(json::<Void>(text).unwrap(), Answer::Failure(expected));
}

#[rstest]
#[case(r#"{"error":{"code":-32601,"message":"Method not found"},"id":1}"#, &["Method not found"])]
#[case(r#"{"error":{"message":"X","data":"detail"}}"#, &["X", "detail"])]
#[case(r#"{"error":{"message":"X","data":null}}"#, &["X"])]
#[case(r#"{"error":{"message":"X","data":{"a":[1]}}}"#, &["X"])]
#[case(r#"{"error":["X",5,true,null,["nested"]]}"#, &["X", "5", "true", "", ""])]
fn an_odd_error_is_understood_as_far_as_it_goes(#[case] text: &str, #[case] words: &[&str]) {
    assert_eq!(json::<Void>(text).unwrap(), Answer::Failure(failure(words)));
}

#[rstest]
#[case("")]
#[case("null")]
#[case("[]")]
#[case("{}")]
#[case(r#"{"id":1}"#)]
#[case(r#"{"error":null}"#)]
#[case(r#"{"error":[]}"#)]
#[case(r#"{"error":{}}"#)]
#[case(r#"{"error":"text"}"#)]
#[case(r#"{"result":"a"}{"result":"b"}"#)]
#[case(r#"{"result":"a","result":"b"}"#)]
#[case(r#"{"result":5}"#)]
#[case(r#"{"result":"a""#)]
#[case("{\"result\":\"\u{1}\"}")]
#[case(r#"{"result":"\ud800"}"#)]
fn what_is_no_json_answer_is_malformed(#[case] text: &str) {
    let error = json::<String>(text).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
}

#[test]
fn void_is_an_empty_text_or_null() {
    for text in [r#"{"result":"","id":1}"#, r#"{"result":null,"id":1}"#, r#"{"result":null,"error":null,"id":1}"#] {
        assert_eq!(json::<Void>(text).unwrap(), Answer::Value(Void), "{text}");
    }
    for text in ["<value></value>", "<value/>", "<value><nil/></value>", "<value><string/></value>"] {
        assert_eq!(xml::<Void>(&success(text)).unwrap(), Answer::Value(Void), "{text}");
    }
}

#[test]
fn a_null_where_a_value_is_wanted_is_no_value() {
    assert!(json::<String>(r#"{"result":null,"id":1}"#).is_err());
    assert_eq!(json::<Option<String>>(r#"{"result":null,"id":1}"#).unwrap(), Answer::Value(None));
}

#[derive(Debug, PartialEq, Deserialize)]
struct Sample {
    text: String,
    int: Int64,
    plain_int: i64,
    yes: bool,
    no: bool,
    float: Number,
    plain_float: f64,
    date: Date,
    reference: Ref<Any>,
    set: Vec<String>,
    map: StringMap,
    there: Option<String>,
    #[serde(default)]
    missing: Option<String>,
}

fn sample() -> Sample {
    Sample {
        text: " a<b>&'\"ü\u{1F4BE} ".to_owned(),
        int: Int64(9_007_199_254_740_993),
        plain_int: -1,
        yes: true,
        no: false,
        float: Number(0.5),
        plain_float: 1.0,
        date: "20261122T15:54:34Z".parse().unwrap(),
        reference: Ref::new("OpaqueRef:fc1a8f66-7d9b-a6aa-2371-a75a24254ce2"),
        set: vec!["b".to_owned(), String::new()],
        map: [("k<&>", "v<&>"), ("", "empty")].into_iter().collect(),
        there: Some("x".to_owned()),
        missing: None,
    }
}

const SAMPLE_XML: &str = "<value><struct>\
    <member><name>text</name><value> a&lt;b&gt;&amp;&apos;&quot;&#xfc;\u{1F4BE} </value></member>\
    <member><name>unknown</name><value><struct><member><name>a & b</name><value><array><data><value>1</value>\
        <value><i4>2</i4></value></data></array></value></member></struct></value></member>\
    <member><name>int</name><value>9007199254740993</value></member>\
    <member><name>plain_int</name><value><i4>-1</i4></value></member>\
    <member><name>yes</name><value><boolean>1</boolean></value></member>\
    <member><name>no</name><value><boolean>0</boolean></value></member>\
    <member><name>float</name><value><double>0.5</double></value></member>\
    <member><name>plain_float</name><value><double>1</double></value></member>\
    <member><name>date</name><value><dateTime.iso8601>20261122T15:54:34Z</dateTime.iso8601></value></member>\
    <member><name>reference</name><value><string>OpaqueRef:fc1a8f66-7d9b-a6aa-2371-a75a24254ce2</string></value></member>\
    <member><name>set</name><value><array><data><value>b</value><value/></data></array></value></member>\
    <member><name>map</name><value><struct><member><name>k<&></name><value>v&lt;&amp;&gt;</value></member>\
        <member><name></name><value>empty</value></member></struct></value></member>\
    <member><name>there</name><value><![CDATA[x]]></value></member>\
    </struct></value>";

const SAMPLE_JSON: &str = r#"{"result":{"text":" a<b>&'\"\u00fc\ud83d\udcbe ","unknown":{"a & b":[1,{"c":null}]},
    "int":"9007199254740993","plain_int":-1,"yes":true,"no":false,"float":0.5,"plain_float":1,"date":"2026-11-22T16:54:34+01:00",
    "reference":"OpaqueRef:fc1a8f66-7d9b-a6aa-2371-a75a24254ce2","set":["b",""],"map":{"k<&>":"v<&>","":"empty"},"there":"x"}}"#;

#[test]
fn values_are_read_by_type_on_both_wires() {
    assert_eq!(value(xml::<Sample>(&success(SAMPLE_XML)).unwrap()), sample());
    assert_eq!(value(json::<Sample>(SAMPLE_JSON).unwrap()), sample());
}

#[test]
fn an_answer_decodes_however_it_is_cut_into_pieces() {
    let xml = success(SAMPLE_XML);
    for size in (1..80).chain([xml.len() - 1]) {
        let answer = decode::<Sample>(Wire::Xml, in_pieces(xml.as_bytes(), size), Limits::default());
        assert_eq!(value(answer.unwrap()), sample(), "pieces of {size}");
        let answer = decode::<Sample>(Wire::Json, in_pieces(SAMPLE_JSON.as_bytes(), size), Limits::default());
        assert_eq!(value(answer.unwrap()), sample(), "pieces of {size}");
    }
}

#[test]
fn who_asks_for_anything_gets_text_for_untagged_text() {
    let text = success("<value><array><data><value>5</value><value><i4>5</i4></value><value>true</value></data></array></value>");
    assert_eq!(value(xml::<Value>(&text).unwrap()), serde_json::json!(["5", 5, "true"]));
}

#[rstest]
#[case("k<&>")]
#[case("<")]
#[case("</name")]
#[case("</name>")]
#[case("a</name></member>")]
#[case("</name>  <val")]
#[case("<<</name></name>")]
#[case("<name>")]
#[case("&amp;")]
#[case("&#65;")]
#[case("<![CDATA[x]]>")]
#[case("<!-- x -->")]
#[case(" blanks ")]
#[case("ü\u{1F4BE}<ü")]
fn a_key_is_literally_what_stands_there(#[case] key: &str) {
    let text = success(&format!(
        "<value><struct><member><name>{key}</name><value>1</value></member>\
         <member><name>{key}.</name>\n <value><string>2</string></value></member></struct></value>"
    ));
    let expected = BTreeMap::from([(key.to_owned(), "1".to_owned()), (format!("{key}."), "2".to_owned())]);
    for size in (1..40).chain([4096]) {
        let answer = decode::<BTreeMap<String, String>>(Wire::Xml, in_pieces(text.as_bytes(), size), Limits::default());
        assert_eq!(value(answer.unwrap()), expected, "pieces of {size}");
    }
}

#[test]
fn an_answer_may_be_indented_and_commented() {
    let text = "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<!-- proxy -->\n<methodResponse>\n <params>\n  <param>\n   <value>\n    <struct>\
        \n<member>\n<name>Value</name>\n<value>\n<array>\n<data>\n<value>a</value>\n<?pi x?><value><string>b</string></value>\n\
        </data>\n</array>\n</value>\n</member>\n<member>\n<name>Other</name><value><struct/></value></member>\
        <member><name>Status</name><value><string>Success</string></value></member></struct></value></param></params>\
        </methodResponse>\n<!-- end -->\n";
    assert_eq!(value(xml::<Vec<String>>(text).unwrap()), ["a", "b"]);
}

#[test]
fn an_answer_without_a_status_is_a_bare_array() {
    let text = "<methodResponse><params><param><value><array><data><value>session.get_record</value></data></array></value>\
        </param></params></methodResponse>";
    assert_eq!(value(xml::<Vec<String>>(text).unwrap()), ["session.get_record"]);
}

#[test]
fn an_xml_failure_is_a_failure_whatever_was_asked_for() {
    let text = "<methodResponse><params><param><value><struct><member><name>Status</name><value>Failure</value></member>\
        <member><name>ErrorDescription</name><value><array><data><value>HOST_IS_SLAVE</value><value>10.0.0.1</value></data></array>\
        </value></member></struct></value></param></params></methodResponse>";
    assert_eq!(xml::<i64>(text).unwrap(), Answer::Failure(failure(&["HOST_IS_SLAVE", "10.0.0.1"])));
}

#[test]
fn a_fault_is_an_internal_error() {
    let text = "<?xml version=\"1.0\"?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-3</int></value>\
        </member><member><name>faultString</name><value><string>bad &lt;xml&gt;</string></value></member></struct></value></fault>\
        </methodResponse>";
    assert_eq!(xml::<String>(text).unwrap(), Answer::Failure(failure(&["INTERNAL_ERROR", "bad <xml>"])));
}

#[rstest]
#[case("")]
#[case("{\"result\":1}")]
#[case("<html><body>500</body></html>")]
#[case("<methodResponse/>")]
#[case("<methodResponse></methodResponse>")]
#[case("<methodResponse><params></params></methodResponse>")]
#[case("<methodResponse><params><param><value>text</value></param></params></methodResponse>")]
#[case("<methodResponse><params><param><value><struct></struct></value></param></params></methodResponse>")]
#[case("<methodResponse><fault><value>text</value></fault></methodResponse>")]
fn what_is_no_xml_answer_is_malformed(#[case] text: &str) {
    let error = xml::<String>(text).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
}

#[rstest]
#[case::two_values("<value>a</value><value>b</value>")]
#[case::text_beside_a_tag("<value>a<string>b</string></value>")]
#[case::text_after_a_tag("<value><string>b</string>c</value>")]
#[case::two_tags("<value><string>a</string><string>b</string></value>")]
#[case::unknown_tag("<value><text>a</text></value>")]
#[case::unclosed("<value><string>a</value>")]
#[case::unknown_entity("<value>&nbsp;</value>")]
#[case::zero_character("<value>&#0;</value>")]
#[case::lone_ampersand("<value>a & b</value>")]
#[case::wrong_type("<value><struct></struct></value>")]
fn a_value_that_is_none_is_malformed(#[case] value: &str) {
    let error = xml::<String>(&success(value)).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
}

#[test]
fn nothing_is_defined_and_nothing_is_expanded() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;\">]>";
    let error = xml::<String>(&format!("<?xml version=\"1.0\"?>{bomb}{}", &success("<value>&b;</value>")[21..])).unwrap_err();
    assert!(matches!(&error, DecodeError::Malformed(what) if what.contains("document type")), "{error:?}");
}

#[test]
fn bytes_that_are_no_text_are_malformed_wherever_they_stand() {
    let places = ["<value>\u{1}</value>", "<value><struct><member><name>\u{1}</name><value>x</value></member></struct></value>"];
    for place in places {
        let bytes: Vec<u8> = success(place).bytes().map(|b| if b == 1 { 0xff } else { b }).collect();
        let error = decode::<Value>(Wire::Xml, &bytes[..], Limits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
    }
    let error = decode::<Value>(Wire::Json, &b"{\"result\":\"\xff\"}"[..], Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
}

#[test]
fn an_answer_that_ends_early_is_malformed_at_every_byte() {
    let xml = success(SAMPLE_XML);
    for end in 0..xml.len() {
        let error = decode::<Sample>(Wire::Xml, &xml.as_bytes()[..end], Limits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "at {end}: {error:?}");
    }
    for end in 0..SAMPLE_JSON.len() {
        let error = decode::<Sample>(Wire::Json, &SAMPLE_JSON.as_bytes()[..end], Limits::default()).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "at {end}: {error:?}");
    }
}

#[test]
fn a_reader_that_fails_is_told_apart_from_an_answer_that_is_none() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset"))
        }
    }
    for (wire, start) in [(Wire::Json, "{\"result\":\"a"), (Wire::Xml, "<methodResponse><params>"), (Wire::Xml, "")] {
        let reader = std::io::BufReader::new(std::io::Read::chain(start.as_bytes(), Broken));
        let error = decode::<String>(wire, reader, Limits::default()).unwrap_err();
        assert!(
            matches!(&error, DecodeError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset),
            "{wire:?} {start:?}: {error:?}"
        );
    }
}

/// Puts a text somewhere into an answer.
type Shape = fn(&str) -> (Wire, String);

fn nested_json(depth: usize) -> String {
    format!("{{\"result\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
}

fn nested_xml(depth: usize) -> String {
    success(&format!("{}<value></value>{}", "<value><array><data>".repeat(depth), "</data></array></value>".repeat(depth)))
}

#[test]
fn nesting_is_limited_alike_on_both_wires() {
    let limits = Limits { depth: 5, ..Limits::default() };
    for (wire, text) in [(Wire::Json, nested_json as fn(usize) -> String), (Wire::Xml, nested_xml)] {
        // The envelope is one level.
        decode::<Value>(wire, text(4).as_bytes(), limits).unwrap();
        let error = decode::<Value>(wire, text(5).as_bytes(), limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge(_)), "{wire:?}: {error:?}");
        let error = decode::<Void>(wire, text(5).as_bytes(), limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge(_)), "{wire:?}, skipped: {error:?}");
    }
}

#[test]
fn no_limit_lets_nesting_reach_the_stack() {
    let limits = Limits { depth: u32::MAX, ..Limits::default() };
    for (wire, text) in [(Wire::Json, nested_json(100_000)), (Wire::Xml, nested_xml(100_000))] {
        let error = decode::<Value>(wire, text.as_bytes(), limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge(_)), "{wire:?}: {error:?}");
    }
}

#[test]
fn strings_keys_and_tags_are_limited() {
    let limits = Limits { text: 100, ..Limits::default() };
    let (fits, long) = ("a".repeat(100), "a".repeat(101));
    let shapes: [Shape; 7] = [
        |text| (Wire::Json, format!("{{\"result\":\"{text}\"}}")),
        |text| (Wire::Json, format!("{{\"result\":{{\"{text}\":\"\"}}}}")),
        |text| (Wire::Xml, success(&format!("<value>{text}</value>"))),
        |text| (Wire::Xml, success(&format!("<value><string>{text}</string></value>"))),
        |text| (Wire::Xml, success(&format!("<value><![CDATA[{text}]]></value>"))),
        |text| (Wire::Xml, success(&format!("<value>{}&amp;&lt;</value>", &text[..text.len() - 2]))),
        |text| (Wire::Xml, success(&format!("<value><struct><member><name>{text}</name><value/></member></struct></value>"))),
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let (wire, text) = shape(&fits);
        decode::<Value>(wire, text.as_bytes(), limits).unwrap_or_else(|error| panic!("shape {index}: {error:?}"));
        let (wire, text) = shape(&long);
        for size in [1, 7, 8192] {
            let error = decode::<Value>(wire, in_pieces(text.as_bytes(), size), limits).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge(_)), "shape {index}: {error:?}");
        }
    }
}

#[test]
fn a_whole_answer_is_limited() {
    for (wire, text) in [(Wire::Json, "{\"result\":\"a\"}".to_owned()), (Wire::Xml, success("<value>a</value>"))] {
        let limits = Limits { bytes: text.len() as u64, ..Limits::default() };
        decode::<String>(wire, text.as_bytes(), limits).unwrap();
        let error = decode::<String>(wire, text.as_bytes(), Limits { bytes: limits.bytes - 1, ..limits }).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge(_)), "{wire:?}: {error:?}");
    }
}

#[test]
fn an_error_description_is_limited_without_losing_its_code() {
    let many = format!("{{\"error\":[\"CODE\"{}]}}", ",\"x\"".repeat(10_000));
    let Answer::Failure(failure) = json::<Void>(&many).unwrap() else { panic!("a failure") };
    assert_eq!((failure.code.as_str(), failure.params.len()), ("CODE", 255));
    let long = format!("{{\"error\":[\"CODE\",\"{}\",\"y\"]}}", "x".repeat(1 << 20));
    let Answer::Failure(failure) = json::<Void>(&long).unwrap() else { panic!("a failure") };
    assert_eq!((failure.code.as_str(), failure.params.len()), ("CODE", 0));
}

#[test]
fn the_result_of_a_task_is_xml_on_either_wire() {
    let reference = "OpaqueRef:9a2d96c9-11a2-bb38-37b9-64491efbdfd3";
    assert_eq!(task_result::<Ref<Any>>(&format!("<value>{reference}</value>")).unwrap(), Ref::new(reference));
    assert_eq!(task_result::<Ref<Any>>(reference).unwrap(), Ref::new(reference));
    let set = format!("<value><array><data><value>{reference}</value></data></array></value>");
    assert_eq!(task_result::<Vec<Ref<Any>>>(&set).unwrap(), [Ref::new(reference)]);
    assert_eq!(task_result::<String>("<value>a&lt;b&amp;c</value>").unwrap(), "a<b&c");
    for void in ["", " ", "\"\"", "<value></value>", "<value/>"] {
        assert_eq!(task_result::<Void>(void).unwrap(), Void, "{void:?}");
    }
    for wrong in ["<value>", "<value></value><value></value>", "<string>a</string>", "</value>"] {
        assert!(task_result::<Void>(wrong).is_err(), "{wrong:?}");
    }
}
