//! The `md5` password answer (manual, 55.2.1). Weak, kept for old upstreams; sent only where the upstream asks for it.

use md5::{Digest, Md5};

/// `"md5" + hex(md5(hex(md5(password + user)) + salt))`.
pub(super) fn answer(user: &[u8], password: &[u8], salt: &[u8]) -> String {
    let inner = hex(&Md5::new().chain_update(password).chain_update(user).finalize());
    format!("md5{}", hex(&Md5::new().chain_update(inner).chain_update(salt).finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_a_known_answer() {
        // Computed with md5sum(1).
        assert_eq!(super::answer(b"md5_user", b"password", &[0x2a, 0x3d, 0x8f, 0xe0]), "md562af4dd09bbb41884907a838a3233294");
    }
}
