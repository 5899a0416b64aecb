//! A small web server on loopback that answers as it is told, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::free_port;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
}

type Answers = dyn Fn(&Asked) -> (u16, String) + Send + Sync;

/// The server.
pub(crate) struct Web {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Box<Answers>>>,
}

impl Web {
    /// A server whose answers, a status and a body of JSON, this function gives; a redirect leads to where its body says.
    pub(crate) fn start(answers: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Mutex<Box<Answers>>> = Arc::new(Mutex::new(Box::new(answers)));
        let (kept, answering) = (asked.clone(), answers.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answering) = (kept.clone(), answering.clone());
                std::thread::spawn(move || serve(stream, &kept, &answering));
            }
        });
        Self { port, asked, answers }
    }

    pub(crate) fn answer(&self, answers: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Box::new(answers);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked whose path begins so.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.line.contains(&format!(" {path}"))).cloned().collect()
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Asked>>, answers: &Mutex<Box<Answers>>) {
    let mut reader = BufReader::new(stream);
    let mut asked = Asked { line: String::new(), authorization: None };
    let mut length = 0;
    if reader.read_line(&mut asked.line).is_err() || asked.line.is_empty() {
        return;
    }
    asked.line = asked.line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok() && !line.trim().is_empty() {
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "authorization" => asked.authorization = Some(value.trim().to_owned()),
                "content-length" => length = value.trim().parse().unwrap(),
                _ => {}
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    kept.lock().unwrap().push(asked.clone());
    let (status, body) = answers.lock().unwrap()(&asked);
    let location = if (300..400).contains(&status) { format!("location: {body}\r\n") } else { String::new() };
    let head = format!("HTTP/1.1 {status} Answered\r\ncontent-type: application/json\r\nconnection: close\r\n{location}");
    let _ = write!(reader.get_mut(), "{head}content-length: {}\r\n\r\n{body}", body.len());
}
