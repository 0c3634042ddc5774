//! The canaries, in every form in which they might come out.

use base64::{Engine, engine::general_purpose::STANDARD};
use feldakte_tests::harness::issuer::user;

/// A patient's name: occurs nowhere by accident.
pub const NAME: &str = "Kanarienvogel Schnäpperhühnchen";
/// What a user signs in as.
pub const LOGIN: &str = "zaunkönig.0815@kreis.example";

/// What is looked for.
pub struct Canary {
    what: &'static str,
    /// With a word for the form.
    forms: Vec<(&'static str, String)>,
}

impl Canary {
    /// The patient.
    pub fn name() -> Self {
        let forms = NAME.split(' ').flat_map(forms_of).collect();
        Self { what: "the patient's name", forms }
    }

    /// The user.
    pub fn login() -> Self {
        let forms = LOGIN.split(['.', '@']).filter(|part| part.len() > 7).flat_map(forms_of).collect();
        Self { what: "the user's login", forms }
    }

    /// The user's pseudonym.
    pub fn pseudonym() -> Self {
        let id = user(LOGIN).to_string();
        let simple = id.replace('-', "");
        let bytes: Vec<u8> = (0..16).map(|n| u8::from_str_radix(&simple[2 * n..2 * n + 2], 16).unwrap()).collect();
        let mut forms = forms_of_bytes(&bytes);
        forms.push(("hyphenated", id));
        Self { what: "the user's pseudonym", forms }
    }

    /// The forms that occur in `text`, and the line each first occurs in.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let folded = text.to_lowercase();
        let hits = self.forms.iter().filter_map(|(form, wanted)| {
            let is_exact = *form == "base64";
            let place = if is_exact { text.find(wanted) } else { folded.find(&wanted.to_lowercase()) }?;
            let text = if is_exact { text } else { &folded };
            let line = text[..place].matches('\n').count();
            let line = text.lines().nth(line).unwrap_or_default();
            Some(format!("{} ({form}): {}", self.what, line.chars().take(600).collect::<String>()))
        });
        hits.collect()
    }
}

/// Asserts that neither the patient nor the user stands there.
pub fn assert_unnamed(place: &str, text: &str) {
    assert_none(place, text, &[Canary::name(), Canary::login(), Canary::pseudonym()]);
}

/// The same of what may hold pseudonyms.
pub fn assert_pseudonymous(place: &str, text: &str) {
    assert_none(place, text, &[Canary::name(), Canary::login()]);
}

fn assert_none(place: &str, text: &str, canaries: &[Canary]) {
    let found: Vec<_> = canaries.iter().flat_map(|canary| canary.found_in(text)).collect();
    assert!(found.is_empty(), "in {place}: {found:#?}");
}

fn forms_of(word: &str) -> Vec<(&'static str, String)> {
    let mut forms = vec![("plain", word.to_owned()), ("escaped", word.escape_default().to_string())];
    let of_bytes = |escape: &dyn Fn(u8) -> String| {
        word.bytes().map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { escape(byte) }).collect()
    };
    forms.push(("bytes", of_bytes(&|byte| format!("\\x{byte:02x}"))));
    forms.push(("octal", of_bytes(&|byte| format!("\\{byte:03o}"))));
    forms.push(("percent", of_bytes(&|byte| format!("%{byte:02x}"))));
    let json = word.chars().map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) });
    forms.push(("json", json.collect()));
    let latin = word.chars().map(|c| if c.is_ascii() { c.to_string() } else { "\u{fffd}".into() });
    forms.push(("broken", latin.collect()));
    forms.extend(forms_of_bytes(word.as_bytes()));
    forms
}

fn forms_of_bytes(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let joined =
        |separator: &str, format: &dyn Fn(&u8) -> String| bytes.iter().map(format).collect::<Vec<_>>().join(separator);
    let mut forms = vec![
        ("hex", joined("", &|byte| format!("{byte:02x}"))),
        ("hex bytes", joined(" ", &|byte| format!("{byte:02x}"))),
        ("list", joined(", ", &|byte| byte.to_string())),
        ("hex list", joined(", ", &|byte| format!("{byte:02x}"))),
        ("0x list", joined(", ", &|byte| format!("0x{byte:02x}"))),
        ("list of lines", joined(",\n", &|byte| format!("    {byte}"))),
    ];
    // Wherever it begins among the three bytes that become four letters; the letters that hold other bytes as well are cut.
    for before in 0..3 {
        let padded = [&vec![0; before], bytes].concat();
        let letters = STANDARD.encode(&padded);
        let whole = &letters[(before * 8).div_ceil(6)..padded.len() * 8 / 6];
        forms.push(("base64", whole.to_owned()));
        forms.push(("base64", whole.replace('+', "-").replace('/', "_")));
    }
    forms
}

#[test]
fn the_search_finds_every_form_in_which_it_is_put() {
    let name = Canary::name();
    let word = NAME.split(' ').nth(1).unwrap();
    let bytes = NAME.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let planted = [
        NAME.to_owned(),
        NAME.to_uppercase(),
        format!("{NAME:?}"),
        format!("{:?}", bytes::Bytes::from(NAME)),
        format!("{bytes:?}"),
        format!("{:#?}", word.as_bytes()),
        format!("{:x?}", bytes),
        serde_json::to_string(&serde_json::json!({ "x": word })).unwrap(),
        NAME.escape_default().to_string(),
        hex,
        STANDARD.encode(NAME),
        STANDARD.encode(format!("a{NAME}")),
        STANDARD.encode(format!("ab{NAME}z")),
        "Schn%C3%A4pperh%C3%BChnchen".to_owned(),
        "Schn\\u00e4pperh\\u00fchnchen".to_owned(),
        String::from_utf8_lossy(b"Schn\xe4pperh\xfchnchen").into_owned(),
    ];
    let missed: Vec<_> =
        planted.iter().filter(|text| name.found_in(&format!("before {text} after")).is_empty()).collect();
    assert_eq!(missed, [""; 0]);
    let id = user(LOGIN).to_string();
    for text in [id.clone(), id.to_uppercase(), id.replace('-', "")] {
        assert_eq!(Canary::pseudonym().found_in(&text).len(), 1, "{text}");
    }
    assert!(!Canary::login().found_in(&format!("{LOGIN:?}")).is_empty());
    assert!(name.found_in("nothing of the kind, 4b61").is_empty());
}
