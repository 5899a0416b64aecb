//! How messages are signed: Standard Webhooks 1.0, symmetric.
//!
//! A secret is `whsec_` and base64. The signature is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`; with several secrets there
//! are several, separated by spaces.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use claviger_model::Secret;
use ring::hmac;

/// What is shorter could be guessed, in bytes.
const SHORTEST: usize = 16;

const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Signs with each of these secrets. The error says what is wrong with one, and nothing of it.
pub(super) fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &str) -> Result<String, &'static str> {
    let signature = |secret: &Secret| -> Result<String, &'static str> {
        let mut context = hmac::Context::with_key(&key(secret)?);
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            context.update(part.as_bytes());
        }
        Ok(format!("v1,{}", BASE64.encode(context.sign())))
    };
    let signatures: Result<Vec<_>, _> = secrets.iter().map(signature).collect();
    Ok(signatures?.join(" "))
}

fn key(secret: &Secret) -> Result<hmac::Key, &'static str> {
    let encoded = secret.expose_str().and_then(|text| text.trim().strip_prefix("whsec_"));
    let encoded = encoded.ok_or("a secret does not begin with `whsec_`")?;
    let key = BASE64.decode(encoded).map_err(|_| "what follows `whsec_` in a secret is not base64")?;
    if key.len() < SHORTEST {
        return Err("a secret is shorter than 16 bytes");
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn signed(secrets: &[&str]) -> Result<String, &'static str> {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
        sign(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert_eq!(signed(&[secret]).unwrap(), one);
        let both = signed(&[secret, "whsec_AAAAAAAAAAAAAAAAAAAAAA"]).unwrap();
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first == one && second.starts_with("v1,") && second != one);
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for wrong in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_%%%%", "whsec_c2hvcnQ="] {
            let error = signed(&[wrong]).unwrap_err();
            assert!(wrong.len() < 7 || !error.contains(wrong), "{error}");
        }
    }
}
