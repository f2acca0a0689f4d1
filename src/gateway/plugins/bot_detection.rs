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
    // Whatever says that it crawls, and names that end so before a version.
    r"(?i:spider|crawl)|[Ss]crape",
    r"(?:[Aa]rchiver|[Ii]ndexer|[Ss]craper|[Bb]ot|[Ss]pider|[Cc]rawl[a-z]{0,50})[/ ]\d",
    // Crawlers of search engines, and what fetches pages for previews, feeds and statistics.
    r"bingbot|BingPreview|Googlebot|AdsBot-Google|Mediapartners-Google|AppEngine-Google|Google SketchUp|msnbot",
    r"msrbot|Slurp|Yahoo! Slurp|YahooSeeker|Yandex\w|[Bb]ai[Dd]u[Ss]pider-|altavista|lycos|Ask Jeeves|Daumoa|Yeti\b",
    r"Twitterbot|LinkedInBot|WhatsApp|Slackbot-LinkExpanding|Slack-ImgProxy|facebookexternalhit/\d|Mail\.RU_Bot",
    r"SemrushBot|MJ12bot|Qwantify|Genieo|BUbiNG|gigabot|seekbot|blitzbot|furlbot|YodaoBot|ZeBot|ZyBorg|Linguee Bot",
    r"heritrix|ia_archiver|InternetArchive|archive.{0,30}\.org_bot|archiver|Nutch|Scrapy|Scrubby|larbin|htdig",
    r"holmes|ichiro|findlinks|grub-client|gsa-crawler|masscan|WhatWeb|Web-sniffer|netresearch|Checklinks|Wotbox",
    r"Xenu(?:.s|) Link Sleuth|URL2PNG|WebThumb|ThumbShotsBot|PagePeeker|PagesInventory|favicon|SimplePie|SimpleRSS",
    r"BlogBridge|Bloglovin|Netvibes|NewsGator|Feedbin|Tiny Tiny RSS|WordPress|Stringer|Kraken|Pompos|scooter|Riddler",
    r"Google.*/\+/web/snippet|\b(?:Steeler|Goodzer|Grub|Argus|BoardReader|WebZIP|PostPost|envolk)/\d",
    // Libraries that send requests.
    r"Apache-HttpClient|Go-http-client|Google-HTTP-Java-Client|scalaj-http|http%20client|Python-urllib|okhttp",
    r"aihttp|reqwest|axios|WinHTTP|JNLP|HttpMonitor|TLSProber|unirest-(?:java|python|ruby|nodejs|php|net)",
    r"\b(?:Boto3?|JetS3t|aws-(?:cli|sdk-\w+)|s3fs)/\d+\.\d",
    // Measuring stations.
    r" PTST/\d+\.?\d+$|MSIE \d+\.\d+.*;.* MSIECrawler|Pingdom\.com_bot_version_\d|Catchpoint|GomezAgent|SiteCon",
    r"YottaaMonitor|SEOstats|InfuzApp",
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
            "my-crawler",
            "fine-bot/2",
            "WordPress/6",
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
