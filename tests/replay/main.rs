//! Captures in, results out: what `replay` prints against what other tools and the manifest say.

mod again;
mod capinfos;
mod cases;
mod conn_log;
mod conversations;
mod damage;
mod events;
mod explain;
mod export;
mod log;
mod memory;
mod pipe;
mod refusals;
mod report;
mod round_trips;
mod selection;
mod serve;
mod stdin;
mod stopped;
mod tcp;
mod text;
mod time;
mod together;
mod unanswered;
mod visibility;
mod wrapped;
