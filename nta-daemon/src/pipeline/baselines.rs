//! What the pipeline and those who ask about baselines share: what is known, and what is to be taken in its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nta_core::baseline::{Baselines, Export, Import};

use super::Pipeline;
use super::judge::Judge;

/// Orders that wait for the next window; more are refused.
const MAX_ORDERS: usize = 8;

/// Shared by the pipeline, which publishes and takes orders, and the API; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct BaselineHandle(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    published: Option<Arc<Export>>,
    orders: Vec<Import>,
    ended: bool,
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_ORDERS} imports wait for the next window already")]
pub struct Busy;

impl BaselineHandle {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was published last.
    pub fn latest(&self) -> Option<Arc<Export>> {
        self.lock().published.clone()
    }

    /// Orders an import: the pipeline takes it at its next window; when it has ended, it is taken at once.
    pub fn order(&self, import: Import) -> Result<(), Busy> {
        let mut shared = self.lock();
        if shared.ended {
            let known = shared.published.take().map(|known| (*known).clone()).unwrap_or_default();
            shared.published = Some(Arc::new(import.over(known)));
            return Ok(());
        }
        if shared.orders.len() >= MAX_ORDERS {
            return Err(Busy);
        }
        shared.orders.push(import);
        Ok(())
    }

    /// Whether no window will come any more.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Carries out what was ordered; answers whether anything was, and why not where it could not.
    pub fn carry_out(&self, baselines: &mut Baselines) -> (bool, Vec<String>) {
        let orders = std::mem::take(&mut self.lock().orders);
        let any = !orders.is_empty();
        let refused = orders.into_iter().filter_map(|import| baselines.take(import).err()).collect();
        (any, refused)
    }

    /// Shows what is known.
    pub fn publish(&self, export: Export) {
        self.lock().published = Some(Arc::new(export));
    }

    /// Says that no window will come any more: from now on orders change what is published.
    pub fn end(&self) {
        let orders = {
            let mut shared = self.lock();
            shared.ended = true;
            std::mem::take(&mut shared.orders)
        };
        for import in orders {
            // It cannot be busy: it has ended.
            let _taken = self.order(import);
        }
    }
}

impl Pipeline {
    /// Carries out what was ordered; answers whether anything was.
    pub(super) fn import_baselines(&mut self) -> bool {
        let (Some(baselines), Judge::Here(analysis)) = (&self.baselines, &mut self.judge) else { return false };
        let (imported, refused) = baselines.carry_out(analysis.baselines_mut());
        for reason in refused {
            tracing::warn!(reason, "baselines not imported");
        }
        imported
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nta_core::baseline::{BaselineConfig, Metric, Series};

    fn metrics(metric: Metric) -> Import {
        Import::Metrics([(metric, Series::default())].into())
    }

    #[test]
    fn orders_wait_for_the_pipeline_up_to_a_limit_and_are_taken_at_once_after_its_end() {
        let handle = BaselineHandle::default();
        for _ in 0..MAX_ORDERS {
            handle.order(metrics(Metric::Bandwidth)).expect("room");
        }
        assert_eq!(handle.order(metrics(Metric::Loss)), Err(Busy));
        let mut baselines = Baselines::new(BaselineConfig::default());
        assert_eq!(handle.carry_out(&mut baselines), (true, vec![]));
        assert_eq!(handle.carry_out(&mut baselines), (false, vec![]));
        assert!(baselines.series(Metric::Bandwidth).is_some() && baselines.series(Metric::Loss).is_none());

        handle.publish(baselines.export());
        handle.order(metrics(Metric::Latency)).expect("room");
        handle.end();
        handle.order(metrics(Metric::Loss)).expect("at once");
        let known: Vec<Metric> = handle.latest().expect("published").network.keys().copied().collect();
        assert_eq!(known, [Metric::Bandwidth, Metric::Latency, Metric::Loss]);
    }
}
