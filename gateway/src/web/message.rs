//! The first messages of a browser's session, in JSON. All others are `feldakte_core::call::{Say, Told}` as serde has them.

use feldakte_core::{
    access::Role,
    call::Told,
    ids::{DeviceId, SessionId, TenantId, UnitId, UserId},
    limits,
};
use feldakte_proto::CloseCode;
use serde::{Deserialize, Serialize, Serializer};

/// The first message of a page.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum First {
    /// `{"hello":{"token":"…"}}`, or `{"hello":{}}` where the certificate says it all.
    Hello(Hello),
}

/// Who is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    /// An access token of the user.
    pub(super) token: Option<String>,
}

/// What the page is told before anything else.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FirstTold {
    /// It is let in.
    Welcome(Welcome),
}

/// As whom, and until when.
#[derive(Serialize)]
pub(super) struct Welcome {
    #[serde(serialize_with = "as_text")]
    pub(super) session: SessionId,
    #[serde(serialize_with = "as_text")]
    pub(super) tenant: TenantId,
    #[serde(serialize_with = "as_text")]
    pub(super) unit: UnitId,
    #[serde(serialize_with = "as_text")]
    pub(super) device: DeviceId,
    pub(super) user: Option<String>,
    #[serde(serialize_with = "as_text")]
    pub(super) role: Role,
    /// When the sign-in ends, milliseconds since 1970-01-01 UTC: a new token wants a new connection before.
    pub(super) until_ms: Option<i64>,
    /// The gateway's clock, milliseconds since 1970-01-01 UTC.
    pub(super) server_time_ms: i64,
}

impl Hello {
    /// Reads the first message. One that is longer than a token's is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > limits::TOKEN_LEN_MAX + FRAME_OF_HELLO {
            return None;
        }
        serde_json::from_str(text).ok().map(|First::Hello(hello)| hello)
    }
}

impl Welcome {
    pub(super) fn user(user: Option<UserId>) -> Option<String> {
        user.map(|user| user.to_string())
    }

    pub(super) fn encode(self) -> String {
        serde_json::to_string(&FirstTold::Welcome(self)).expect("text and numbers")
    }
}

/// Anything about calls.
pub(super) fn encode(told: &Told) -> String {
    serde_json::to_string(told).expect("maps with text as keys, numbers and text")
}

/// How a page is told why the connection ends: applications have the codes from 4000 on (RFC 6455, 7.4.2).
pub(super) fn close_code_of(code: CloseCode) -> u16 {
    4000 + code as u16
}

fn as_text<S: Serializer>(id: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Braces, names and blanks around a token.
const FRAME_OF_HELLO: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_who_it_is_first_and_in_so_many_words() {
        let token = |text: &str| Hello::parse(text).map(|hello| hello.token);
        assert_eq!(token(r#"{"hello":{"token":"a.b.c"}}"#), Some(Some("a.b.c".into())));
        assert_eq!(token(r#"{"hello":{}}"#), Some(None));
        for text in ["", "{}", "\"join\"", r#"{"hello":{"tokn":""}}"#, r#"{"hello":{},"join":{}}"#, r#"{"hello":{}} x"#]
        {
            assert_eq!(token(text), None, "{text}");
        }
        let long = format!(r#"{{"hello":{{"token":"{}"}}}}"#, "a".repeat(limits::TOKEN_LEN_MAX + FRAME_OF_HELLO));
        assert_eq!(token(&long), None);
    }
}
