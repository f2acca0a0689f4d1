//! Failing on demand: what clients tell the mock provider to do instead of answering.
//!
//! Orders are words such as `fail=503`, given in the request header `x-mock-llm` (`x-mock-llm: fail=503, delay=50ms`)
//! or anywhere in the prompt in double brackets (`[[mock fail=503]]`). `@` and a model's name behind a word hold it
//! to that model: `fail=503@gpt-4o`. A model named `mock-fail-503`, `mock-stall` or `mock-cut-2` is told by its name.
//!
//! | word | meaning |
//! |---|---|
//! | `fail=STATUS` | an error of that status in the provider's form |
//! | `fail=STATUSxN` | the same N times, then one answer, and so on: for clients that try again |
//! | `stall=TIME` | nothing for that long (`500ms`, `2s`), before the answer |
//! | `cut=N` | the connection breaks after N pieces of the stream, or half of a whole answer |
//! | `hang=N` | nothing more for an hour after N pieces of the stream |
//! | `error=N` | an error in the provider's form after N pieces of the stream, which ends with it |
//! | `delay=TIME` | a pause between the pieces of a stream |
//! | `tool=NAME` | the tool of that name is called, although the request does not insist on it |

use http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3600);

/// What to do instead of a plain answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Orders {
    pub(super) fail: Option<StatusCode>,
    /// How often it fails before it answers once; always without it.
    pub(super) fails: Option<u32>,
    pub(super) stall: Option<Duration>,
    pub(super) cut: Option<Break>,
    pub(super) delay: Option<Duration>,
    pub(super) tool: Option<String>,
}

/// How often requests failed that were told to fail so many times, by order and model.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, u32>>);

/// The most orders whose turns are remembered.
const MOST_TURNS: usize = 10_000;

impl Turns {
    /// The status that a request fails with now.
    pub(super) fn failure(&self, orders: &Orders, model: &str) -> Option<StatusCode> {
        let (status, most) = (orders.fail?, orders.fails);
        let Some(most) = most else { return Some(status) };
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= MOST_TURNS {
            turns.clear();
        }
        let turn = turns.entry(format!("{status}x{most}@{model}")).or_default();
        *turn = if *turn < most { *turn + 1 } else { 0 };
        (*turn > 0).then_some(status)
    }
}

/// How a stream ends before its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Break {
    /// The connection breaks after so many pieces.
    After(usize),
    /// Nothing comes for a time after so many pieces.
    Stall(usize, Duration),
    /// An error ends the stream after so many pieces.
    Error(usize),
}

impl Orders {
    /// The orders of a request.
    pub(super) fn of(headers: &HeaderMap, model: &str, prompt: &str) -> Orders {
        let mut orders = Orders::default();
        if let Some(name) = model.strip_prefix("mock-") {
            let (word, value) = name.split_once('-').unwrap_or((name, ""));
            orders.take(word, value);
        }
        let header = headers.get("x-mock-llm").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let bracket = prompt
            .split_once("[[mock ")
            .and_then(|(_, rest)| rest.split_once("]]"))
            .map_or("", |(words, _)| words);
        for order in header.split([',', ' ']).chain(bracket.split([',', ' '])) {
            let (order, only) = order.trim().split_once('@').unwrap_or((order.trim(), model));
            if only == model {
                let (word, value) = order.split_once('=').unwrap_or((order, ""));
                orders.take(word, value);
            }
        }
        orders
    }

    fn take(&mut self, word: &str, value: &str) {
        let count = || value.parse().unwrap_or(1);
        match word {
            "fail" => {
                let (code, times) = value.split_once('x').unwrap_or((value, ""));
                let status = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
                self.fail = Some(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
                self.fails = times.parse().ok();
            }
            "stall" => self.stall = Some(time(value).unwrap_or(LONGEST)),
            "cut" => self.cut = Some(Break::After(count())),
            "hang" => self.cut = Some(Break::Stall(count(), LONGEST)),
            "error" => self.cut = Some(Break::Error(count())),
            "tool" => self.tool = Some(value.to_owned()),
            "delay" => self.delay = time(value),
            _ => {}
        }
    }
}

/// `500ms`, `2s`, or milliseconds without a unit.
fn time(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count: u64 = digits.parse().ok()?;
    let time = match unit {
        "s" => Duration::from_secs(count),
        "ms" | "" => Duration::from_millis(count),
        _ => return None,
    };
    Some(time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn orders_come_from_header_prompt_and_model() {
        let none = HeaderMap::new();
        assert_eq!(Orders::of(&none, "m", "plain"), Orders::default());
        assert_eq!(Orders::of(&none, "mock-fail-503", "").fail, Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(
            Orders::of(&none, "m", "x [[mock cut=2 delay=5ms]] y"),
            Orders { cut: Some(Break::After(2)), delay: Some(Duration::from_millis(5)), ..Orders::default() }
        );
        let mut headers = HeaderMap::new();
        headers.insert("x-mock-llm", HeaderValue::from_static("fail=429@a, stall=2s"));
        let other = Orders::of(&headers, "b", "");
        assert_eq!((other.fail, other.stall), (None, Some(Duration::from_secs(2))));
        assert_eq!(Orders::of(&headers, "a", "").fail, Some(StatusCode::TOO_MANY_REQUESTS));
    }

    #[test]
    fn it_fails_so_often_and_then_answers_once() {
        let turns = Turns::default();
        let twice = Orders::of(&HeaderMap::new(), "m", "[[mock fail=503x2]]");
        let failed: Vec<bool> = (0..6).map(|_| turns.failure(&twice, "m").is_some()).collect();
        assert_eq!(failed, [true, true, false, true, true, false]);
        let always = Orders::of(&HeaderMap::new(), "m", "[[mock fail=503]]");
        assert!((0..3).all(|_| turns.failure(&always, "m").is_some()));
    }
}
