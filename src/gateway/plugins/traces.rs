//! The context of a distributed trace, as headers carry it: read in any of the usual forms, and written in the same.
//!
//! What does not live here: the spans (`opentelemetry`).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where a request stands in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: u128,
    /// The span that this request belongs to.
    pub span: u64,
    /// Whether the trace is recorded, if somebody decided that.
    pub sampled: Option<bool>,
}

/// A form in which headers carry a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `traceparent`.
    W3c,
    /// `x-b3-traceid` and others.
    B3,
    /// `b3`.
    B3Single,
    /// `uber-trace-id`.
    Jaeger,
    /// `ot-tracer-traceid` and others.
    Ot,
    /// `x-datadog-trace-id` and others.
    Datadog,
    /// `x-cloud-trace-context`.
    Gcp,
    /// `x-amzn-trace-id`.
    Aws,
    /// `x-instana-t` and others.
    Instana,
}

impl Format {
    /// Every form, in the order in which they are looked for.
    pub const ALL: [Format; 9] = [
        Format::B3Single,
        Format::B3,
        Format::W3c,
        Format::Jaeger,
        Format::Ot,
        Format::Datadog,
        Format::Aws,
        Format::Gcp,
        Format::Instana,
    ];

    /// The form of this name in configurations.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "w3c" => Format::W3c,
            "b3" => Format::B3,
            "b3-single" => Format::B3Single,
            "jaeger" => Format::Jaeger,
            "ot" => Format::Ot,
            "datadog" => Format::Datadog,
            "gcp" => Format::Gcp,
            "aws" => Format::Aws,
            "instana" => Format::Instana,
            _ => return None,
        })
    }

    /// The context that headers carry in this form.
    pub fn read(self, headers: &HeaderMap) -> Option<Trace> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let flag = |text: &str| match text {
            "1" | "true" | "d" => Some(true),
            "0" | "false" => Some(false),
            _ => None,
        };
        match self {
            Format::W3c => {
                let mut parts = text("traceparent")?.split('-');
                parts.next().filter(|version| version.len() == 2 && *version != "ff")?;
                let (id, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
                let flags = u8::from_str_radix(flags, 16).ok()?;
                (id.len() == 32 && span.len() == 16).then_some(())?;
                trace(id, span, Some(flags & 1 == 1))
            }
            Format::B3 => {
                let sampled = text("x-b3-sampled").and_then(flag);
                let sampled = if text("x-b3-flags") == Some("1") { Some(true) } else { sampled };
                trace(text("x-b3-traceid")?, text("x-b3-spanid")?, sampled)
            }
            Format::B3Single => {
                let mut parts = text("b3")?.split('-');
                trace(parts.next()?, parts.next()?, parts.next().and_then(flag))
            }
            Format::Jaeger => {
                let mut parts = text("uber-trace-id")?.split(':');
                let (id, span) = (parts.next()?, parts.next()?);
                let flags = u8::from_str_radix(parts.nth(1)?, 16).ok()?;
                trace(id, span, Some(flags & 1 == 1))
            }
            Format::Ot => trace(
                text("ot-tracer-traceid")?,
                text("ot-tracer-spanid")?,
                text("ot-tracer-sampled").and_then(flag),
            ),
            Format::Datadog => Some(Trace {
                id: text("x-datadog-trace-id")?.parse::<u64>().ok()?.into(),
                span: text("x-datadog-parent-id").and_then(|span| span.parse().ok()).unwrap_or(0),
                sampled: text("x-datadog-sampling-priority")
                    .and_then(|priority| priority.parse::<i32>().ok())
                    .map(|priority| priority > 0),
            }),
            Format::Gcp => {
                let (id, rest) = text("x-cloud-trace-context")?.split_once('/')?;
                let (span, options) = rest.split_once(";o=").map_or((rest, None), |(s, o)| (s, Some(o)));
                let (id, span) = (u128::from_str_radix(id, 16).ok()?, span.parse().ok()?);
                Some(Trace { id, span, sampled: options.and_then(flag) })
            }
            Format::Aws => {
                let parts = || text("x-amzn-trace-id").into_iter().flat_map(|text| text.split(';'));
                let part = |name: &str| {
                    parts()
                        .find_map(|part| part.trim().split_once('=').filter(|(key, _)| *key == name))
                        .map(|(_, v)| v)
                };
                let root = part("Root")?.strip_prefix("1-")?.replace('-', "");
                trace(&root, part("Parent")?, part("Sampled").and_then(flag))
            }
            Format::Instana => {
                trace(text("x-instana-t")?, text("x-instana-s")?, text("x-instana-l").and_then(flag))
            }
        }
    }

    /// Writes a context in this form.
    pub fn write(self, trace: &Trace, headers: &mut HeaderMap) {
        let Trace { id, span, sampled } = *trace;
        let on = u8::from(sampled.unwrap_or(false));
        let mut set = |name: &'static str, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        match self {
            Format::W3c => set("traceparent", format!("00-{id:032x}-{span:016x}-0{on}")),
            Format::B3 => {
                set("x-b3-traceid", format!("{id:032x}"));
                set("x-b3-spanid", format!("{span:016x}"));
                set("x-b3-sampled", on.to_string());
            }
            Format::B3Single => set("b3", format!("{id:032x}-{span:016x}-{on}")),
            Format::Jaeger => set("uber-trace-id", format!("{id:032x}:{span:016x}:0:0{on}")),
            Format::Ot => {
                set("ot-tracer-traceid", format!("{id:032x}"));
                set("ot-tracer-spanid", format!("{span:016x}"));
                set("ot-tracer-sampled", on.to_string());
            }
            Format::Datadog => {
                set("x-datadog-trace-id", (id as u64).to_string());
                set("x-datadog-parent-id", span.to_string());
                set("x-datadog-sampling-priority", on.to_string());
            }
            Format::Gcp => set("x-cloud-trace-context", format!("{id:032x}/{span};o={on}")),
            Format::Aws => {
                let (time, rest) = (id >> 96, id & ((1 << 96) - 1));
                set(
                    "x-amzn-trace-id",
                    format!("Root=1-{time:08x}-{rest:024x};Parent={span:016x};Sampled={on}"),
                );
            }
            Format::Instana => {
                set("x-instana-t", format!("{id:032x}"));
                set("x-instana-s", format!("{span:016x}"));
                set("x-instana-l", on.to_string());
            }
        }
    }
}

fn trace(id: &str, span: &str, sampled: Option<bool>) -> Option<Trace> {
    let (id, span) = (u128::from_str_radix(id, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
    (id != 0 && span != 0).then_some(Trace { id, span, sampled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_as_it_was_written() {
        let trace = Trace { id: 0x1234_5678_9abc_def0, span: 0xfeed, sampled: Some(true) };
        for format in Format::ALL {
            let mut headers = HeaderMap::new();
            format.write(&trace, &mut headers);
            assert_eq!(format.read(&headers), Some(trace), "{format:?}");
        }
    }

    #[test]
    fn what_is_no_context_is_none() {
        for (name, value) in [
            ("traceparent", "00-00000000000000000000000000000000-0000000000000001-01"),
            ("traceparent", "00-1-2-01"),
            ("traceparent", "nonsense"),
            ("b3", "0"),
            ("uber-trace-id", "1:2"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert!(Format::ALL.iter().all(|format| format.read(&headers).is_none()), "{name}: {value}");
        }
    }
}
