//! What services say that was used.

use crate::Usage;
use crate::json::{Kind, Value};

/// Takes what an object says, in the words of whichever API; what it does not say stays as it was.
pub(super) fn take(object: Value<'_>, usage: &mut Usage) {
    for holder in [object.get("response"), object.get("message"), Some(object)].into_iter().flatten() {
        if let Some(said) = holder.get("usage").filter(|said| said.kind() == Kind::Object) {
            put(said, usage);
        }
    }
    let count = |object: Value<'_>, name| object.get(name).and_then(Value::count);
    if !usage.said {
        // llama.cpp's, where it says nothing else, and Ollama's.
        let timings = object.get("timings").unwrap_or(object);
        let input = count(timings, "prompt_n").map(|fresh| fresh.saturating_add(count(timings, "cache_n").unwrap_or(0)));
        let input = input.or_else(|| count(object, "prompt_eval_count"));
        let output = count(timings, "predicted_n").or_else(|| count(object, "eval_count"));
        if input.is_some() || output.is_some() {
            *usage = Usage { input: input.unwrap_or(0), output: output.unwrap_or(0), said: true };
        }
    }
}

fn put(said: Value<'_>, usage: &mut Usage) {
    let count = |name| said.get(name).and_then(Value::count);
    let kept = |name| count(name).unwrap_or(0);
    // Anthropic counts apart what it had kept.
    let apart = kept("cache_read_input_tokens").saturating_add(kept("cache_creation_input_tokens"));
    let input = count("prompt_tokens").or_else(|| count("input_tokens").map(|fresh| fresh.saturating_add(apart)));
    let output = count("completion_tokens").or_else(|| count("output_tokens"));
    if let Some(input) = input {
        usage.input = input;
    }
    if let Some(output) = output {
        usage.output = output;
    }
    usage.said |= input.is_some() || output.is_some();
}
