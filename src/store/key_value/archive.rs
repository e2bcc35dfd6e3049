//! A key-value store keeps no payloads of delivered starts: a list of all keys would grow with each of them.

use super::state::KeyValueStore;
use crate::delivery::{Delivery, DeliveryId, Key, StoredError};
use crate::ports::StoreError;
use crate::store::archive::{Archive, Kept};

impl<H> Archive for KeyValueStore<'_, H> {
    async fn keep_payloads(&self, _: &[&Delivery<'_>]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn kept(&self, _: Option<DeliveryId>, _: Option<DeliveryId>) -> Result<Vec<Kept>, StoreError> {
        Ok(Vec::new())
    }

    async fn show_kept(&self, _: DeliveryId) -> Result<Option<Result<Delivery<'static>, StoredError>>, StoreError> {
        Ok(None)
    }

    async fn replay(&self, _: &mut Delivery<'_>, _: Key) -> Result<bool, StoreError> {
        Ok(false)
    }
}
