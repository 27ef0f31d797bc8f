//! Figures of the service for whoever may ask: gathered when somebody does, and served over HTTP.
//!
//! Nobody who asks slows the work down: what is costly to gather is gathered once in a while at most, one at a time, and answers are few
//! at once.

mod scene;
mod server;

use std::sync::Arc;

pub use server::{Door, DoorError, Exporter};

use crate::engine::error::Result;
use crate::telemetry::metrics::Metrics;
use scene::Gatherer;

/// Answers until the service stops.
pub(super) async fn serve(exporter: Exporter, handle: super::Handle, metrics: Metrics) -> Result<()> {
    let stop = handle.stop.clone();
    let gatherer = Arc::new(Gatherer::new(handle));
    let text = move || {
        let (gatherer, metrics) = (Arc::clone(&gatherer), metrics.clone());
        async move { Ok(metrics.text(&gatherer.scene().await?)) }
    };
    exporter.serve(text, stop).await;
    Ok(())
}
