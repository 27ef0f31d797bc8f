//! Compares two answers token by token.

use std::collections::HashMap;

/// What may differ besides references and uuids that the simulator made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Dates, all of them.
    Dates,
    /// The value of this field (JSON member or XML `<name>`), whatever it is.
    Field(&'static str),
}

/// Which of the simulator's references and uuids stands for which recorded one.
#[derive(Debug, Default)]
pub struct Bindings {
    recorded: HashMap<String, String>,
    simulated: HashMap<String, String>,
}

const UUID: usize = 36;
const DATE: usize = "20261122T16:01:47Z".len();

impl Bindings {
    /// Puts the simulator's references into a recorded request.
    pub fn translate(&self, request: &[u8]) -> Vec<u8> {
        let mut bytes = request.to_vec();
        let mut at = 0;
        while at + UUID <= bytes.len() {
            if let Some(uuid) = uuid_at(&bytes[at..])
                && let Some(own) = self.recorded.get(uuid)
            {
                bytes[at..at + UUID].copy_from_slice(own.as_bytes());
                at += UUID;
            } else {
                at += 1;
            }
        }
        bytes
    }

    /// Lets one of the simulator's references or uuids stand for a recorded one; false when either stands for another already.
    pub fn bind(&mut self, recorded: &str, simulated: &str) -> bool {
        let forth = self.recorded.entry(recorded.to_owned()).or_insert_with(|| simulated.to_owned());
        let back = self.simulated.entry(simulated.to_owned()).or_insert_with(|| recorded.to_owned());
        forth == simulated && back == recorded
    }
}

/// The first difference between a recorded body and the simulator's, as text; none when there is none.
pub fn difference(bindings: &mut Bindings, masks: &[Mask], recorded: &[u8], simulated: &[u8], cut_off: bool) -> Option<String> {
    let (recorded, simulated) = (blank(masks, recorded), blank(masks, simulated));
    let (mut a, mut b) = (&recorded[..], &simulated[..]);
    loop {
        match (a.first(), b.first()) {
            (None, None) => return None,
            (None, Some(_)) if cut_off => return None,
            _ => {}
        }
        if let (Some(x), Some(y)) = (uuid_at(a), uuid_at(b)) {
            if !bindings.bind(x, y) {
                return Some(format!("{x} does not stand for {y}\n{}", around(&recorded, &simulated, a, b)));
            }
            (a, b) = (&a[UUID..], &b[UUID..]);
        } else if masks.contains(&Mask::Dates) && is_date(a) && is_date(b) {
            (a, b) = (&a[DATE..], &b[DATE..]);
        } else if a.first() == b.first() {
            (a, b) = (&a[1..], &b[1..]);
        } else if cut_off && a.len() < UUID && a.iter().zip(b).take_while(|(x, y)| x == y).count() < a.len() {
            // A reference was cut in two.
            return None;
        } else {
            return Some(around(&recorded, &simulated, a, b));
        }
    }
}

fn around(recorded: &[u8], simulated: &[u8], a: &[u8], b: &[u8]) -> String {
    let show = |whole: &[u8], rest: &[u8]| {
        let at = whole.len() - rest.len();
        let (from, to) = (at.saturating_sub(120), whole.len().min(at + 120));
        format!("{}⟦here⟧{}", String::from_utf8_lossy(&whole[from..at]), String::from_utf8_lossy(&whole[at..to]))
    };
    format!("recorded:  {}\nsimulated: {}", show(recorded, a), show(simulated, b))
}

fn uuid_at(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes.get(..UUID)?).ok()?;
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    });
    shape.then_some(text)
}

fn is_date(bytes: &[u8]) -> bool {
    let Some(text) = bytes.get(..DATE) else { return false };
    text.iter().enumerate().all(|(at, byte)| match at {
        8 => *byte == b'T',
        11 | 14 => *byte == b':',
        17 => *byte == b'Z',
        _ => byte.is_ascii_digit(),
    })
}

/// Empties the values of masked fields.
fn blank(masks: &[Mask], body: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for mask in masks {
        if let Mask::Field(name) = mask {
            text = empty(&text, &format!("\"{name}\":"), &[',', '}']);
            text = empty(&text, &format!("<name>{name}</name><value>"), &['<']);
        }
    }
    text.into_bytes()
}

fn empty(text: &str, start: &str, ends: &[char]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(start) {
        let (before, value) = rest.split_at(at + start.len());
        out.push_str(before);
        rest = value.find(ends).map_or("", |end| &value[end..]);
    }
    out.push_str(rest);
    out
}
