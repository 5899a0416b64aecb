#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

/// A key and a note by the implementation from which the format comes (golang.org/x/mod/sumdb/note).
const FOREIGN_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const FOREIGN_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// RFC 8410 §7: an Ed25519 key of these 32 bytes.
pub(crate) fn signer(seed: u8) -> CheckpointSigner {
    let pkcs8 = [hex::decode::<16>("302e020100300506032b657004220420").unwrap().as_slice(), &[seed; 32]].concat();
    CheckpointSigner::from_pkcs8("gateway.example/log".parse().unwrap(), &pkcs8).unwrap()
}

#[test]
fn reads_keys_and_notes_of_others() {
    let key: VerifierKey = FOREIGN_KEY.parse().unwrap();
    assert_eq!(key.to_string(), FOREIGN_KEY);
    // Rightly signed, but no checkpoint of that log.
    assert_eq!(key.open(FOREIGN_NOTE), Err(NoteError::OtherLog));
    assert_eq!(key.open(&FOREIGN_NOTE.replace("answer", "Answer")), Err(NoteError::BadSignature));
    for bad in
        ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", &FOREIGN_KEY.replace("+AR", "+AA")]
    {
        assert_eq!(bad.parse::<VerifierKey>(), Err(KeyError::Public), "{bad}");
    }
}

#[test]
fn what_is_signed_is_read() {
    let (signer, other) = (signer(1), signer(2));
    let checkpoint = Checkpoint { size: 12, root: [7; 32] };
    let note = signer.sign(&checkpoint);
    let head = "gateway.example/log\n12\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n— gateway.example/log ";
    assert!(note.starts_with(head), "{note}");
    assert_eq!(signer.verifier().open(&note), Ok(checkpoint));
    assert_eq!(other.verifier().open(&note), Err(NoteError::Unsigned));
    let witness = "— witness.example AAAAAAAAAAAA\n";
    assert_eq!(signer.verifier().open(&format!("{note}{witness}")), Ok(checkpoint));
    assert_eq!(signer.verifier().open(&note.replace("\n12\n", "\n13\n")), Err(NoteError::BadSignature));
    for end in 0..note.len() {
        if note.is_char_boundary(end) {
            assert!(signer.verifier().open(&note[..end]).is_err(), "the first {end} bytes");
        }
    }
}

#[test]
fn origins_fit_notes_and_keys() {
    for bad in ["", "a b", "a+b", "a\n", &"x".repeat(256)] {
        assert_eq!(bad.parse::<Origin>(), Err(InvalidOrigin), "{bad:?}");
    }
}
