//! `request-transformer`: edits the method, path, query, headers and body of requests on their way to the upstream.

use super::arguments::{Pairs, parse, write};
use super::edits::{Edit, Edits, append};
use super::multipart::Multipart;
use super::template::Template;
use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::{Context, escape_path, is_own_header};
use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "request-transformer", priority: 801, build };

/// The largest body that is transformed, in bytes.
const LARGEST_BODY: usize = 32 * 1024 * 1024;
struct RequestTransformer {
    method: Option<Method>,
    uri: Option<Template>,
    headers: Edits,
    query: Edits,
    body: Edits,
    templates: HashMap<Box<str>, Template>,
}

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
            if !path.starts_with('/') {
                return Err(Failure::new("replace.uri: the path must start with /"));
            }
            context.outbound.path = escape_path(path);
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
            && form(context).is_some_and(|(form, _)| form == Form::Pairs)
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
        let editable = |edit: &Edit| edit.header().filter(|name| !is_own_header(name));
        for name in edits.remove.iter().filter_map(editable) {
            context.outbound.headers.remove(name);
        }
        for edit in &edits.rename {
            let new = self.value(edit, context).parse::<HeaderName>();
            let (Some(old), Ok(new)) = (editable(edit), new) else { continue };
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
        for edit in edits.replace.iter().filter(|edit| edit.header() == Some(HOST) && edit.has_value()) {
            context.outbound.host_header = Some(self.value(edit, context).into());
        }
        for (list, only_present) in [(&edits.replace, true), (&edits.add, false)] {
            for edit in list.iter().filter(|edit| edit.has_value()) {
                if let (Some(name), Ok(value)) =
                    (editable(edit), HeaderValue::from_str(&self.value(edit, context)))
                    && context.outbound.headers.contains_key(&name) == only_present
                {
                    context.outbound.headers.insert(name, value);
                }
            }
        }
        for edit in edits.append.iter().filter(|edit| edit.has_value()) {
            let value = HeaderValue::from_str(&self.value(edit, context));
            if let (Some(name), Ok(value)) = (editable(edit), value) {
                context.outbound.headers.append(name, value);
            }
        }
    }

    async fn change_body(&self, context: &mut Context) -> Result<(), Failure> {
        let Some((form, kind)) = form(context).filter(|_| !self.body.is_empty()) else { return Ok(()) };
        let data = context.request_body(LARGEST_BODY).await?;
        let changed = match form {
            Form::Pairs => {
                let before = parse(&String::from_utf8_lossy(&data));
                let mut arguments = before.clone();
                self.change(&self.body, &mut arguments, context);
                // What nothing applies to passes byte by byte.
                if arguments == before {
                    return Ok(());
                }
                write(arguments).into_bytes()
            }
            Form::Multipart => match Multipart::read(&kind, data).await {
                Some(mut parts) => {
                    self.change_parts(&mut parts, context);
                    parts.write()
                }
                None => return Ok(()),
            },
            Form::Json => {
                let before = match serde_json::from_slice(&data) {
                    Ok(Json::Object(members)) => members,
                    _ if data.is_empty() => Map::new(),
                    // What is no object passes as it is.
                    _ => return Ok(()),
                };
                let mut members = before.clone();
                self.change_members(&mut members, context);
                if members == before {
                    return Ok(());
                }
                serde_json::to_vec(&members).map_err(|e| Failure::new(e.to_string()))?
            }
        };
        context.outbound.set_body(changed);
        Ok(())
    }

    fn change(&self, edits: &Edits, arguments: &mut Pairs, context: &Context) {
        let has = |arguments: &Pairs, name: &str| arguments.iter().any(|(known, _)| known == name);
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
        let pair = |edit: &Edit| (edit.name.to_string(), Some(self.value(edit, context)));
        for edit in &edits.replace {
            if has(arguments, &edit.name) {
                arguments.retain(|(name, _)| *name != *edit.name);
                arguments.extend(edit.has_value().then(|| pair(edit)));
            }
        }
        for edit in edits.add.iter().filter(|edit| edit.has_value()) {
            if !has(arguments, &edit.name) {
                arguments.push(pair(edit));
            }
        }
        arguments.extend(edits.append.iter().filter(|edit| edit.has_value()).map(pair));
    }

    fn change_parts(&self, parts: &mut Multipart, context: &Context) {
        let edits = &self.body;
        for edit in &edits.rename {
            let new = self.value(edit, context);
            if let Some(value) = parts.get(&edit.name).filter(|_| new != *edit.name).map(<[u8]>::to_vec) {
                parts.set(&new, value);
                parts.remove(&edit.name);
            }
        }
        edits.remove.iter().for_each(|edit| parts.remove(&edit.name));
        for (list, only_present) in [(&edits.replace, true), (&edits.add, false)] {
            for edit in list.iter().filter(|edit| edit.has_value()) {
                if parts.get(&edit.name).is_some() == only_present {
                    parts.set(&edit.name, self.value(edit, context));
                }
            }
        }
    }

    fn change_members(&self, members: &mut Map<String, Json>, context: &Context) {
        let edits = &self.body;
        let present = |members: &Map<String, Json>, name: &str| {
            members.get(name).is_some_and(|value| *value != Json::Bool(false))
        };
        for edit in &edits.remove {
            members.remove(&*edit.name);
        }
        for edit in &edits.rename {
            if present(members, &edit.name)
                && let Some(value) = members.remove(&*edit.name)
            {
                members.insert(self.value(edit, context), value);
            }
        }
        for edit in &edits.replace {
            if present(members, &edit.name) {
                members.remove(&*edit.name);
                if edit.has_value() {
                    members.insert(edit.name.to_string(), self.value(edit, context).into());
                }
            }
        }
        for edit in edits.add.iter().filter(|edit| edit.has_value()) {
            if !present(members, &edit.name) {
                members.insert(edit.name.to_string(), self.value(edit, context).into());
            }
        }
        for edit in edits.append.iter().filter(|edit| edit.has_value()) {
            append(members, &edit.name, self.value(edit, context).into());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Pairs,
    Json,
    Multipart,
}

/// The form of the body, and its `Content-Type`.
fn form(context: &Context) -> Option<(Form, String)> {
    let kind = context.outbound.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let forms = [
        ("application/json", Form::Json),
        ("multipart/form-data", Form::Multipart),
        ("application/x-www-form-urlencoded", Form::Pairs),
    ];
    let lower = kind.to_ascii_lowercase();
    let (_, form) = forms.into_iter().find(|(name, _)| lower.contains(name))?;
    Some((form, kind.to_owned()))
}

fn set_query(context: &mut Context, arguments: Pairs) {
    context.outbound.query = (!arguments.is_empty()).then(|| write(arguments));
}
