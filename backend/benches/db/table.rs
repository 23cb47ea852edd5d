//! The figures as a table, and what they say of "50 to 70 % faster".

use std::time::Duration;

/// How long a query takes, and how much it reads.
pub(crate) struct Figures {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) reads: u64,
}

/// One query, with the indexes and without.
pub(crate) struct Line {
    pub(crate) title: &'static str,
    pub(crate) with: Figures,
    pub(crate) without: Figures,
}

impl Line {
    /// How many times as long the query takes without the indexes.
    fn factor(&self) -> f64 {
        self.without.p50.as_secs_f64() / self.with.p50.as_secs_f64()
    }
}

pub(crate) fn print(engine: &str, rows: u32, lines: &[Line]) {
    let reads = if engine == "sqlite" { "VM steps" } else { "rows read" };
    println!("\n{engine}, {rows} elements and as many executions; milliseconds");
    println!(
        "{:32} {:>29}   {:>29} {:>9} {:>8}",
        "", "with the indexes", "without", "times", "faster"
    );
    println!(
        "{:32} {:>8} {:>8} {reads:>11}   {:>8} {:>8} {reads:>11}",
        "query", "p50", "p99", "p50", "p99"
    );
    for line in lines {
        let factor = line.factor();
        println!(
            "{:32} {}   {} {factor:>9.1} {:>6.1} %",
            line.title,
            figures(&line.with),
            figures(&line.without),
            faster(factor)
        );
    }
    let slowest = lines.iter().map(|line| line.with.p99).max().unwrap_or_default();
    println!("slowest p99 with the indexes: {:.2} ms", ms(slowest));
    let mut factors: Vec<f64> = lines.iter().map(Line::factor).collect();
    factors.sort_by(f64::total_cmp);
    if let Some(median) = factors.get(factors.len() / 2) {
        println!("the median query takes {median:.1} times as long without them");
        println!(
            "that is, the indexes make it {:.1} % faster (claimed: 50 to 70 %)",
            faster(*median)
        );
    }
}

fn figures(figures: &Figures) -> String {
    format!("{:>8.3} {:>8.3} {:>11}", ms(figures.p50), ms(figures.p99), figures.reads)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Which share of the time without indexes is saved.
fn faster(factor: f64) -> f64 {
    (1.0 - 1.0 / factor) * 100.0
}
