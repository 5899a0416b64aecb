//! The methods of labels, with their key.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use claviger_mask::methods::{MaskKey, Masks};
use claviger_session::Sent;
use claviger_store::Store;

use crate::config::Config;

/// The masks that a configuration asks for. Their key is made when it is first needed, unless the configuration says where it is.
pub(super) async fn masks(config: &Config, store: &Store) -> Result<Arc<Masks>> {
    let masking = &config.masking;
    let swaps = config.connections.iter().any(|connection| connection.contents.sent == Sent::Swapped);
    let is_keyed = swaps || masking.methods.iter().any(|(_, method)| method.is_keyed());
    let secret = match &masking.key {
        Some(reference) => {
            let secret = claviger_proxy::find_secret(reference).await;
            Some(secret.map_err(|error| anyhow!("the key of masks cannot be found: {error}"))?)
        }
        None if is_keyed => Some(store.mask_key().context("the key of masks cannot be kept")?),
        None => None,
    };
    let key = secret.map(|secret| {
        let too_short = || anyhow!("the key of masks is shorter than {} bytes", MaskKey::SHORTEST);
        MaskKey::new(&secret, masking.key_version).ok_or_else(too_short)
    });
    let masks = Masks::new(masking.methods.clone(), key.transpose()?);
    masks.map(Arc::new).ok_or_else(|| anyhow!("a mask needs a key and there is none"))
}
