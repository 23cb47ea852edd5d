//! What the bench found: medians, ratios to nginx, as a table and as JSON.

use std::fmt::Write as _;

use super::MAX_FOREIGN;
use super::proxy::Proxy;
use super::scenario::{SCENARIOS, Scenario};

/// What one run showed.
#[derive(Debug)]
pub(super) struct Sample {
    /// In the order of the scenario's columns.
    pub(super) figures: Vec<f64>,
    /// The share of the proxy's core that others used meanwhile.
    pub(super) foreign: f64,
}

/// Everything that was measured.
#[derive(Default)]
pub(super) struct Results {
    samples: Vec<(&'static str, Proxy, Sample)>,
    failures: Vec<(&'static str, Proxy, String)>,
}

impl Results {
    pub(super) fn add(&mut self, scenario: &Scenario, proxy: Proxy, sample: Sample) {
        self.samples.push((scenario.name, proxy, sample));
    }

    pub(super) fn fail(&mut self, scenario: &Scenario, proxy: Proxy, reason: String) {
        self.failures.push((scenario.name, proxy, reason));
    }

    pub(super) fn all_succeeded(&self) -> bool {
        self.failures.is_empty()
    }

    fn samples_of(&self, scenario: &Scenario, proxy: Proxy) -> Vec<&Sample> {
        let is_wanted = |(name, of, _): &&(_, _, _)| *name == scenario.name && *of == proxy;
        self.samples.iter().filter(is_wanted).map(|(_, _, sample)| sample).collect()
    }

    /// The median of each column, if there is a sample.
    fn medians(&self, scenario: &Scenario, proxy: Proxy) -> Option<Vec<f64>> {
        let samples = self.samples_of(scenario, proxy);
        (0..scenario.columns().len())
            .map(|column| {
                median(samples.iter().filter_map(|sample| sample.figures.get(column)).copied())
            })
            .collect()
    }

    /// The table, a block for each scenario that has a sample.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        for scenario in &SCENARIOS {
            let baseline = self.medians(scenario, Proxy::Nginx);
            let rows: Vec<String> = Proxy::ALL
                .into_iter()
                .filter_map(|proxy| Some((proxy, self.medians(scenario, proxy)?)))
                .map(|(proxy, medians)| row(proxy, &medians, baseline.as_deref()))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let _ = write!(table, "\n{}: {}\n{:12}", scenario.name, scenario.title, "");
            for column in scenario.columns() {
                let _ = write!(table, "{:>14}  x nginx", column.heading);
            }
            let _ = writeln!(table, "\n{}", rows.join("\n"));
        }
        let disturbed = self.samples.iter().filter(|(.., sample)| sample.foreign > MAX_FOREIGN);
        let (disturbed, all) = (disturbed.count(), self.samples.len());
        if disturbed > 0 {
            let _ = writeln!(
                table,
                "\nIn {disturbed} of {all} runs others used more than {:.0} % of the proxy's core: \
                 measure again on a machine that does nothing else.",
                MAX_FOREIGN * 100.0
            );
        }
        for (scenario, proxy, reason) in &self.failures {
            let _ = writeln!(table, "\nFAILED {scenario} {}: {reason}", proxy.name());
        }
        table
    }

    /// The same with every sample, for programs.
    pub(super) fn json(&self, repetitions: usize, seconds: f64) -> String {
        let mut cells = Vec::new();
        for scenario in &SCENARIOS {
            let baseline = self.medians(scenario, Proxy::Nginx);
            for proxy in Proxy::ALL {
                let Some(medians) = self.medians(scenario, proxy) else { continue };
                let ratios = baseline.as_deref().map(|baseline| ratios(&medians, baseline));
                let samples = self.samples_of(scenario, proxy);
                let samples: Vec<String> =
                    samples.iter().map(|sample| object(scenario, &sample.figures)).collect();
                let ratios =
                    ratios.map_or_else(|| "null".to_owned(), |ratios| object(scenario, &ratios));
                cells.push(format!(
                    "{{{},\"median\":{},\"ratio_to_nginx\":{ratios},\"samples\":[{}]}}",
                    cell(scenario.name, proxy),
                    object(scenario, &medians),
                    samples.join(",")
                ));
            }
        }
        let failures = self.failures.iter();
        let failures: Vec<String> = failures
            .map(|(scenario, proxy, _)| format!("{{{}}}", cell(scenario, *proxy)))
            .collect();
        format!(
            "{{\"reps\":{repetitions},\"secs\":{seconds},\n\
             \"results\":[\n{}\n],\n\"failures\":[{}]}}\n",
            cells.join(",\n"),
            failures.join(",")
        )
    }
}

