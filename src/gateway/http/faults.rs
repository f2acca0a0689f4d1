//! Faults on demand, for testing clients: `PUT /routes/*: 503 x3`.
//!
//! A rule is `[METHOD] PATH: WHAT ... [xTIMES] [CHANCE%]`. The path may hold `*` for any text. What happens is one or
//! more of a status (`503`), `retry-after=SECONDS`, `latency=200ms`, `drop` (no answer, nothing done), `lose` (done, but
//! no answer), `truncate` (half of the answer). Chances come from a seed, so that a run can be repeated.

use http::{Method, StatusCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;

/// A rule that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the fault '{rule}' cannot be read: {reason}")]
pub struct FaultError {
    /// The rule as given.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is to happen to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fate {
    /// An answer in place of the API's.
    pub status: Option<StatusCode>,
    /// With this header, in seconds.
    pub retry_after: Option<u32>,
    /// A wait before anything else.
    pub delay: Option<Duration>,
    /// The connection ends before anything is done.
    pub drop: bool,
    /// The connection ends after the work is done.
    pub lose: bool,
    /// Half of the answer is sent.
    pub truncate: bool,
    /// The rule that says so.
    pub rule: Option<Box<str>>,
}

impl Fate {
    /// The fate, if it comes before the API is asked.
    pub fn before(&self) -> Option<&Fate> {
        (self.drop || self.status.is_some()).then_some(self)
    }
}

#[derive(Debug)]
struct Rule {
    method: Option<Method>,
    path: Box<str>,
    fate: Fate,
    times: u64,
    chance: f64,
    asked: AtomicU64,
    made: AtomicU64,
}

/// The rules of a gateway; the first that fits a request decides.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Faults {
    rules: Vec<Rule>,
    seed: u64,
}

impl Faults {
    /// Reads the rules.
    pub fn parse(rules: &[String], seed: u64) -> Result<Self, FaultError> {
        let rules =
            rules.iter().map(|rule| parse(rule).map_err(|reason| FaultError { rule: rule.clone(), reason }));
        Ok(Faults { rules: rules.collect::<Result<_, _>>()?, seed })
    }

    /// What is to happen to a request. Counts it.
    pub(super) fn decide(&self, method: &Method, path: &str) -> Fate {
        for (index, rule) in self.rules.iter().enumerate() {
            let fits = rule.method.as_ref().is_none_or(|m| m == method) && glob(&rule.path, path);
            if !fits {
                continue;
            }
            let asked = rule.asked.fetch_add(1, Ordering::Relaxed);
            if chance(self.seed, index as u64, asked) >= rule.chance {
                continue;
            }
            if rule.made.fetch_add(1, Ordering::Relaxed) < rule.times {
                return rule.fate.clone();
            }
        }
        Fate::default()
    }
}

fn parse(text: &str) -> Result<Rule, String> {
    let (who, what) = text.split_once(": ").ok_or("it needs ': ' between path and fault")?;
    let mut who: Vec<&str> = who.split_whitespace().collect();
    let path =
        who.pop().filter(|path| path.starts_with('/')).ok_or("it needs a path that starts with '/'")?;
    let method = match who.as_slice() {
        [] | ["*"] => None,
        [one] => Some(one.parse::<Method>().map_err(|_| format!("'{one}' is no method"))?),
        _ => return Err("it has words before the method".to_owned()),
    };
    let mut rule = Rule {
        method,
        path: path.into(),
        fate: Fate { rule: Some(text.into()), ..Fate::default() },
        times: u64::MAX,
        chance: 1.0,
        asked: AtomicU64::new(0),
        made: AtomicU64::new(0),
    };
    for word in what.split_whitespace() {
        read_word(word, &mut rule).ok_or_else(|| format!("'{word}' is not understood"))?;
    }
    let fate = &rule.fate;
    if fate.before().is_none() && !fate.lose && !fate.truncate && fate.delay.is_none() {
        return Err("it does nothing".to_owned());
    }
    Ok(rule)
}

fn read_word(word: &str, rule: &mut Rule) -> Option<()> {
    let fate = &mut rule.fate;
    if let Some(times) = word.strip_prefix('x') {
        rule.times = times.parse().ok()?;
    } else if let Some(percent) = word.strip_suffix('%') {
        rule.chance = percent.parse::<f64>().ok().filter(|p| (0.0..=100.0).contains(p))? / 100.0;
    } else if let Some(time) = word.strip_prefix("latency=") {
        let (number, unit) = time.split_at(time.find(|c: char| !c.is_ascii_digit())?);
        let number: u64 = number.parse().ok()?;
        fate.delay = Some(match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            _ => return None,
        });
    } else if let Some(seconds) = word.strip_prefix("retry-after=") {
        fate.retry_after = Some(seconds.parse().ok()?);
    } else {
        match word {
            "drop" => fate.drop = true,
            "lose" => fate.lose = true,
            "truncate" => fate.truncate = true,
            status => fate.status = Some(status.parse().ok()?),
        }
    }
    Some(())
}

/// Whether a pattern with `*` for any text fits the whole of a text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

/// A number in 0..1 that follows from its arguments alone (splitmix64).
fn chance(seed: u64, rule: u64, asked: u64) -> f64 {
    let mut x = seed ^ rule.rotate_left(32) ^ asked.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &[&str], seed: u64) -> Faults {
        Faults::parse(&rules.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>(), seed).unwrap()
    }

    #[test]
    fn a_rule_fits_by_method_and_path_and_ends_after_its_times() {
        let faults = faults(&["PUT /routes/*: 503 x2", "/status: latency=5ms"], 0);
        let status = |method: Method, path: &str| faults.decide(&method, path).status.map(|s| s.as_u16());
        assert_eq!(status(Method::GET, "/routes/a"), None);
        assert_eq!(status(Method::PUT, "/services/a"), None);
        assert_eq!(status(Method::PUT, "/routes/a"), Some(503));
        assert_eq!(status(Method::PUT, "/routes/b"), Some(503));
        assert_eq!(status(Method::PUT, "/routes/c"), None);
        assert_eq!(faults.decide(&Method::GET, "/status").delay, Some(Duration::from_millis(5)));
    }

    #[test]
    fn chances_follow_the_seed() {
        let run = |seed| {
            let faults = faults(&["/*: 429 retry-after=1 30%"], seed);
            (0..200).map(|_| faults.decide(&Method::GET, "/a").status.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let made = run(7).iter().filter(|made| **made).count();
        assert!((30..90).contains(&made), "{made} of 200");
    }

    #[test]
    fn rules_that_cannot_be_read_are_refused() {
        for rule in
            ["/a 503", "GET a: 503", "/a: x3", "/a: latency=5", "/a: 99999", "/a: explode", "A B /a: drop"]
        {
            assert!(Faults::parse(&[rule.to_owned()], 0).is_err(), "{rule}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, fits) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/*", "/", true),
            ("/v2/*/core-entities/*", "/v2/x/y/core-entities/routes", true),
            ("/*/plugins", "/services/s/plugins", true),
            ("/*/plugins", "/services/s/plugins/p", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
