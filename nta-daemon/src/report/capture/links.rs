//! Links from a report to the rows that its numbers are made of.

use std::fmt::Write as _;
use std::net::IpAddr;

use nta_core::domain::Timestamp;

/// Makes links to rows of one capture.
pub(super) struct Links {
    file_id: String,
    span: Option<(Timestamp, Timestamp)>,
}

impl Links {
    /// Of this capture, whose packets lie in `span`.
    pub(super) fn new(file_id: &str, span: Option<(Timestamp, Timestamp)>) -> Self {
        Self { file_id: file_id.to_owned(), span }
    }

    /// Rows of a path with further parameters, in the whole time of the capture.
    pub(super) fn all(&self, path: &str, more: &str) -> String {
        self.within(path, self.span, more)
    }

    /// Flows of a host.
    pub(super) fn host(&self, host: IpAddr) -> String {
        self.all("/api/flows", &format!("&host={host}"))
    }

    /// Flows of a host with a packet from one time to another.
    pub(super) fn host_at(&self, host: IpAddr, span: (Timestamp, Timestamp)) -> String {
        self.within("/api/flows", Some(span), &format!("&host={host}"))
    }

    /// An alert.
    pub(super) fn alert(&self, id: &str) -> String {
        format!("/api/alerts/{id}")
    }

    fn within(&self, path: &str, span: Option<(Timestamp, Timestamp)>, more: &str) -> String {
        let mut link = format!("{path}?capture={}", self.file_id);
        if let Some((first, last)) = span {
            // Times are written in microseconds: the last one lies within, too.
            let _fits = write!(link, "&from={first}&to={}", last.plus(1_000));
        }
        link + more
    }
}
