//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use claviger_model::Tally;

/// Metrics, family by family.
#[derive(Default)]
pub(super) struct Exposition(String);

/// What a family's numbers mean.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample of the family.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of one histogram, in seconds.
    pub(super) fn histogram(&mut self, name: &str, labels: Labels<'_>, tally: &Tally) {
        let seconds = |micros: u64| std::time::Duration::from_micros(micros).as_secs_f64().to_string();
        let bounds = tally.at_most().map(|(bound, count)| (seconds(bound), count));
        for (bound, count) in bounds.chain([("+Inf".to_owned(), tally.count())]) {
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.0, " {count}");
        }
        self.sample(&format!("{name}_sum"), labels, tally.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, tally.count());
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn labels(&mut self, labels: Labels<'_>, bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use claviger_model::Histogram;

    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "As.");
        text.sample("a_total", &[("b", "x\"\\\n"), ("c", "")], 3);
        text.single("d", Kind::Gauge, "D.", 0.25);
        assert_eq!(
            text.into_text(),
            "# HELP a_total As.\n# TYPE a_total counter\na_total{b=\"x\\\"\\\\\\n\",c=\"\"} 3\n# HELP d D.\n# TYPE d gauge\nd 0.25\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_all_of_them() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(7));
        histogram.observe(Duration::from_secs(60));
        let mut text = Exposition::default();
        text.histogram("t_seconds", &[("c", "bank")], &histogram.tally());
        let text = text.into_text();
        for line in [
            "t_seconds_bucket{c=\"bank\",le=\"0.000005\"} 0",
            "t_seconds_bucket{c=\"bank\",le=\"0.00001\"} 1",
            "t_seconds_bucket{c=\"bank\",le=\"10\"} 1",
            "t_seconds_bucket{c=\"bank\",le=\"+Inf\"} 2",
            "t_seconds_sum{c=\"bank\"} 60.000007",
            "t_seconds_count{c=\"bank\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