/// Which cell of the table, as the members of a JSON object.
fn cell(scenario: &str, proxy: Proxy) -> String {
    format!(r#""scenario":"{scenario}","proxy":"{}""#, proxy.name())
}

fn row(proxy: Proxy, medians: &[f64], baseline: Option<&[f64]>) -> String {
    let ratios = baseline.map(|baseline| ratios(medians, baseline));
    medians.iter().enumerate().fold(format!("  {:10}", proxy.name()), |mut row, (index, median)| {
        let ratio = ratios.as_ref().and_then(|ratios| ratios.get(index));
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let _ = write!(row, "{:>14}  {ratio:>7}", figure(*median));
        row
    })
}

/// Three significant digits and more are noise: `44790`, `387`, `21.4`.
pub(super) fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn ratios(medians: &[f64], baseline: &[f64]) -> Vec<f64> {
    medians.iter().zip(baseline).map(|(own, nginx)| own / nginx).collect()
}

fn object(scenario: &Scenario, values: &[f64]) -> String {
    let pairs = scenario.columns().iter().zip(values);
    let pairs: Vec<String> = pairs
        // JSON knows no infinity, which is what a ratio to nothing is.
        .map(|(column, value)| match value.is_finite() {
            true => format!(r#""{}":{value:.4}"#, column.key),
            false => format!(r#""{}":null"#, column.key),
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let [h1, .., idle] = &SCENARIOS;
        let mut results = Results::default();
        let sample = |figures: &[f64], foreign| Sample { figures: figures.to_vec(), foreign };
        for us in [20.0, 30.0, 22.0] {
            results.add(h1, Proxy::Nginx, sample(&[44_790.4, 1350.0, 3210.0, us], 0.01));
        }
        results.add(h1, Proxy::Gatehouse, sample(&[50_000.0, 1200.0, 3000.0, 16.5], 0.2));
        results.add(idle, Proxy::Gatehouse, sample(&[4.8], 0.0));
        results
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let mut results = results();
        results.fail(&SCENARIOS[1], Proxy::Haproxy, "it did not start".to_owned());
        let table = results.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], "h1: HTTP/1.1 over TLS, keep-alive, 64 connections, GET /");
        let nginx: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(
            nginx,
            ["nginx", "44790", "1.00", "1350", "1.00", "3210", "1.00", "22.0", "1.00"]
        );
        assert!(lines[4].ends_with("16.5     0.75"), "{}", lines[4]);
        assert!(table.contains("gatehouse            4.8        -\n"), "{table}");
        assert!(table.contains("In 1 of 5 runs others used more than 8 %"), "{table}");
        assert!(table.ends_with("FAILED h2 haproxy: it did not start\n"), "{table}");
    }

    #[test]
    fn json_holds_every_sample() {
        let json = results().json(3, 4.0);
        assert!(json.starts_with("{\"reps\":3,\"secs\":4,\n\"results\":["), "{json}");
        assert!(json.contains(r#""cpu_us_per_request":30.0000}"#), "{json}");
        assert!(json.contains(r#""ratio_to_nginx":{"requests_per_second":1.1163,"#), "{json}");
        assert!(json.contains(r#""ratio_to_nginx":null"#), "{json}");
    }
}
