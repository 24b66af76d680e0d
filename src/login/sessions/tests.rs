//! Sessions over one store and one provider, all in memory, in paused time.

mod deployment;
mod ends;
mod logouts;
mod outages;
mod refreshes;
mod uses;
