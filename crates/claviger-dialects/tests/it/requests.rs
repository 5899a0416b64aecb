//! What requests mean, as a table to read.

use claviger_dialects::{Dialect, NotRead, Reading, Request};
use claviger_model::Object;

const JSON: Option<&str> = Some("application/json");

pub(crate) fn request<'a>(method: &'static str, path: &'a str, content: &'a str) -> Request<'a> {
    Request { method, path, query: None, content_type: JSON, prompt: None, content: content.as_bytes() }
}

/// Everything but that the endpoint is invoked.
fn effects(reading: &Reading) -> Vec<String> {
    let effects = reading.meaning.effects.iter();
    let words = effects.filter_map(|effect| {
        let verb = effect.verb.as_str();
        match &effect.object {
            Object::Endpoint(_) if verb == "invoke" => None,
            Object::Endpoint(_) => Some(verb.to_owned()),
            Object::Model(name) => Some(format!("{verb} model {name}")),
            Object::Tool(name) => Some(format!("{verb} tool {name}")),
            Object::Prompt(name) => Some(format!("{verb} prompt {name}")),
            Object::Definition(what) => Some(format!("{verb} {} {}", what.kind, what.name)),
            other => panic!("{other:?}"),
        }
    });
    let hazards = reading.meaning.hazards.iter().map(|hazard| format!("! {}", hazard.as_str()));
    words.chain(hazards).collect()
}

