//! The metrics, one family after the other. `docs/operations.md` lists them for people.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use claviger_api::Status as _;
use claviger_model::Tally;
use claviger_session::{ConnectionReading, Grant, GrantStanding, Used};

use super::exposition::{Exposition, Kind};
use super::now;
use super::status::Condition;

/// All metrics as text. Reads files and takes locks, so it may block.
pub(super) fn render(condition: &Condition) -> String {
    let mut out = Exposition::default();
    process(&mut out, condition);
    sessions(&mut out, condition);
    upstreams(&mut out, condition);
    models(&mut out, condition);
    access(&mut out, condition);
    record(&mut out, condition);
    issuers(&mut out, condition);
    webhooks(&mut out, condition);
    out.into_text()
}

fn process(out: &mut Exposition, condition: &Condition) {
    out.family("claviger_build_info", Kind::Gauge, "The version that runs.");
    out.sample("claviger_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    let ready = u8::from(condition.readiness().ok);
    out.single("claviger_ready", Kind::Gauge, "Whether new clients are taken, as /readyz says.", ready);
    let started = condition.started.as_secs();
    out.single("process_start_time_seconds", Kind::Gauge, "When the gateway started, in seconds since 1970.", started);
    if let Some(resident) = resident_bytes() {
        out.single("process_resident_memory_bytes", Kind::Gauge, "Memory in use.", resident);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        out.single("process_open_fds", Kind::Gauge, "Open file descriptors.", open.count());
    }
    let loaded = condition.loaded.load(Ordering::Relaxed);
    out.single("claviger_config_loaded_timestamp_seconds", Kind::Gauge, "When the configuration in force was taken up.", loaded);
    out.family("claviger_config_reloads_total", Kind::Counter, "Changed configurations read, by what became of them.");
    for (result, counter) in [("applied", &condition.reloads), ("refused", &condition.reloads_refused)] {
        out.sample("claviger_config_reloads_total", &[("result", result)], counter.load(Ordering::Relaxed));
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn sessions(out: &mut Exposition, condition: &Condition) {
    let readings = condition.gateway.meters.connections();
    let mut each = |name: &str, kind, help: &str, value: fn(&ConnectionReading) -> u64| {
        out.family(name, kind, help);
        for (connection, reading) in &readings {
            out.sample(name, &[("connection", connection.as_str())], value(reading));
        }
    };
    each("claviger_sessions", Kind::Gauge, "Sessions open.", |reading| {
        reading.opened.saturating_sub(reading.closed.values().sum())
    });
    each("claviger_sessions_opened_total", Kind::Counter, "Sessions begun.", |reading| reading.opened);
    each("claviger_operations_held", Kind::Gauge, "Operations that wait for somebody's decision.", |reading| reading.held);
    each(
        "claviger_operations_unrecorded_total",
        Kind::Counter,
        "Operations refused because there was no room to record them.",
        |reading| reading.unrecorded,
    );
    each("claviger_client_received_bytes_total", Kind::Counter, "Bytes received from clients.", |reading| reading.bytes_in);
    each("claviger_client_sent_bytes_total", Kind::Counter, "Bytes sent to clients.", |reading| reading.bytes_out);
    out.family("claviger_operations_total", Kind::Counter, "Operations by decision; one that was held counts again afterwards.");
    for (connection, reading) in &readings {
        for (verdict, count) in [("permit", reading.permitted), ("deny", reading.denied), ("hold", reading.put_off)] {
            out.sample("claviger_operations_total", &[("connection", connection.as_str()), ("verdict", verdict)], count);
        }
    }
    out.family("claviger_sessions_closed_total", Kind::Counter, "Sessions ended, by reason.");
    for (connection, reading) in &readings {
        for (reason, count) in &reading.closed {
            out.sample("claviger_sessions_closed_total", &[("connection", connection.as_str()), ("reason", reason)], count);
        }
    }
    out.family(
        "claviger_sessions_refused_total",
        Kind::Counter,
        "Sessions refused, by reason; no connection: none was selected.",
    );
    for ((connection, reason), count) in condition.gateway.meters.refused() {
        let connection = connection.as_ref().map_or("", |connection| connection.as_str());
        out.sample("claviger_sessions_refused_total", &[("connection", connection), ("reason", reason)], count);
    }
    let name = "claviger_request_added_seconds";
    out.family(name, Kind::Histogram, "From a request's arrival until it left for the upstream, without the time it was held.");
    for (connection, reading) in &readings {
        out.histogram(name, &[("connection", connection.as_str())], &reading.request);
    }
    let name = "claviger_response_added_seconds";
    out.family(name, Kind::Histogram, "From the arrival of a request's completion until it left for the client.");
    for (connection, reading) in &readings {
        out.histogram(name, &[("connection", connection.as_str())], &reading.response);
    }
}

fn upstreams(out: &mut Exposition, condition: &Condition) {
    let readings = condition.gateway.meters.connections();
    let name = "claviger_upstream_failures_total";
    out.family(name, Kind::Counter, "Logins that failed because the upstream could not be reached or refused the gateway.");
    for (connection, reading) in &readings {
        out.sample(name, &[("connection", connection.as_str())], reading.upstream_failures);
    }
    let budgets = condition.gateway.budgets();
    out.family("claviger_upstream_connections", Kind::Gauge, "Sessions upstream, and those on their way there.");
    for (connection, budget) in &budgets {
        out.sample("claviger_upstream_connections", &[("connection", connection.as_str())], budget.used);
    }
    out.family("claviger_upstream_connections_max", Kind::Gauge, "The most that there may be, where there is a most.");
    for (connection, budget) in &budgets {
        if let Some(limit) = budget.limit {
            out.sample("claviger_upstream_connections_max", &[("connection", connection.as_str())], limit);
        }
    }
    out.family("claviger_upstream_waiting", Kind::Gauge, "Logins that wait for one of them to end.");
    for (connection, budget) in &budgets {
        out.sample("claviger_upstream_waiting", &[("connection", connection.as_str())], budget.waiting);
    }
    out.family("claviger_upstream_wait_seconds", Kind::Histogram, "How long logins waited.");
    for (connection, reading) in &readings {
        out.histogram("claviger_upstream_wait_seconds", &[("connection", connection.as_str())], &reading.upstream_wait);
    }
    let (strangers, clients) = (condition.places.taken(), condition.gateway.clients());
    out.single("claviger_clients_unauthenticated", Kind::Gauge, "Clients that have not proved who they are.", strangers);
    out.single("claviger_clients", Kind::Gauge, "Clients that have, until their last byte.", clients);
}

/// What models were asked, by connection and model; principals are no labels, as there is no end to them: `claviger usage` tells of them.
fn models(out: &mut Exposition, condition: &Condition) {
    let mut models: BTreeMap<(String, String), (Used, Tally, Tally)> = BTreeMap::new();
    for row in condition.gateway.usage() {
        let Some(model) = row.model else { continue };
        let (used, first, all) = models.entry((row.connection.to_string(), model.to_string())).or_default();
        used.add(row.used);
        first.add(&row.first);
        all.add(&row.all);
    }
    let labels = |(connection, model): &(String, String)| [("connection", connection.clone()), ("model", model.clone())];
    let mut each = |name: &'static str, help: &'static str, read: &dyn Fn(&Used) -> u64| {
        out.family(name, Kind::Counter, help);
        for (key, (used, ..)) in &models {
            let [(a, connection), (b, model)] = labels(key);
            out.sample(name, &[(a, &*connection), (b, &*model)], read(used));
        }
    };
    each("claviger_model_requests_total", "Requests to models that have ended.", &|used| used.requests);
    each("claviger_model_input_tokens_total", "Tokens of prompts.", &|used| used.input);
    each("claviger_model_output_tokens_total", "Tokens of answers.", &|used| used.output);
    each("claviger_model_cost_micros_total", "What these cost by the prices, in millionths.", &|used| used.cost);
    for (name, help, is_first) in [
        ("claviger_model_first_byte_seconds", "From the decision on a request until the first byte of its answer.", true),
        ("claviger_model_answer_seconds", "From the decision on a request until the end of its answer.", false),
    ] {
        out.family(name, Kind::Histogram, help);
        for (key, (_, first, all)) in &models {
            let [(a, connection), (b, model)] = labels(key);
            out.histogram(name, &[(a, &*connection), (b, &*model)], if is_first { first } else { all });
        }
    }
}

fn access(out: &mut Exposition, condition: &Condition) {
    let access = &condition.gateway.access;
    out.family(
        "claviger_access_grants",
        Kind::Gauge,
        "Grants in force, and requests for them that wait, by whether in an emergency.",
    );
    for standing in [GrantStanding::Pending, GrantStanding::Active] {
        for (glass, word) in [(false, "no"), (true, "yes")] {
            let counts = |grant: &Grant| grant.standing == standing && grant.scope.break_glass == glass;
            let labels = [("break_glass", word), ("standing", standing.as_str())];
            out.sample("claviger_access_grants", &labels, access.count(counts));
        }
    }
    let help = "Grants that were taken in emergencies, and that nobody has reviewed.";
    out.single("claviger_access_unreviewed", Kind::Gauge, help, access.count(Grant::is_unreviewed));
}

fn record(out: &mut Exposition, condition: &Condition) {
    let log = condition.log.health();
    out.single("claviger_audit_admits", Kind::Gauge, "Whether something new could be recorded.", u8::from(log.admits));
    out.single("claviger_audit_leaves", Kind::Gauge, "Leaves in the log.", log.leaves);
    out.single("claviger_audit_signed_leaves", Kind::Gauge, "Leaves under the last checkpoint of this run.", log.signed);
    out.single("claviger_audit_unflushed_leaves", Kind::Gauge, "Leaves that are not on stable storage yet.", log.unflushed);
    let age = log.unflushed_age.as_secs_f64();
    out.single("claviger_audit_unflushed_age_seconds", Kind::Gauge, "How long the oldest of these has been waiting.", age);
    out.family("claviger_audit_flush_seconds", Kind::Histogram, "How long bringing the record to stable storage took.");
    out.histogram("claviger_audit_flush_seconds", &[], &log.flushes);
    out.single("claviger_audit_log_bytes", Kind::Gauge, "Bytes of all leaves.", log.log_bytes);
    out.single("claviger_audit_recording_bytes", Kind::Gauge, "Bytes of all recordings.", log.recording_bytes);
    out.single("claviger_audit_free_bytes", Kind::Gauge, "Bytes that are free where the record is kept.", log.free_bytes);
}

fn issuers(out: &mut Exposition, condition: &Condition) {
    let (issuers, now) = (condition.gateway.meters.issuers(), now());
    out.family("claviger_issuer_keys_age_seconds", Kind::Gauge, "How long ago an issuer's keys were fetched.");
    for (issuer, keys) in &issuers {
        if let Some(fetched) = keys.fetched {
            out.sample("claviger_issuer_keys_age_seconds", &[("issuer", issuer)], fetched.age(now).as_secs_f64());
        }
    }
    out.family("claviger_issuer_key_fetches_total", Kind::Counter, "Tries to fetch an issuer's keys, by what became of them.");
    for (issuer, keys) in &issuers {
        for (result, count) in [("fetched", keys.fetches), ("failed", keys.failures)] {
            out.sample("claviger_issuer_key_fetches_total", &[("issuer", issuer), ("result", result)], count);
        }
    }
}

fn webhooks(out: &mut Exposition, condition: &Condition) {
    let (readings, dropped) = (condition.webhooks.readings(), condition.webhooks.dropped());
    let name = "claviger_webhook_messages_total";
    out.family(name, Kind::Counter, "Messages to webhooks: delivered, tries that failed, and those given up.");
    for reading in &readings {
        for (result, count) in [("delivered", reading.delivered), ("failed", reading.failed), ("given_up", reading.given_up)] {
            out.sample(name, &[("webhook", &reading.webhook), ("result", result)], count);
        }
    }
    out.family("claviger_webhook_waiting", Kind::Gauge, "Messages that a webhook is still to be told.");
    for reading in &readings {
        out.sample("claviger_webhook_waiting", &[("webhook", &reading.webhook)], reading.waiting);
    }
    out.family("claviger_webhook_stopped", Kind::Gauge, "Whether a webhook's receiver wants to hear no more (410).");
    for reading in &readings {
        out.sample("claviger_webhook_stopped", &[("webhook", &reading.webhook)], u8::from(reading.stopped));
    }
    out.single("claviger_webhook_dropped_total", Kind::Counter, "Messages lost because they could not be written.", dropped);
}
