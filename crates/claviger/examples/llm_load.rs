//! Load for what stands before an API of language models, and such an API that is fast because there is no model in it. `bench/llm` runs it.
//!
//! ```text
//! llm_load serve PORT
//! llm_load requests PORT TOKEN CONNECTIONS SECONDS
//! llm_load streams PORT TOKEN STREAMS SECONDS
//! ```
//!
//! The last two print a line of JSON; times are in microseconds.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Between two events of a stream.
const PACE: Duration = Duration::from_millis(200);

/// Over which streams begin.
const RAMP: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", port] => serve(port.parse().unwrap()).await,
        ["requests", port, token, connections, seconds] => {
            requests(port.parse().unwrap(), token, connections.parse().unwrap(), seconds.parse().unwrap()).await;
        }
        ["streams", port, token, streams, seconds] => {
            streamed(port.parse().unwrap(), token, streams.parse().unwrap(), seconds.parse().unwrap()).await;
        }
        _ => panic!("serve PORT | requests PORT TOKEN CONNECTIONS SECONDS | streams PORT TOKEN STREAMS SECONDS"),
    }
}

// --- Asking ---------------------------------------------------------------------------------------------------------

/// Values are found in it, and it is about as long as a short question with its context.
fn question(token: &str, events: Option<u64>) -> Vec<u8> {
    let prose =
        "The branch opened in 1987 and has served the neighbourhood ever since; customers come for advice, and for loans. "
            .repeat(6);
    let asked = format!("{prose}Why was card 4111 1111 1111 1111 of SSN 536-90-4399 declined?");
    let messages = json!([{ "role": "system", "content": "You work for a bank." }, { "role": "user", "content": asked }]);
    let content =
        json!({ "model": "none", "messages": messages, "max_tokens": events.unwrap_or(100), "stream": events.is_some() });
    let content = content.to_string();
    let length = content.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{content}"
    )
    .into()
}

async fn requests(port: u16, token: &str, connections: usize, seconds: u64) {
    let question: Arc<[u8]> = question(token, None).into();
    let until = Instant::now() + Duration::from_secs(seconds);
    let asking = (0..connections).map(|_| {
        let question = Arc::clone(&question);
        tokio::spawn(async move {
            let (mut wire, mut times) = (Wire::to(port).await, Vec::new());
            while Instant::now() < until {
                let began = Instant::now();
                wire.socket.write_all(&question).await.unwrap();
                let framing = wire.head().await;
                let content = wire.content(framing).await;
                assert!(content.windows(8).any(|part| part == b"choices\""), "{}", String::from_utf8_lossy(&content));
                times.push(micros(began));
            }
            times
        })
    });
    let mut times = Vec::new();
    for task in asking.collect::<Vec<_>>() {
        times.extend(task.await.unwrap());
    }
    let each = times.len() as u64 / seconds;
    println!("{}", json!({ "per_second": each, "p50": percentile(&mut times, 50), "p99": percentile(&mut times, 99) }));
}

/// What was seen of streams.
#[derive(Default)]
struct Seen {
    /// From asking to the first event, and from each to the next.
    firsts: Vec<u64>,
    gaps: Vec<u64>,
    /// From when words were sent to when they came.
    delays: Vec<u64>,
}

async fn streamed(port: u16, token: &str, streams: u32, seconds: u64) {
    let events = seconds * 5;
    let question: Arc<[u8]> = question(token, Some(events)).into();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let asking = (0..streams).map(|number| {
        let (question, seen) = (Arc::clone(&question), Arc::clone(&seen));
        tokio::spawn(async move {
            sleep(RAMP * number / streams).await;
            one_stream(port, &question, &seen).await;
        })
    });
    for task in asking.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut seen = seen.lock().unwrap();
    assert_eq!(seen.delays.len() as u64, u64::from(streams) * events, "words are missing");
    let mut figures = json!({ "events": seen.gaps.len() + seen.firsts.len() });
    let Seen { firsts, gaps, delays } = &mut *seen;
    for (name, times) in [("first event", firsts), ("gap", gaps), ("delay of words", delays)] {
        figures[name] = json!([50, 99].map(|percent| percentile(times, percent)));
    }
    println!("{figures}");
}

async fn one_stream(port: u16, question: &[u8], seen: &Mutex<Seen>) {
    let mut wire = Wire::to(port).await;
    let began = Instant::now();
    wire.socket.write_all(question).await.unwrap();
    assert!(matches!(wire.head().await, Framing::Chunks), "no stream");
    let (mut last, mut carried, mut text) = (None, Vec::new(), String::new());
    while let Some(chunk) = wire.chunk().await {
        carried.extend(chunk);
        while let Some(end) = carried.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = carried.drain(..end + 2).collect();
            // What is said so that a connection is kept open is no event.
            let Some(event) = event.strip_prefix(b"data: ") else { continue };
            let mut seen = seen.lock().unwrap();
            match last.replace(Instant::now()) {
                None => seen.firsts.push(micros(began)),
                Some(before) => seen.gaps.push(micros(before)),
            }
            let event: serde_json::Value = serde_json::from_slice(event).unwrap_or_default();
            text += event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            while let Some((word, rest)) = text.split_once(' ') {
                seen.delays.push(clock().saturating_sub(sent(word)));
                text = rest.to_owned();
            }
        }
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap()
}

