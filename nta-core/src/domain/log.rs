//! The event log: what can happen.

/// Every kind of event, each with what it is.
pub const EVENT_TYPES: [(&str, &str); 16] = [
    ("alert_raised", "an alert was raised, or came back after it was cleared"),
    ("alert_changed", "an alert goes on, and something of it changed"),
    ("alert_cleared", "an alert is over"),
    ("alert_handled", "somebody changed an alert's status or verdict, or noted something about it"),
    ("window_closed", "a window of any length closed"),
    ("run_begun", "the daemon began to capture, or a replay began"),
    ("run_ended", "such a run ended"),
    ("capture_trouble", "something is not counted although it should be, such as an interface that is away"),
    ("capture_recovered", "it is counted again"),
    ("store_trouble", "the database took nothing for some time"),
    ("store_recovered", "it takes batches again, and what waited is stored"),
    ("webhook_trouble", "a webhook takes no events"),
    ("webhook_recovered", "it takes them again"),
    ("upload_received", "all of a capture that a client sends is here"),
    ("job_begun", "a job began, the analysis of a capture among others"),
    ("job_ended", "such a job is over"),
];
