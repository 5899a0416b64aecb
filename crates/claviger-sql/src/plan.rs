//! What a planner expects.

use bytes::Bytes;
use serde::Deserialize;

/// The parts of `EXPLAIN (FORMAT JSON)` that tell how many rows are expected.
#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Plan,
}

#[derive(Deserialize)]
struct Plan {
    #[serde(rename = "Node Type")]
    kind: String,
    #[serde(rename = "Plan Rows")]
    rows: f64,
    #[serde(rename = "Plans", default)]
    parts: Vec<Plan>,
}

/// How many rows a plan is expected to give, or to change. `None` if it is not one.
pub fn expected_rows(rows: &[Vec<Option<Bytes>>]) -> Option<u64> {
    let [row] = rows else { return None };
    let [explained] = &serde_json::from_slice::<Vec<Explained>>(row.first()?.as_deref()?).ok()?[..] else { return None };
    let plan = &explained.plan;
    // What changes rows gives none.
    let rows = if plan.kind == "ModifyTable" { plan.parts.iter().map(|part| part.rows).sum() } else { plan.rows };
    // Whole, and far below where that would not be exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (rows.is_finite() && rows >= 0.0).then_some(rows as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &'static str) -> Vec<Vec<Option<Bytes>>> {
        vec![vec![Some(Bytes::from_static(text.as_bytes()))]]
    }

    #[test]
    fn plans_tell_how_many_rows() {
        let plain = r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 5, "Total Cost": 1.5}}]"#;
        assert_eq!(expected_rows(&rows(plain)), Some(5));
        let changes = r#"[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [
            {"Node Type": "Nested Loop", "Plan Rows": 7, "Plans": [{"Node Type": "Seq Scan", "Plan Rows": 900}]}]}}]"#;
        assert_eq!(expected_rows(&rows(changes)), Some(7));
        for wrong in ["", "[]", "{}", r#"[{"Plan": {"Node Type": "Result"}}]"#, "[1]"] {
            assert_eq!(expected_rows(&rows(wrong)), None, "{wrong}");
        }
        assert_eq!(expected_rows(&[]), None);
    }
}
