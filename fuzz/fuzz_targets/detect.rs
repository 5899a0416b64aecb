//! Any text, in a column if there is a name and a `|` before it: what is found lies in the text, and nothing is found in what masking
//! leaves.
#![no_main]

use claviger_mask::detect::{Context, Counts, DetectorConfig, Detectors, EntitySet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let detectors = Detectors::new(&DetectorConfig { on: EntitySet::ALL, ..DetectorConfig::default() }).expect("detectors");
    let bar = input.iter().position(|byte| *byte == b'|');
    let column = bar.and_then(|bar| std::str::from_utf8(&input[..bar]).ok());
    let text = &input[bar.filter(|_| column.is_some()).map_or(0, |bar| bar + 1)..];
    let mut context = column.map_or_else(Context::default, |column| detectors.column(column, []));
    if text.starts_with(b"{") {
        context = context.json();
    }
    let mut found = Vec::new();
    detectors.scan(text, context, &mut found);
    let mut place = 0;
    for found in &found {
        assert!(place <= found.span.start && found.span.start < found.span.end && found.span.end <= text.len(), "{found:?}");
        if let Ok(text) = std::str::from_utf8(text) {
            assert!(text.get(found.span.clone()).is_some(), "{found:?} cuts a character");
        }
        place = found.span.end;
    }
    let mut counts = Counts::default();
    let masked = detectors.mask(text, context, &mut counts);
    assert_eq!(counts.is_empty(), found.is_empty());
    found.clear();
    detectors.scan(&masked, context, &mut found);
    assert!(found.is_empty(), "{found:?} is left in {:?}", String::from_utf8_lossy(&masked));
});
