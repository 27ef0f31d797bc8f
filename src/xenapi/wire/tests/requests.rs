use rstest::rstest;

use super::super::{EncodeError, MAX_REQUEST, Param, Wire, encode};

fn text(wire: Wire, params: &[Param]) -> String {
    String::from_utf8(encode(wire, "VM.snapshot", params, 7).unwrap()).unwrap()
}

fn str(text: &str) -> Param {
    Param::Str(text.to_owned())
}

#[test]
fn a_json_request_is_version_2_with_positional_parameters_and_a_number_as_id() {
    let params = [str("OpaqueRef:1"), Param::Int(-9_007_199_254_740_993), Param::Bool(true), Param::Float(5.0)];
    assert_eq!(
        text(Wire::Json, &params),
        r#"{"jsonrpc":"2.0","method":"VM.snapshot","params":["OpaqueRef:1",-9007199254740993,true,5.0],"id":7}"#
    );
}

#[test]
fn an_xml_request_has_integers_as_text_and_booleans_as_digits() {
    let params = [str("OpaqueRef:1"), Param::Int(-9_007_199_254_740_993), Param::Bool(true), Param::Float(5.0)];
    assert_eq!(
        text(Wire::Xml, &params),
        "<?xml version=\"1.0\"?><methodCall><methodName>VM.snapshot</methodName><params>\
         <param><value><string>OpaqueRef:1</string></value></param>\
         <param><value><string>-9007199254740993</string></value></param>\
         <param><value><boolean>1</boolean></value></param>\
         <param><value><double>5.0</double></value></param>\
         </params></methodCall>"
    );
}

#[test]
fn sets_and_maps_keep_their_order() {
    let params = [
        Param::Set(vec![str("b"), str("a")]),
        Param::Map(vec![("z".to_owned(), str("1")), ("a".to_owned(), Param::Set(vec![]))]),
    ];
    assert!(text(Wire::Json, &params).contains(r#""params":[["b","a"],{"z":"1","a":[]}]"#));
    assert!(text(Wire::Xml, &params).contains(
        "<param><value><array><data><value><string>b</string></value><value><string>a</string></value></data></array></value></param>\
         <param><value><struct><member><name>z</name><value><string>1</string></value></member>\
         <member><name>a</name><value><array><data></data></array></value></member></struct></value></param>"
    ));
}

#[test]
fn what_either_wire_has_a_meaning_for_is_escaped() {
    let params = [str("a<b>&\"c\"\\\r\n\tü")];
    assert!(text(Wire::Json, &params).contains(r#"["a<b>&\"c\"\\\r\n\tü"]"#));
    assert!(text(Wire::Xml, &params).contains("<string>a&lt;b&gt;&amp;\"c\"\\&#13;\n\tü</string>"));
}

#[rstest]
#[case(str("a\u{0}"), "parameter 2 holds the character U+0000")]
#[case(str("a\u{1b}[31m"), "parameter 2 holds the character U+001B")]
#[case(str("\u{ffff}"), "parameter 2 holds the character U+FFFF")]
#[case(Param::Set(vec![str("fine"), str("\u{7}")]), "parameter 2 holds the character U+0007")]
#[case(Param::Map(vec![("k\u{b}".to_owned(), str("fine"))]), "parameter 2 holds the character U+000B")]
#[case(Param::Map(vec![("k".to_owned(), str("\u{c}"))]), "parameter 2 holds the character U+000C")]
#[case(Param::Float(f64::NAN), "parameter 2 holds the float NaN")]
#[case(Param::Float(f64::INFINITY), "parameter 2 holds the float inf")]
fn what_no_server_stores_is_refused_before_it_is_sent(#[case] param: Param, #[case] what: &str) {
    for wire in [Wire::Json, Wire::Xml] {
        let error = encode(wire, "VM.set_name_label", &[str("session"), param.clone()], 1).unwrap_err();
        assert!(matches!(&error, EncodeError::Unrepresentable { method, .. } if method == "VM.set_name_label"));
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[rstest]
#[case(Wire::Json)]
#[case(Wire::Xml)]
fn a_request_of_just_the_size_a_server_takes_is_made_and_one_byte_more_is_not(#[case] wire: Wire) {
    let overhead = encode(wire, "x.y", &[str("")], 1).unwrap().len();
    let fits = str(&"a".repeat(MAX_REQUEST - overhead));
    assert_eq!(encode(wire, "x.y", &[fits], 1).unwrap().len(), 300 * 1024);
    let error = encode(wire, "x.y", &[str(&"a".repeat(MAX_REQUEST - overhead + 1))], 1).unwrap_err();
    assert!(matches!(error, EncodeError::TooLarge { bytes, .. } if bytes == MAX_REQUEST + 1));
}
