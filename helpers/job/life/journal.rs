//! What has happened so far: noted in the record, and told to those who watch.

use crate::ground::outcome::Failure;
use crate::job::record::Record;
use crate::job::request::News;

/// The record of one job, and who hears of it meanwhile.
pub(super) struct Journal<'r> {
    pub(super) record: &'r mut Record,
    pub(super) tell: &'r mut dyn FnMut(News<'_>),
}

impl Journal<'_> {
    /// A step begins.
    pub(super) fn step(&mut self, name: &'static str, text: &str) {
        self.record.begin(name);
        (self.tell)(News::Step(text));
    }

    /// Something to be known even by those who don't watch.
    pub(super) fn notice(&mut self, text: &str) {
        (self.tell)(News::Notice(text));
    }

    /// All that somebody else has collected.
    pub(super) fn notices(&mut self, texts: &mut Vec<String>) {
        texts.drain(..).for_each(|text| self.notice(&text));
    }

    /// Notes a failure after which there is still something to be done. The first one counts; all are told.
    pub(super) fn fail(&mut self, failure: Failure) {
        if self.record.failure.is_some() {
            self.notice(&failure.to_string());
        } else {
            self.record.failure = Some(failure);
        }
    }
}
