//! Puts the bytes of an import where they belong, whatever the size of the pieces they come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::simulator::context::Context;
use crate::simulator::error::{ApiError, ApiResult};
use crate::simulator::storage::content::{BLOCK, Block};
use crate::simulator::storage::ledger;
use crate::simulator::storage::volume::Layer;
use crate::simulator::value::Ref;

/// The most bytes of one disk that are kept as they came; zeros and what this server once exported cost nothing.
const MOST_STORED: usize = 512 << 20;

/// Writes one disk, from front to back.
#[derive(Debug)]
pub(in super::super) struct DiskWriter {
    vdi: Ref,
    size: u64,
    blocks: BTreeMap<u64, Block>,
    /// The block that is being put together, and its bytes.
    open: Option<(u64, Vec<u8>)>,
    stored: usize,
}

impl DiskWriter {
    /// A writer for a disk of `size` bytes.
    pub(in super::super) fn new(vdi: Ref, size: u64) -> Self {
        Self { vdi, size, blocks: BTreeMap::new(), open: None, stored: 0 }
    }

    /// Writes bytes at an offset.
    ///
    /// # Errors
    /// IMPORT_ERROR beyond the end of the disk; SR_BACKEND_FAILURE_44 when more comes than this storage keeps.
    pub(in super::super) fn write(&mut self, context: &Context, offset: u64, mut bytes: &[u8]) -> ApiResult<()> {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.size) {
            return Err(ApiError::new("IMPORT_ERROR", ["a chunk lies beyond the end of its disk"]));
        }
        let mut at = offset;
        while !bytes.is_empty() {
            let (number, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let length = bytes.len().min(BLOCK - within);
            self.turn_to(context, number)?;
            if let Some((_, buffer)) = &mut self.open {
                buffer.resize(buffer.len().max(within + length), 0);
                buffer[within..within + length].copy_from_slice(&bytes[..length]);
            }
            at += length as u64;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Closes the open block unless it is this one.
    fn turn_to(&mut self, context: &Context, number: u64) -> ApiResult<()> {
        if self.open.as_ref().is_some_and(|(open, _)| *open == number) {
            return Ok(());
        }
        self.close(context)?;
        self.open = Some((number, Vec::new()));
        Ok(())
    }

    fn close(&mut self, context: &Context) -> ApiResult<()> {
        let Some((number, mut bytes)) = self.open.take() else { return Ok(()) };
        let whole = usize::try_from(self.size - number * BLOCK as u64).unwrap_or(BLOCK).min(BLOCK);
        bytes.resize(whole, 0);
        match context.step(|world| world.storage.interned.block(&bytes)) {
            Block::Zero => {}
            block => {
                self.stored += if matches!(block, Block::Stored(_)) { bytes.len() } else { 0 };
                self.blocks.insert(number, block);
            }
        }
        if self.stored > MOST_STORED {
            let text = format!("There is insufficient space [opterr=simulated disks keep {MOST_STORED} bytes of foreign data]");
            return Err(ApiError::new("SR_BACKEND_FAILURE_44", ["", &text, ""]));
        }
        Ok(())
    }

    /// Gives the disk its content.
    ///
    /// # Errors
    /// As [`DiskWriter::write`].
    pub(in super::super) fn finish(&mut self, context: &Context) -> ApiResult<()> {
        self.close(context)?;
        let blocks = std::mem::take(&mut self.blocks);
        let elapsed = context.shared.clock.elapsed();
        context.step(|world| {
            ledger::settle(world, &self.vdi, elapsed);
            let uuid = world.database.text("VDI", &self.vdi, "uuid");
            if let Some(volume) = world.storage.volume_mut(&uuid) {
                volume.write(Layer::Stored(Arc::new(blocks)));
            }
            ledger::account(world, &self.vdi);
        });
        Ok(())
    }
}
