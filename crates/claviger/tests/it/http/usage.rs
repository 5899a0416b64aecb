//! What is used, what it costs, and how much there may be.

use std::time::Duration;

use serde_json::{Value, json};

use super::{POLICIES, Rig};
use crate::harness::{PERMIT_ALL, eventually, run};

const PRICES: &str = "[[prices]]\nmodels = [\"gpt-4o*\"]\ninput = 2.5\noutput = 10.0\n";

impl Rig {
    async fn with_budgets(budgets: &str, policies: &str) -> Option<Self> {
        let rig = Self::start("dialect = \"openai\"")?;
        rig.gateway.write_policies(&format!("{PERMIT_ALL}\n{POLICIES}\n{policies}"));
        assert!(rig.gateway.reload(|config| format!("{config}\n{PRICES}{budgets}")).await);
        Some(rig)
    }

    fn ask_model(&self, token: &str, stream: bool) -> u16 {
        let content = format!(r#"{{"model": "gpt-4o", "messages": [{{"role": "user", "content": "hi"}}], "stream": {stream}}}"#);
        let more = "Content-Type: application/json\r\n";
        self.dial().ask(self.request_of(token, "POST /v1/chat/completions", more, &content)).status
    }

    fn usage(&self) -> Vec<Value> {
        let said = self.gateway.through_api(&self.gateway.token(&["dana"]), &["usage", "--json"]);
        serde_json::from_slice(&said.stdout).unwrap()
    }
}

#[test]
fn what_models_use_is_counted_and_priced() {
    run(async {
        let Some(rig) = Rig::with_budgets("", "").await else { return };
        assert_eq!((rig.ask_model(&rig.token, false), rig.ask_model(&rig.token, true)), (200, 200));
        let usage = rig.usage();
        let [row] = &usage[..] else { panic!("{usage:?}") };
        assert_eq!(
            (&row["principal"], &row["connection"], &row["model"]),
            (&json!("alice@local"), &json!("api"), &json!("gpt-4o"))
        );
        assert_eq!((&row["requests"], &row["input_tokens"], &row["output_tokens"]), (&json!(2), &json!(200), &json!(40)));
        // 100 at 2.5 and 20 at 10 a million, twice.
        assert_eq!(row["cost"], json!(0.0009));
        for leaf in rig.leaves("OUTCOME") {
            let tokens = &leaf["tokens"];
            assert_eq!((&tokens["input"], &tokens["output"], &tokens["said"]), (&json!(100), &json!(20), &json!(true)), "{leaf}");
            assert_eq!(tokens["cost_micros"], json!(450));
            assert!(tokens["first_us"].as_u64().unwrap() <= leaf["duration_us"].as_u64().unwrap());
        }
        rig.gateway.verify();
    });
}

#[test]
fn who_has_used_up_a_budget_waits_for_the_next() {
    run(async {
        let budgets = "[[budgets]]\nname = \"talk\"\nconnection = \"api\"\nper = \"365d\"\ntokens = 200\n\
            [[budgets]]\nname = \"calls\"\nconnection = \"api\"\nper = \"365d\"\nrequests = 4\n";
        let near = r#"@id("near") @reason("nearly used up") forbid (principal == User::"bob", action == Action::"invoke", resource)
            when { context.budget_used >= 50 };"#;
        let Some(mut rig) = Rig::with_budgets(budgets, near).await else { return };
        assert_eq!([1, 2, 3].map(|_| rig.ask_model(&rig.token, false)), [200, 200, 429], "what has begun ends");
        let content = r#"{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}"#;
        let request = rig.request("POST /v1/chat/completions", "Content-Type: application/json\r\n", content);
        let refused = rig.dial().ask(request);
        assert!(refused.text().contains("the budget `talk` of tokens is used up"), "{refused:?}");
        assert_eq!(refused.json()["error"]["type"], json!("rate_limit_error"));
        assert_eq!(rig.seen("/chat/completions").len(), 2);
        assert_eq!(rig.leaves("REQUEST").last().unwrap()["decision"]["reason"], json!("budget.exhausted"));
        // Another has budgets of his own, and policy may look at how far they are used.
        let mut wire = rig.dial();
        let mut get = || wire.ask(rig.request_of(&rig.bob, "GET /v1/models", "", ""));
        assert_eq!([get().status, get().status], [200, 200]);
        let refused = get();
        assert!(refused.status == 403 && refused.text().contains("nearly used up"), "{refused:?}");
        assert_eq!(rig.seen("/models").len(), 2);
        // Nor does a gateway that starts anew begin at nothing.
        assert!(rig.gateway.stop().success());
        rig.gateway.start();
        assert_eq!(rig.ask_model(&rig.token, false), 429);
        assert_eq!(rig.dial().ask(rig.request_of(&rig.bob, "GET /v1/models", "", "")).status, 403);
        assert_eq!((rig.seen("/chat/completions").len(), rig.seen("/models").len()), (2, 2));
    });
}

#[test]
fn who_leaves_before_the_end_has_used_what_was_delivered() {
    run(async {
        let Some(rig) = Rig::with_budgets("", "").await else { return };
        let text = "wait for it: the rest comes when somebody asks for it";
        let content = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }], "stream": true });
        let mut wire = rig.dial();
        wire.send(rig.request("POST /v1/chat/completions", "Content-Type: application/json\r\n", &content.to_string()));
        assert!(wire.until(b"\"content\": \"w\"").is_some());
        drop(wire);
        let used = || rig.usage().first().is_some_and(|row| row["requests"] == 1 && row["output_tokens"].as_u64() > Some(0));
        eventually("it is counted", Duration::from_secs(10), async || used()).await;
        let outcome = rig.leaves("OUTCOME").remove(0);
        assert!(outcome["status"] == "unknown" && outcome["bytes"].as_u64() > Some(0), "{outcome}");
        rig.gateway.verify();
    });
}