fn percentile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    values.get(values.len() * percent / 100).copied().unwrap_or_default()
}

/// The time of day in microseconds, within two days.
fn clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros() % 26_u128.pow(8)).unwrap()
}

/// The time of day as a word, in which nobody finds anything.
fn word() -> String {
    let mut now = clock();
    let letter = |_| {
        let letter = b'a' + u8::try_from(now % 26).unwrap();
        now /= 26;
        char::from(letter)
    };
    (0..8).map(letter).collect()
}

/// The time of day that a word stands for.
fn sent(word: &str) -> u64 {
    word.bytes().rev().fold(0, |sent, letter| sent * 26 + u64::from(letter - b'a'))
}

// --- Answering ------------------------------------------------------------------------------------------------------

async fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut wire = Wire { socket, input: Vec::new() };
            while answer(&mut wire).await.is_ok() {}
        });
    }
}

/// Answers one request; an error if there is no other.
async fn answer(wire: &mut Wire) -> io::Result<()> {
    while wire.end_of_head().is_none() {
        wire.read().await?;
    }
    let Framing::Length(length) = wire.head().await else { panic!("a request without a length") };
    let asked = wire.content(Framing::Length(length)).await;
    let asked: serde_json::Value = serde_json::from_slice(&asked).unwrap();
    let usage = json!({ "prompt_tokens": 180, "completion_tokens": 60, "total_tokens": 240 });
    let of = |object: &str, choice: serde_json::Value, usage: &serde_json::Value| json!({ "id": "chatcmpl-1", "object": object, "created": 1_795_000_000, "model": "none", "choices": [choice], "usage": usage });
    if asked["stream"] != true {
        let words = "The card 4111 1111 1111 1111 was declined because its account had no money at that time. ".repeat(4);
        let message = json!({ "role": "assistant", "content": words });
        let content =
            of("chat.completion", json!({ "index": 0, "message": message, "finish_reason": "stop" }), &usage).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", content.len());
        return wire.socket.write_all((head + &content).as_bytes()).await;
    }
    wire.socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    let chunk = |event: String| format!("{:x}\r\ndata: {event}\n\n\r\n", event.len() + 8);
    for _ in 0..asked["max_tokens"].as_u64().unwrap() {
        let choice = json!({ "index": 0, "delta": { "content": format!("{} ", word()) }, "finish_reason": null });
        wire.socket
            .write_all(chunk(of("chat.completion.chunk", choice, &serde_json::Value::Null).to_string()).as_bytes())
            .await?;
        sleep(PACE).await;
    }
    let choice = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
    let end = chunk(of("chat.completion.chunk", choice, &usage).to_string()) + &chunk("[DONE]".to_owned()) + "0\r\n\r\n";
    wire.socket.write_all(end.as_bytes()).await
}

// --- HTTP, as much of it as is needed ---------------------------------------------------------------------------------

struct Wire {
    socket: TcpStream,
    input: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunks,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, input: Vec::new() }
    }

    fn end_of_head(&self) -> Option<usize> {
        self.input.windows(4).position(|end| end == b"\r\n\r\n")
    }

    /// Reads a head; how its content is framed.
    async fn head(&mut self) -> Framing {
        let end = loop {
            match self.end_of_head() {
                Some(end) => break end,
                None => self.read().await.expect("a head"),
            }
        };
        let head = String::from_utf8_lossy(&self.input[..end]).to_ascii_lowercase();
        assert!(!head.starts_with("http/") || head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&self.input));
        self.input.drain(..end + 4);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        length.map_or(Framing::Chunks, |length| Framing::Length(length.trim().parse().unwrap()))
    }

    async fn content(&mut self, framing: Framing) -> Vec<u8> {
        match framing {
            Framing::Length(length) => self.exactly(length).await,
            Framing::Chunks => {
                let mut content = Vec::new();
                while let Some(chunk) = self.chunk().await {
                    content.extend(chunk);
                }
                content
            }
        }
    }

    /// The next chunk; `None` at the end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            match self.input.iter().position(|byte| *byte == b'\n') {
                Some(end) => break self.input.drain(..=end).collect::<Vec<_>>(),
                None => self.read().await.expect("a chunk"),
            }
        };
        let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
        let mut chunk = self.exactly(length + 2).await;
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.input.len() < length {
            self.read().await.expect("content");
        }
        self.input.drain(..length).collect()
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
