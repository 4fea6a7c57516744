//! The headers of Standard Webhooks (<https://www.standardwebhooks.com>), version 1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of `webhook-signature`: a signature with each key, so that the receiver may know any of them while secrets are changed.
pub(super) fn signature(keys: &[Vec<u8>], id: &str, time_s: u64, body: &[u8]) -> String {
    let one = |key: &Vec<u8>| {
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(format!("{id}.{time_s}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    keys.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_signed_as_it_says() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64");
        let (id, time_s, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(std::slice::from_ref(&key), id, time_s, body), expected);
        let both = signature(&[vec![1; 32], key], id, time_s, body);
        assert!(both.ends_with(expected) && both.split(' ').count() == 2, "{both}");
    }
}
