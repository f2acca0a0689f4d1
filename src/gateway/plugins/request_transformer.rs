//! `request-transformer`: edits the method, path, query, headers and body of requests on their way to the upstream.

use super::edits::{Edit, Edits};
use super::template::Template;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "request-transformer", priority: 801, build };

/// The largest body that is transformed, in bytes.
const LARGEST_BODY: usize = 32 * 1024 * 1024;
/// What is escaped in arguments.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

struct RequestTransformer {
    method: Option<Method>,
    uri: Option<Template>,
    headers: Edits,
    query: Edits,
    body: Edits,
    templates: HashMap<Box<str>, Template>,
}

/// Arguments in order. One without `=` has no value.
type Arguments = Vec<(String, Option<String>)>;

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let (headers, query, body) =
        (Edits::new(instance, "headers"), Edits::new(instance, "querystring"), Edits::new(instance, "body"));
    headers.check_headers()?;
    let mut templates = HashMap::new();
    for edit in headers.all().chain(query.all()).chain(body.all()) {
        if edit.value.contains("$(") {
            templates.insert(edit.value.clone(), Template::parse(&edit.name, &edit.value)?);
        }
    }
    let method = instance.text("http_method").map(|method| {
        Method::from_bytes(method.as_bytes()).map_err(|e| ConfigError::new("http_method", e.to_string()))
    });
    Ok(Arc::new(RequestTransformer {
        method: method.transpose()?,
        uri: instance.text("replace.uri").map(|uri| Template::parse("replace.uri", uri)).transpose()?,
        headers,
        query,
        body,
        templates,
    }))
}

#[async_trait]
impl Plugin for RequestTransformer {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        if let Some(uri) = &self.uri {
            let path = uri.render(context);
            context.outbound.path = utf8_path(&path);
        }
        self.change_method(context).await?;
        self.change_headers(context);
        self.change_body(context).await?;
        if !self.query.is_empty() {
            let mut arguments = parse(context.outbound.query.as_deref().unwrap_or_default());
            self.change(&self.query, &mut arguments, context);
            set_query(context, arguments);
        }
        Ok(Flow::Continue)
    }
}

impl RequestTransformer {
    fn value(&self, edit: &Edit, context: &Context) -> String {
        match self.templates.get(&edit.value) {
            Some(template) => template.render(context),
            None => edit.value.to_string(),
        }
    }

    /// Changes the method. The form that goes with a method without a body goes into the query.
    async fn change_method(&self, context: &mut Context) -> Result<(), Failure> {
        let Some(method) = &self.method else { return Ok(()) };
        context.outbound.method = method.clone();
        if [Method::GET, Method::HEAD, Method::TRACE].contains(method)
            && form(context) == Some(Form::Arguments)
        {
            let data = context.request_body(LARGEST_BODY).await?;
            let more = parse(&String::from_utf8_lossy(&data));
            if !more.is_empty() {
                let mut arguments = parse(context.outbound.query.as_deref().unwrap_or_default());
                arguments.extend(more);
                set_query(context, arguments);
            }
        }
        Ok(())
    }

    fn change_headers(&self, context: &mut Context) {
        let edits = &self.headers;
        for edit in &edits.remove {
            if let Some(name) = edit.header().filter(|name| *name != HOST) {
                context.outbound.headers.remove(name);
            }
        }
        for edit in &edits.rename {
            let new = self.value(edit, context).parse::<HeaderName>();
            let (Some(old), Ok(new)) = (edit.header(), new) else { continue };
            let headers = &mut context.outbound.headers;
            let values: Vec<HeaderValue> = headers.get_all(&old).iter().cloned().collect();
            if !values.is_empty() && old != new {
                headers.remove(&old);
                headers.remove(&new);
                for value in values {
                    headers.append(&new, value);
                }
            }
        }
        for (list, only_present) in [(&edits.replace, true), (&edits.add, false)] {
            for edit in list {
                let text = self.value(edit, context);
                let Some(name) = edit.header() else { continue };
                if name == HOST {
                    if only_present {
                        context.outbound.host_header = Some(text.into());
                    }
                } else if context.outbound.headers.contains_key(&name) == only_present
                    && let Ok(value) = HeaderValue::from_str(&text)
                {
                    context.outbound.headers.insert(name, value);
                }
            }
        }
        for edit in &edits.append {
            let value = HeaderValue::from_str(&self.value(edit, context));
            if let (Some(name), Ok(value)) = (edit.header().filter(|name| *name != HOST), value) {
                context.outbound.headers.append(name, value);
            }
        }
    }

