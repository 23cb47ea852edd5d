//! A report as one page of HTML that needs nothing else: no script, no font, no other host.

use std::fmt::Write as _;

use super::report::{Column, Report, RuleReport};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}th,td{text-align:right;padding:.2rem .8rem;\
border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}\
svg{width:100%;height:auto;display:block}.all{fill:#4a80c4}.rejected{fill:#c9403b}\
.limit{stroke:#c9403b;stroke-width:2;stroke-dasharray:6 4}text{font:12px system-ui,sans-serif;\
fill:currentColor}.note{border-left:4px solid #d59f0f;padding-left:.8rem}";

/// Width and height of a plot, and the height of its bars.
const PLOT: (usize, usize, usize) = (800, 180, 140);

/// Renders a report.
pub(crate) fn html(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Rate limits, simulated</title><style>{STYLE}</style>\n\
         <h1>Rate limits, simulated</h1>\n"
    );
    let span = match (report.from, report.to) {
        (Some(from), Some(to)) => format!(" from {from:.0} to {to:.0}"),
        _ => String::new(),
    };
    _ = writeln!(
        page,
        "<p>{} of {} requests{span} would have been rejected. {} lines were read; {} were in no \
         known format, {} asked for hosts of no site, {} never reached the rules.</p>",
        report.rejected,
        report.requests,
        report.lines,
        report.unreadable,
        report.no_site,
        report.undecided
    );
    for warning in report.warnings() {
        _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&warning));
    }
    timeline(&mut page, &report.timeline);
    for rule in &report.rules {
        about(&mut page, rule);
    }
    page.push_str("</html>\n");
    page
}

fn about(page: &mut String, rule: &RuleReport) {
    _ = writeln!(
        page,
        "<h2>{}</h2><p>{}, mode {}: {} requests of {} keys, {} rejected of {} keys.</p>",
        escape(&rule.name),
        rule.allows(),
        rule.mode,
        rule.requests,
        rule.keys,
        rule.rejected,
        rule.keys_rejected
    );
    if let Some(note) = &rule.note {
        _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    if let Some(limits) = &rule.limits {
        _ = writeln!(
            page,
            "<p>A limit of {} rejects nobody, {} at most one request in 1,000, {} at most one in \
             100.</p>",
            limits.nobody, limits.one_in_1000, limits.one_in_100
        );
        histogram(page, rule);
    }
    if rule.busiest.is_empty() {
        return;
    }
    page.push_str(
        "<table><caption>Busiest keys</caption><tr><th>Key<th>Most in a window<th>Requests\
         <th>Rejected</tr>\n",
    );
    for busy in &rule.busiest {
        let key = escape(&busy.key);
        _ = writeln!(
            page,
            "<tr><td>{key}<td>{}<td>{}<td>{}</tr>",
            busy.peak, busy.requests, busy.rejected
        );
    }
    page.push_str("</table>\n");
}

/// Opens a plot; `what` is what it says to those who do not see it.
fn plot(page: &mut String, what: &str) {
    let (width, height, _) = PLOT;
    _ = write!(page, "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{what}\">");
}

fn timeline(page: &mut String, columns: &[Column]) {
    let most = columns.iter().map(|column| column.requests).max().unwrap_or_default();
    if most == 0 {
        return;
    }
    let (width, height, _) = PLOT;
    plot(page, "Requests over time");
    let wide = width / columns.len().max(1);
    for (place, column) in columns.iter().enumerate() {
        bar(page, "all", (place * wide, wide), scale(column.requests, most));
        bar(page, "rejected", (place * wide, wide), scale(column.rejected, most));
    }
    let (caption, y) = (format!("requests over time, at most {most} in a column"), height - 10);
    _ = writeln!(page, "<text x=\"0\" y=\"{y}\">{caption}</text></svg>");
}

/// How many keys reach which rate, and where the limit is.
fn histogram(page: &mut String, rule: &RuleReport) {
    let most = rule.histogram.iter().map(|(_, keys)| *keys).max().unwrap_or_default();
    let (width, height, bars) = PLOT;
    plot(page, "Keys by their highest rate");
    let wide = width / rule.histogram.len().max(1);
    for (place, (bound, keys)) in rule.histogram.iter().enumerate() {
        bar(page, "all", (place * wide, wide), scale(*keys, most));
        let (x, y) = (place * wide, bars + 16);
        _ = write!(page, "<text x=\"{x}\" y=\"{y}\">≤ {bound}</text>");
        if *keys > 0 {
            let y = bars.saturating_sub(scale(*keys, most)).max(12);
            _ = write!(page, "<text x=\"{x}\" y=\"{y}\">{keys}</text>");
        }
    }
    let beyond = rule.histogram.iter().take_while(|(bound, _)| *bound <= rule.limit).count();
    if beyond < rule.histogram.len() {
        let x = beyond * wide;
        _ = write!(page, "<path class=\"limit\" d=\"M{x} 0V{bars}\"/>");
    }
    let y = height - 6;
    _ = writeln!(
        page,
        "<text x=\"0\" y=\"{y}\">keys by the most they sent in one window; the dashed line is the \
         limit</text></svg>"
    );
}

fn bar(page: &mut String, class: &str, (x, wide): (usize, usize), tall: usize) {
    let (y, wide) = (PLOT.2 - tall, wide.saturating_sub(1).max(1));
    if tall > 0 {
        _ = write!(
            page,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\"/>"
        );
    }
}

/// The height of a bar: what is there at all can be seen.
fn scale(value: u64, most: u64) -> usize {
    let tall = u128::from(value) * PLOT.2 as u128 / u128::from(most.max(1));
    usize::try_from(tall).unwrap_or_default().max(usize::from(value > 0) * 2)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
