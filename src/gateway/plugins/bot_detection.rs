//! `bot-detection`: clients whose `User-Agent` is that of a program that crawls or scrapes are turned away.

use super::{ConfigError, Entry, Failure, Flow, Instance, Plugin};
use crate::gateway::proxy::Context;
use async_trait::async_trait;
use fancy_regex::Regex;
use http::StatusCode;
use http::header::USER_AGENT;
use std::sync::{Arc, OnceLock};

/// The plugin's line in the table.
pub const ENTRY: Entry = Entry { name: "bot-detection", priority: 2500, build };

/// What programs call themselves that are no browsers.
const BOTS: &[&str] = &[
    // Crawlers, spiders and scrapers by their names and versions.
    r"(?i)[a-z0-9_.-]{0,50}(?:bot|spider|crawler|crawl|scraper|scrape|archiver|indexer)[a-z0-9_-]{0,50}[ /;]v?\d",
    r"(?i)\b(?:googlebot|bingbot|bingpreview|slurp|yandex\w*bot|baidu\s?spider|duckduckbot|semrushbot|mj12bot|twitterbot)",
    r"facebookexternalhit/\d|Google.*/\+/web/snippet|Mediapartners-Google|ia_archiver|heritrix|Pingdom\.com_bot",
    r"(?i)\b(?:nutch|scrapy|scrubby|larbin|htdig|findlinks|grub-client|xenu link sleuth|slack-imgproxy|slackbot)",
    // Libraries that send requests.
    r"(?:Apache-HttpClient|Go-http-client|Google-HTTP-Java-Client|Python-urllib|okhttp|reqwest|axios|scalaj-http)",
    r"(?:WinHTTP|JNLP|HttpMonitor|TLSProber|aihttp|unirest-\w+)",
    r"\b(?:Boto3?|JetS3t|aws-(?:cli|sdk-\w+)|s3fs)/\d+",
    // Measuring stations.
    r" PTST/\d+\.?\d*$|MSIECrawler|Catchpoint|GomezAgent|WebThumb|netresearch",
];

struct BotDetection {
    allow: Vec<Regex>,
    deny: Vec<Regex>,
}

fn build(instance: &Instance<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
    let patterns = |field: &str| {
        let pattern = |text: &str| Regex::new(text).map_err(|e| ConfigError::new(field, e.to_string()));
        instance.texts(field).iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Arc::new(BotDetection { allow: patterns("allow")?, deny: patterns("deny")? }))
}

fn bots() -> &'static [Regex] {
    static BUILT: OnceLock<Vec<Regex>> = OnceLock::new();
    BUILT.get_or_init(|| BOTS.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect())
}

#[async_trait]
impl Plugin for BotDetection {
    async fn access(&self, context: &mut Context) -> Result<Flow, Failure> {
        let mut agents = context.inbound.headers.get_all(USER_AGENT).iter();
        let Some(agent) = agents.next() else { return Ok(Flow::Continue) };
        if agents.next().is_some() {
            let message = "Only one User-Agent header allowed";
            return Ok(Flow::Respond(context.error(StatusCode::BAD_REQUEST, message)));
        }
        let agent = String::from_utf8_lossy(agent.as_bytes());
        let agent = agent.trim();
        let found =
            |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(agent).unwrap_or(false));
        if !found(&self.allow) && (found(&self.deny) || found(bots())) {
            return Ok(Flow::Respond(context.error(StatusCode::FORBIDDEN, "Forbidden")));
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_browsers() {
        assert_eq!(bots().len(), BOTS.len());
        let is_bot = |agent: &str| bots().iter().any(|pattern| pattern.is_match(agent).unwrap_or(false));
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://x)",
            "Go-http-client/1.1",
            "my-crawler/3",
            "Scrapy/2.5",
        ] {
            assert!(is_bot(agent), "{agent}");
        }
        for agent in
            ["curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0", "robotics", "PostmanRuntime/7"]
        {
            assert!(!is_bot(agent), "{agent}");
        }
    }
}
