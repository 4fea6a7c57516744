//! stub until merged
use crate::domain::Status;
use crate::store::Store;
#[derive(Clone)]
pub struct ApiState;
impl ApiState { pub fn new(_: Store, _: tokio::sync::watch::Receiver<Status>) -> Self { Self } }
pub async fn serve(_l: tokio::net::TcpListener, _s: ApiState, stop: impl Future<Output=()> + Send + 'static) -> std::io::Result<()> { stop.await; Ok(()) }
