//! `images`, `audio` and `moderations`: answers of the right shape with the smallest content there is.

use super::super::api::Found;
use super::super::reply::tokens;
use super::{CHAT, CREATED, MAX_CHOICES, set};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value as Json, json};

/// A transparent PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A tenth of a second of silence, as WAV.
fn silence() -> Vec<u8> {
    const RATE: u32 = 8000;
    const SAMPLES: u32 = RATE / 10;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + SAMPLES).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt ");
    wave.extend_from_slice(&16u32.to_le_bytes());
    // PCM, one channel
    wave.extend_from_slice(&[1, 0, 1, 0]);
    wave.extend_from_slice(&RATE.to_le_bytes());
    wave.extend_from_slice(&RATE.to_le_bytes());
    // a byte a sample, eight bits
    wave.extend_from_slice(&[1, 0, 8, 0]);
    wave.extend_from_slice(b"data");
    wave.extend_from_slice(&SAMPLES.to_le_bytes());
    wave.resize(wave.len() + SAMPLES as usize, 0x80);
    wave
}

/// The answer, if the path is one of these. Numbers may be texts, as in forms.
pub(in super::super) fn answer(path: &str, asked: &Json) -> Option<Found> {
    let ends = |end: &str| path.ends_with(end);
    if ends("/images/generations") || ends("/images/edits") || ends("/images/variations") {
        let kind = if ends("/images/generations") { "image_generation" } else { "image_edit" };
        return Some(if streams(asked) { image_events(kind, asked) } else { images(asked) });
    }
    if ends("/audio/speech") {
        let body = Bytes::from(silence());
        return Some(Found { status: StatusCode::OK, api: &CHAT, content_type: "audio/wav", body });
    }
    if ends("/audio/transcriptions") || ends("/audio/translations") {
        let text = "This is what the mock provider heard.";
        let usage = json!({"type": "tokens", "input_tokens": 1, "output_tokens": tokens(text),
                           "total_tokens": 1 + tokens(text)});
        if streams(asked) {
            let words =
                text.split_inclusive(' ').map(|word| json!({"type": "transcript.text.delta", "delta": word}));
            return Some(events(
                words.chain([json!({"type": "transcript.text.done", "text": text, "usage": usage})]),
            ));
        }
        return Some(match asked.get("response_format").and_then(Json::as_str) {
            Some("verbose_json") => {
                json(&json!({"task": "transcribe", "language": "english", "duration": 0.1,
                "text": text, "segments": [{"id": 0, "seek": 0, "start": 0.0, "end": 0.1, "text": text, "tokens": [],
                    "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0}]}))
            }
            Some("text" | "srt" | "vtt") => {
                let body = Bytes::from(format!("{text}\n"));
                Found { status: StatusCode::OK, api: &CHAT, content_type: "text/plain", body }
            }
            _ => json(&json!({"text": text, "usage": usage})),
        });
    }
    ends("/moderations").then(|| {
        let names = ["harassment", "hate", "illicit", "self-harm", "sexual", "violence"];
        let each = |value: Json| names.iter().map(|name| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>();
        let inputs = asked.get("input").and_then(Json::as_array).map_or(1, Vec::len).clamp(1, 64);
        let result = json!({"flagged": false, "categories": each(false.into()), "category_scores": each(0.0.into()),
                            "category_applied_input_types": each(json!(["text"]))});
        json(&json!({"id": "modr-mock", "model": "omni-moderation-latest", "results": vec![result; inputs]}))
    })
}

/// Whether the client wants events; forms say it in text.
fn streams(asked: &Json) -> bool {
    asked.get("stream").is_some_and(|stream| *stream == Json::Bool(true) || stream.as_str() == Some("true"))
}

fn events(events: impl Iterator<Item = Json>) -> Found {
    let mut body = String::new();
    for event in events {
        let kind = event.get("type").and_then(Json::as_str).unwrap_or_default();
        body.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    }
    Found { status: StatusCode::OK, api: &CHAT, content_type: "text/event-stream", body: body.into() }
}

/// The partial images that are asked for, and the image.
fn image_events(kind: &str, asked: &Json) -> Found {
    let partial = asked.get("partial_images").and_then(Json::as_u64).unwrap_or(0).min(3);
    let image = |word: &str| {
        json!({"type": format!("{kind}.{word}"), "b64_json": PIXEL, "created_at": CREATED, "background": "auto",
               "output_format": "png", "quality": "auto", "size": "1024x1024"})
    };
    let partials = (0..partial).map(|index| {
        let mut event = image("partial_image");
        set(&mut event, "partial_image_index", index.into());
        event
    });
    let mut whole = image("completed");
    set(
        &mut whole,
        "usage",
        json!({"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
        "input_tokens_details": {"text_tokens": 1, "image_tokens": 0}}),
    );
    events(partials.chain([whole]))
}

fn json(body: &Json) -> Found {
    Found::json(&CHAT, StatusCode::OK, body)
}

fn images(asked: &Json) -> Found {
    let text = |name: &str| asked.get(name).and_then(Json::as_str);
    let model = text("model").unwrap_or_default();
    let as_url = match text("response_format") {
        Some(format) => format == "url",
        None => model.starts_with("dall-e"),
    };
    let count = asked.get("n").and_then(Json::as_u64).or_else(|| text("n")?.parse().ok());
    let image = if as_url {
        json!({"url": format!("data:image/png;base64,{PIXEL}")})
    } else {
        json!({"b64_json": PIXEL})
    };
    let images = vec![image; count.unwrap_or(1).clamp(1, MAX_CHOICES) as usize];
    let input = tokens(text("prompt").unwrap_or_default());
    let usage = json!({"input_tokens": input, "output_tokens": images.len(), "total_tokens": input + images.len() as u64,
                       "input_tokens_details": {"text_tokens": input, "image_tokens": 0}});
    json(&json!({"created": CREATED, "data": images, "usage": usage}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn numbers_of_forms_are_read() {
        let found = answer("/v1/images/edits", &json!({"n": "2"}));
        let body: Json = found.and_then(|found| serde_json::from_slice(&found.body).ok()).unwrap_or_default();
        assert_eq!(body.get("data").and_then(Json::as_array).map(Vec::len), Some(2));
    }

    #[test]
    fn the_pixel_and_the_silence_are_what_they_say() {
        assert!(STANDARD.decode(PIXEL).is_ok_and(|png| png.starts_with(b"\x89PNG")));
        assert_eq!(silence().len(), 44 + 800);
    }
}
