//! The Merkle tree over the leaves, as RFC 6962 and RFC 9162 §2.1 define it.
//!
//! [`Frontier`] is all that a log needs to keep: the roots of the perfect subtrees that make up its leaves, largest first.
//! Proofs are made from the list of leaf hashes, on request and off the hot path, and checked with nothing but themselves.

use ring::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// RFC 9162 §2.1.1: a leaf's hash, set apart from a node's by its first byte.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// RFC 9162 §2.1.1: a node's hash.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A tree that can only grow, in logarithmic space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One root for each bit set in `size`, the most significant first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// A tree from what [`Frontier::size`] and [`Frontier::peaks`] gave; `None` if they do not fit each other.
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (usize::try_from(size.count_ones()) == Ok(peaks.len())).then_some(Self { size, peaks })
    }

    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each subtree as large as what is being added merges with it, like a carry in binary addition.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root; of the empty tree, the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => sha256(&[]),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The root over a list of leaf hashes.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::default();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

/// RFC 9162 §2.1.3.1: that the leaf `index` is in the tree of these leaves. `None` if there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut part, mut index) = (leaves, index);
    while part.len() > 1 {
        let (left, right) = part.split_at_checked(split(part.len()))?;
        if index < left.len() {
            proof.push(root(right));
            part = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            part = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// RFC 9162 §2.1.4.1: that the tree of these leaves has the tree of the first `first` as its beginning. `None` if there are
/// fewer, or if `first` is zero, which proves nothing.
pub fn consistency_proof(leaves: &[Hash], first: usize) -> Option<Vec<Hash>> {
    if first == 0 || first > leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut part, mut first, mut known) = (leaves, first, true);
    while first < part.len() {
        let (left, right) = part.split_at_checked(split(part.len()))?;
        if first <= left.len() {
            proof.push(root(right));
            part = left;
        } else {
            proof.push(root(left));
            first -= left.len();
            part = right;
            known = false;
        }
    }
    if !known {
        proof.push(root(part));
    }
    proof.reverse();
    Some(proof)
}

/// The largest power of two smaller than `count`, which is at least two.
fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// RFC 9162 §2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for part in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(part, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, part);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// RFC 9162 §2.1.4.2.
pub fn verify_consistency(first: u64, first_root: &Hash, second: u64, second_root: &Hash, proof: &[Hash]) -> bool {
    if first == 0 || first > second {
        return false;
    }
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    let mut path = proof.iter();
    let start = if first.is_power_of_two() { Some(first_root) } else { path.next() };
    let Some(start) = start else { return false };
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut first_hash, mut second_hash) = (*start, *start);
    for part in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            first_hash = node_hash(part, &first_hash);
            second_hash = node_hash(part, &second_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            second_hash = node_hash(&second_hash, part);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && first_hash == *first_root && second_hash == *second_root
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
