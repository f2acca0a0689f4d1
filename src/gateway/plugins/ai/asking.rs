//! The phases that all plugins have in common which send the client's request to a provider.

use super::{Question, Settings, answer, question, too_large};
use crate::gateway::plugins::{BodyFilter, Failure, Flow, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Response, response};

/// What such a plugin has of its own.
#[async_trait]
pub trait Asks: Send + Sync {
    /// The settings that hold for all its targets.
    fn settings(&self) -> &Settings;

    /// Sends the client's request on.
    ///
    /// # Errors
    /// [`Failure`] ends the request with a 500.
    async fn ask(&self, context: &mut Context, question: Question) -> Result<Flow, Failure>;

    /// After the last byte went to the client.
    fn log(&self, context: &Context) {
        let _ = context;
    }
}

/// The plugin that asks so.
pub struct Asking<A>(pub A);

#[async_trait]
impl<A: Asks> Plugin for Asking<A> {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let settings = self.0.settings();
        match question(context, settings.max_body).await? {
            Some(question) => self.0.ask(context, question).await,
            None => too_large(context, settings.dialect, settings.max_body),
        }
    }

    fn whole_response(&self, context: &Context, head: &response::Parts) -> Option<usize> {
        answer::whole_response(context, head)
    }

    async fn response(&self, context: &mut Context, whole: &mut Response<Bytes>) -> Result<(), Failure> {
        answer::response(context, whole);
        Ok(())
    }

    fn response_headers(&self, context: &mut Context, head: &mut response::Parts) {
        answer::response_headers(context, head);
    }

    fn response_body(&self, context: &mut Context, head: &response::Parts) -> Option<Box<dyn BodyFilter>> {
        answer::response_body(context, head)
    }

    fn log(&self, context: &Context) {
        self.0.log(context);
    }
}
