#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::hex;

/// The eight leaves with which certificate transparency implementations are tested, and the roots over the first 0 to 8.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn roots_are_those_of_certificate_transparency() {
    let mut tree = Frontier::default();
    assert_eq!(hex::encode(&tree.root()), ROOTS[0]);
    for (leaf, expected) in LEAVES.iter().zip(&ROOTS[1..]) {
        tree.push(leaf_hash(leaf));
        assert_eq!(hex::encode(&tree.root()), *expected);
        assert_eq!(Frontier::from_parts(tree.size(), tree.peaks().to_vec()), Some(tree.clone()));
    }
    assert_eq!(Frontier::from_parts(7, tree.peaks().to_vec()), None);
}

/// RFC 9162 §2.1.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let k = (leaves.len() - 1).ilog2();
            let (left, right) = leaves.split_at(1 << k);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// RFC 9162 §2.1.3.1, word for word.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(k);
    let (mut rest, other) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    rest.push(other);
    rest
}

/// RFC 9162 §2.1.4.1, word for word.
fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(k);
    let (mut rest, other) =
        if m <= k { (subproof(m, left, known), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
    rest.push(other);
    rest
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

proptest! {
    #[test]
    fn roots_and_proofs_are_those_of_the_rfc(count in 1usize..130, index in any::<prop::sample::Index>()) {
        let leaves = leaves(count);
        let index = index.index(count);
        prop_assert_eq!(root(&leaves), mth(&leaves));
        prop_assert_eq!(inclusion_proof(&leaves, index).unwrap(), path(index, &leaves));
        prop_assert_eq!(consistency_proof(&leaves, index + 1).unwrap(), subproof(index + 1, &leaves, true));
    }

    #[test]
    fn inclusion_holds_only_where_it_does(count in 1usize..100, index in any::<prop::sample::Index>(), other in 0u64..110) {
        let leaves = leaves(count);
        let (index, size, root) = (index.index(count), count as u64, root(&leaves));
        let mut proof = inclusion_proof(&leaves, index).unwrap();
        prop_assert!(verify_inclusion(&leaves[index], index as u64, size, &proof, &root));
        prop_assert_eq!(verify_inclusion(&leaves[index], other, size, &proof, &root), other == index as u64);
        prop_assert!(!verify_inclusion(&[9; 32], index as u64, size, &proof, &root));
        proof.push([0; 32]);
        prop_assert!(!verify_inclusion(&leaves[index], index as u64, size, &proof, &root));
        prop_assert_eq!(inclusion_proof(&leaves, count), None);
    }

    #[test]
    fn consistency_holds_only_where_it_does(count in 1usize..100, first in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>()) {
        let all = leaves(count);
        let first = first.index(count) + 1;
        let (old, new) = (root(&all[..first]), root(&all));
        let proof = consistency_proof(&all, first).unwrap();
        prop_assert!(verify_consistency(first as u64, &old, count as u64, &new, &proof));
        let mut fork = all;
        fork[changed.index(first)] = [9; 32];
        let forked = consistency_proof(&fork, first).unwrap();
        prop_assert!(!verify_consistency(first as u64, &old, count as u64, &root(&fork), &forked));
        prop_assert!(!verify_consistency(first as u64, &old, count as u64, &new, &[proof, vec![[0; 32]]].concat()));
    }
}