    async fn change_body(&self, context: &mut Context) -> Result<(), Failure> {
        let Some(form) = form(context).filter(|_| !self.body.is_empty()) else { return Ok(()) };
        let data = context.request_body(LARGEST_BODY).await?;
        let changed = match form {
            Form::Arguments => {
                let mut arguments = parse(&String::from_utf8_lossy(&data));
                self.change(&self.body, &mut arguments, context);
                write(&arguments).into_bytes()
            }
            Form::Json => {
                let mut members = match serde_json::from_slice(&data) {
                    Ok(Json::Object(members)) => members,
                    _ if data.is_empty() => Map::new(),
                    // What is no object passes as it is.
                    _ => return Ok(()),
                };
                self.change_members(&mut members, context);
                serde_json::to_vec(&members).map_err(|e| Failure::new(e.to_string()))?
            }
        };
        context.outbound.set_body(changed);
        Ok(())
    }

    fn change(&self, edits: &Edits, arguments: &mut Arguments, context: &Context) {
        let has = |arguments: &Arguments, name: &str| arguments.iter().any(|(known, _)| known == name);
        for edit in &edits.remove {
            arguments.retain(|(name, _)| *name != *edit.name);
        }
        for edit in &edits.rename {
            let new = self.value(edit, context);
            if has(arguments, &edit.name) && new != *edit.name {
                arguments.retain(|(name, _)| *name != new);
                arguments
                    .iter_mut()
                    .filter(|(name, _)| **name == *edit.name)
                    .for_each(|(name, _)| name.clone_from(&new));
            }
        }
        for edit in &edits.replace {
            if has(arguments, &edit.name) {
                arguments.retain(|(name, _)| *name != *edit.name);
                arguments.push((edit.name.to_string(), Some(self.value(edit, context))));
            }
        }
        for edit in &edits.add {
            if !has(arguments, &edit.name) {
                arguments.push((edit.name.to_string(), Some(self.value(edit, context))));
            }
        }
        for edit in &edits.append {
            arguments.push((edit.name.to_string(), Some(self.value(edit, context))));
        }
    }

    fn change_members(&self, members: &mut Map<String, Json>, context: &Context) {
        let edits = &self.body;
        for edit in &edits.remove {
            members.remove(&*edit.name);
        }
        for edit in &edits.rename {
            if let Some(value) = members.remove(&*edit.name) {
                members.insert(self.value(edit, context), value);
            }
        }
        let present = |members: &Map<String, Json>, name: &str| {
            members.get(name).is_some_and(|v| *v != Json::Bool(false))
        };
        for edit in &edits.replace {
            if present(members, &edit.name) {
                members.insert(edit.name.to_string(), self.value(edit, context).into());
            }
        }
        for edit in &edits.add {
            if !present(members, &edit.name) {
                members.insert(edit.name.to_string(), self.value(edit, context).into());
            }
        }
        for edit in &edits.append {
            let value = Json::from(self.value(edit, context));
            let appended = match members.remove(&*edit.name) {
                Some(text @ Json::String(_)) => vec![text, value],
                Some(Json::Array(mut items)) => {
                    items.push(value);
                    items
                }
                _ => vec![value],
            };
            members.insert(edit.name.to_string(), Json::Array(appended));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Arguments,
    Json,
}

fn form(context: &Context) -> Option<Form> {
    let kind = context.outbound.headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    if kind.contains("application/json") {
        Some(Form::Json)
    } else if kind.contains("application/x-www-form-urlencoded") {
        Some(Form::Arguments)
    } else {
        None
    }
}

fn parse(text: &str) -> Arguments {
    text.split('&')
        .filter_map(|pair| {
            let (name, value) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
            Some((name.into_owned(), pair.contains('=').then(|| value.into_owned())))
        })
        .collect()
}

fn write(arguments: &Arguments) -> String {
    let escape = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let pair = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{}={}", escape(name), escape(value)),
        None => escape(name),
    };
    arguments.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Sets the query; as Kong does, sorted by name.
fn set_query(context: &mut Context, mut arguments: Arguments) {
    arguments.sort_by(|(a, _), (b, _)| a.cmp(b));
    context.outbound.query = (!arguments.is_empty()).then(|| write(&arguments));
}

fn utf8_path(path: &str) -> String {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    crate::gateway::proxy::escape_path(path)
}