pub(crate) fn meaning(dialect: Dialect, method: &'static str, path: &str, content: &str) -> String {
    match dialect.read(&request(method, path, content)) {
        Ok(reading) => effects(&reading).join(", "),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn models_are_asked() {
    let table = [
        ("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#, "invoke model gpt-4o"),
        ("/chat/completions", r#"{"model":"m"}"#, "invoke model m"),
        ("/openai/v1/chat/completions", r#"{"model":"m"}"#, "invoke model m"),
        ("/openai/deployments/prod-4o/chat/completions", r#"{"messages":[]}"#, "invoke model prod-4o"),
        (
            "/openai/deployments/prod-4o/embeddings",
            r#"{"model":"other","input":"a"}"#,
            "invoke model other, invoke model prod-4o",
        ),
        ("/v1/chat/completions", r#"{"messages":[]}"#, "! unknown"),
        ("/v1/chat/completions", r#"{"model":"","messages":[]}"#, "! unknown"),
        (
            "/v1/chat/completions",
            r#"{"model":"m","tools":[{"type":"function","function":{"name":"run_query","parameters":{}}},
                {"type":"custom","custom":{"name":"grep"}}],"functions":[{"name":"old"}],"web_search_options":{}}"#,
            "invoke model m, offer tool grep, offer tool old, offer tool run_query, offer tool web_search",
        ),
        (
            "/v1/responses",
            r#"{"model":"m","input":"hi","previous_response_id":"resp_1","tools":[{"type":"function","name":"f"},
                {"type":"file_search","vector_store_ids":["vs_1","vs_2"]},{"type":"web_search_preview_2025_03_11"},
                {"type":"code_interpreter","container":{"type":"auto","file_ids":["file-9"]}},
                {"type":"mcp","server_label":"crm","server_url":"https://x"}],"prompt":{"id":"pmpt_1","version":"2"}}"#,
            "read file file-9, read response resp_1, read vector store vs_1, read vector store vs_2, invoke model m, \
             invoke prompt pmpt_1, offer tool code_interpreter, offer tool f, offer tool file_search, offer tool mcp:crm, \
             offer tool web_search",
        ),
        (
            "/v1/responses",
            r#"{"model":"m","conversation":{"id":"conv_1"},"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}"#,
            "read conversation conv_1, read file file-1, insert conversation conv_1, invoke model m",
        ),
        (
            "/v1/messages",
            r#"{"model":"claude","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_7"}}]}],
                "tools":[{"name":"get_weather","input_schema":{"type":"object"}},{"type":"web_search_20250305","name":"web_search"}],
                "mcp_servers":[{"type":"url","url":"https://x","name":"crm"}]}"#,
            "read file file_7, invoke model claude, offer tool get_weather, offer tool mcp:crm, offer tool web_search",
        ),
        ("/v1/chat/completions", r#"{"model":"m","tools":[{"google_search":{}}]}"#, "invoke model m, offer tool google_search"),
        ("/v1/messages/count_tokens", r#"{"model":"claude","messages":[]}"#, "invoke model claude"),
        ("/v1/embeddings", r#"{"model":"e","input":["a"]}"#, "invoke model e"),
        ("/v1/moderations", r#"{"input":"a"}"#, ""),
        (
            "/v1/completions",
            r#"{"model":"m","prompt":"a","metadata":{"run_name":"summary"}}"#,
            "invoke model m, invoke prompt summary",
        ),
        (
            "/api/chat",
            r#"{"model":"llama3","messages":[],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
            "invoke model llama3, offer tool f",
        ),
        ("/v1/chat/completions/", r#"{"model":"m"}"#, "unknown, ! unknown"),
        ("/V1/chat/completions", r#"{"model":"m"}"#, "unknown, ! unknown"),
        ("/v1/realtime/client_secrets", "{}", "unknown, ! unknown"),
        ("/v1/organization/api_keys", "{}", "unknown, ! unknown"),
    ];
    for (path, content, effects) in table {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            assert_eq!(meaning(dialect, "POST", path, content), effects, "{path} {content}");
        }
    }
}

#[test]
fn what_is_kept_is_read_and_changed() {
    let table = [
        ("GET", "/v1/models", "", ""),
        ("GET", "/v1/models/org/llama", "", ""),
        ("DELETE", "/v1/models/ft:x", "", "drop model ft:x"),
        ("GET", "/v1/files", "", "read file *"),
        ("GET", "/v1/files/file-1/content", "", "read file file-1"),
        ("DELETE", "/v1/files/file-1", "", "drop file file-1"),
        ("POST", "/v1/vector_stores", r#"{"name":"kb","file_ids":["file-1"]}"#, "read file file-1, create vector store kb"),
        ("POST", "/v1/vector_stores", "", "create vector store *"),
        ("POST", "/v1/vector_stores/vs_1", r#"{"name":"x"}"#, "alter vector store vs_1"),
        ("DELETE", "/v1/vector_stores/vs_1", "", "drop vector store vs_1"),
        ("POST", "/v1/vector_stores/vs_1/files", r#"{"file_id":"file-1"}"#, "read file file-1, insert vector store vs_1"),
        ("DELETE", "/v1/vector_stores/vs_1/files/file-1", "", "delete vector store vs_1"),
        ("POST", "/v1/vector_stores/vs_1/search", r#"{"query":"x"}"#, "read vector store vs_1"),
        ("POST", "/v1/assistants", r#"{"model":"m","name":"clerk"}"#, "create assistant clerk, invoke model m"),
        ("POST", "/v1/assistants/asst_1", r#"{"instructions":"obey"}"#, "alter assistant asst_1"),
        ("POST", "/v1/threads/th_1/runs", r#"{"assistant_id":"asst_1"}"#, "read assistant asst_1, insert thread th_1"),
        ("POST", "/v1/threads/runs", r#"{"assistant_id":"asst_1"}"#, "read assistant asst_1, insert thread *, create thread *"),
        ("POST", "/v1/threads/th_1/messages", r#"{"role":"user","content":"x"}"#, "insert thread th_1"),
        ("GET", "/v1/threads/th_1/messages", "", "read thread th_1"),
        ("DELETE", "/v1/threads/th_1", "", "drop thread th_1"),
        ("GET", "/v1/responses/resp_1", "", "read response resp_1"),
        ("GET", "/v1/responses/resp_1/input_items", "", "read response resp_1"),
        ("POST", "/v1/responses/resp_1/cancel", "", "alter response resp_1"),
        ("DELETE", "/v1/responses/resp_1", "", "drop response resp_1"),
        ("POST", "/v1/conversations", r#"{"items":[]}"#, "create conversation *"),
        ("POST", "/v1/conversations/conv_1/items", r#"{"items":[]}"#, "insert conversation conv_1"),
        ("DELETE", "/v1/conversations/conv_1/items/i", "", "delete conversation conv_1"),
        ("POST", "/v1/prompts/p_1", r#"{"text":"x"}"#, "alter prompt p_1"),
        ("POST", "/v1/batches", r#"{"input_file_id":"file-1"}"#, "read file file-1, create batch *, ! opaque"),
        (
            "POST",
            "/v1/messages/batches",
            r#"{"requests":[{"custom_id":"1","params":{"model":"claude","tools":[{"name":"t"}]}}]}"#,
            "create batch *, invoke model claude, offer tool t",
        ),
        (
            "POST",
            "/v1/fine_tuning/jobs",
            r#"{"model":"m","training_file":"file-1"}"#,
            "read file file-1, create fine-tuning job *, invoke model m",
        ),
        ("POST", "/v1/fine_tuning/jobs/j/cancel", "", "alter fine-tuning job j"),
        ("DELETE", "/v1/chat/completions/c", "", "drop chat completion c"),
        ("POST", "/api/pull", r#"{"model":"llama3"}"#, "create model llama3"),
        ("DELETE", "/api/delete", r#"{"name":"llama3"}"#, "drop model llama3"),
        ("PUT", "/v1/models", "", "unknown, ! unknown"),
        ("GET", "/admin", "", "unknown, ! unknown"),
    ];
    for (method, path, content, effects) in table {
        assert_eq!(meaning(Dialect::OpenAi, method, path, content), effects, "{method} {path} {content}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(257));
    let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let table = [
        ("", NotRead::Syntax),
        ("hello", NotRead::Syntax),
        ("[]", NotRead::Syntax),
        (r#"{"model":"m"} {"model":"n"}"#, NotRead::Syntax),
        (r#"{"model":"m","model":"n"}"#, NotRead::Twice),
        (r#"{"model":"m","mod\u0065l":"n"}"#, NotRead::Twice),
        (r#"{"model":"m","Model":"n"}"#, NotRead::Form("model")),
        (r#"{"model":"m","tool\u017f":[]}"#, NotRead::Form("tools")),
        (r#"{"model":"m","messages":[{"role":"user","role":"system"}]}"#, NotRead::Twice),
        (r#"{"model":["m"]}"#, NotRead::Form("model")),
        (r#"{"model":7}"#, NotRead::Form("model")),
        (r#"{"model":"m\u0000"}"#, NotRead::Form("model")),
        (&long, NotRead::Form("model")),
        (r#"{"model":"m","tools":{}}"#, NotRead::Form("tools")),
        (r#"{"model":"m","tools":[{"type":"function"}]}"#, NotRead::Form("tools")),
        (r#"{"model":"m","tools":["f"]}"#, NotRead::Form("tools")),
        (&deep, NotRead::TooDeep),
    ];
    for (content, error) in table {
        let found = Dialect::OpenAi.read(&request("POST", "/v1/chat/completions", content));
        assert_eq!(found, Err(error), "{content}");
    }
}

#[test]
fn it_says_what_it_cannot_look_into_and_what_it_is() {
    let read = |path: &str, content: &str| Dialect::OpenAi.read(&request("POST", path, content)).unwrap();
    let image = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "A".repeat(90)
    );
    assert!(read("/v1/chat/completions", &image).opaque);
    let elsewhere = image.replace("data:", "https:");
    assert!(!read("/v1/chat/completions", &elsewhere).opaque);
    assert!(read("/v1/embeddings", r#"{"model":"m","input":[1,2,3]}"#).opaque);
    assert!(read("/v1/embeddings", r#"{"model":"m","input":[[1],[2]]}"#).opaque);
    assert!(!read("/v1/embeddings", r#"{"model":"m","input":["1"]}"#).opaque);
    assert!(read("/api/generate", r#"{"model":"m","prompt":"x","context":[1,2]}"#).opaque);
    assert!(!read("/api/generate", r#"{"model":"m","prompt":"x","context":[]}"#).opaque);
    let hidden = format!(
        r#"{{"model":"m","messages":[{{"role":"assistant","content":[{{"type":"redacted_thinking","data":"{}"}}]}}]}}"#,
        "A".repeat(90)
    );
    assert!(!read("/v1/messages", &hidden).opaque, "it comes from the service");
    let unknown = Request { content_type: Some("application/xml"), ..request("POST", "/v1/files/f", "<a/>") };
    assert_eq!(effects(&Dialect::OpenAi.read(&unknown).unwrap()), ["alter file f", "! unknown"]);
    let reading = read("/v1/responses", r#"{"model":"m","input":"x"}"#);
    assert_eq!((reading.meaning.class, reading.reads, reading.model.as_deref()), ("responses", true, Some("m")));
    assert!(!read("/v1/responses", r#"{"model":"m","input":"x","background":true}"#).reads);
    let deletion = Dialect::OpenAi.read(&request("DELETE", "/v1/files/f", "")).unwrap();
    assert_eq!((deletion.meaning.class, deletion.reads), ("DELETE", false));
    let prompted = Request { prompt: Some("daily"), ..request("POST", "/v1/chat/completions", r#"{"model":"m"}"#) };
    assert_eq!(effects(&Dialect::OpenAi.read(&prompted).unwrap()), ["invoke model m", "invoke prompt daily"]);
    let plain = Request { content_type: Some("text/plain"), ..request("POST", "/x", "hello") };
    assert!(effects(&Dialect::Plain.read(&plain).unwrap()).is_empty());
    // What is said to be text is JSON for some servers.
    let disguised = Request { content_type: Some("text/plain"), ..request("POST", "/v1/chat/completions", r#"{"model":"m"}"#) };
    assert_eq!(effects(&Dialect::OpenAi.read(&disguised).unwrap()), ["invoke model m"]);
}

#[test]
fn every_model_that_a_server_may_ask_is_named() {
    let table = [
        (r#"{"model":"a, b,c"}"#, "invoke model a, invoke model a, b,c, invoke model b, invoke model c"),
        (r#"{"model":"a","models":["b","c"]}"#, "invoke model a, invoke model b, invoke model c"),
        (r#"{"model":"a","fallbacks":[{"model":"b","messages":[]},"c"]}"#, "invoke model a, invoke model b, invoke model c"),
        (r#"{"model":"a","fallbacks":"b","models":null}"#, "invoke model a, invoke model b"),
        (r#"{"model":"a","fallbacks":[{"a":["b"]}]}"#, "invoke model a, ! unknown"),
        (r#"{"model":"a","fallbacks":[["b"]]}"#, "Form(\"fallbacks\")"),
        (r#"{"model":"a","Models":["b"]}"#, "Form(\"models\")"),
    ];
    for (content, effects) in table {
        assert_eq!(meaning(Dialect::OpenAi, "POST", "/v1/chat/completions", content), effects, "{content}");
    }
    let chat = request("POST", "/v1/chat/completions", r#"{"model":"m"}"#);
    for query in ["model=n", "a=b&mod%65l=n", "x;Model=n", "model"] {
        let asked = Dialect::OpenAi.read(&Request { query: Some(query), ..chat });
        assert_eq!(asked, Err(NotRead::Form("model")), "{query}");
    }
    assert!(Dialect::OpenAi.read(&Request { query: Some("api-version=model"), ..chat }).is_ok());
    let list = Request { query: Some("model=n"), ..request("GET", "/v1/chat/completions", "") };
    assert!(Dialect::OpenAi.read(&list).is_ok(), "it says which are listed");
    for content_type in ["application/x-www-form-urlencoded", "application/json; x=FORM", "multipart/form"] {
        let asked = Dialect::OpenAi.read(&Request { content_type: Some(content_type), ..chat });
        assert_eq!(asked, Err(NotRead::Form("content-type")), "{content_type}");
        assert!(Dialect::Plain.read(&Request { content_type: Some(content_type), ..chat }).is_ok());
    }
}
