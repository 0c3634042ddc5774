//! How somebody signs in on the device.

use std::fmt;

use feldakte_core::ids::UserId;

/// Proof of who somebody is. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum SignIn {
    /// An OIDC access token, which the gateway judges: there has to be a network.
    Token(String),
    /// A login and its PIN, which the device judges: see [`crate::Client::set_pin`].
    Pin {
        /// As the user was made with.
        login: String,
        /// The PIN.
        pin: String,
    },
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SignIn::Token(_) => "Token(redacted)",
            SignIn::Pin { .. } => "Pin(redacted)",
        })
    }
}

/// Whom a token is about, unverified; `None` when it is none. It only tells where to resume from: who somebody is, the
/// gateway says.
pub(crate) fn user_of(token: &str) -> Option<UserId> {
    let payload = token.split('.').nth(1)?;
    let claims: serde_json::Value = serde_json::from_slice(&unbase64(payload)?).ok()?;
    let (issuer, subject) = (claims.get("iss")?.as_str()?, claims.get("sub")?.as_str()?);
    Some(UserId::of_subject(issuer, subject))
}

/// Base64 of URLs without padding (RFC 4648, 5).
fn unbase64(text: &str) -> Option<Vec<u8>> {
    base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_user_as_the_gateway_does() {
        let token = |claims: &str| {
            let payload = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims);
            format!("e30.{payload}.sig")
        };
        let user = user_of(&token(r#"{"iss":"https://sso.example","sub":"weber","exp":1}"#));
        assert_eq!(user, Some(UserId::of_subject("https://sso.example", "weber")));
        assert_ne!(user, user_of(&token(r#"{"iss":"https://sso.example","sub":"meyer"}"#)));
        for bad in ["", "a.b", "a.%%.c", &token("{}"), &token("[]"), &token(r#"{"iss":1,"sub":"x"}"#)] {
            assert_eq!(user_of(bad), None, "{bad}");
        }
        assert_eq!(format!("{:?}", SignIn::Token("geheim".into())), "Token(redacted)");
    }
}
