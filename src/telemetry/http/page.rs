//! The page for humans.

use std::fmt::Write;

use crate::telemetry::health::{Complaint, Verdict};
use crate::telemetry::human::{age, size};

/// What the daemon has counted last, for the page.
#[derive(Clone, Debug, Default)]
pub struct StatusPage {
    /// When.
    pub counted_at: String,
    /// States in the order of the road.
    pub states: Vec<StateRow>,
    /// The id of the ledger.
    pub ledger: String,
    /// `up`, or why not.
    pub rucio: String,
    /// Further facts, such as the mode of deletion: name and value.
    pub facts: Vec<(&'static str, String)>,
}

/// One state of the road.
#[derive(Clone, Debug)]
pub struct StateRow {
    /// Its name.
    pub state: &'static str,
    /// Files in it.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// How long the oldest has been there, in seconds.
    pub oldest_seconds: Option<u64>,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;\
border-bottom:1px solid #ccc}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#b00020}";

pub(super) fn render(status: &StatusPage, verdict: &Verdict) -> String {
    let mut rows = String::new();
    for row in &status.states {
        let oldest = row.oldest_seconds.map_or_else(|| "–".to_owned(), age);
        // writing to a String cannot fail
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td class=n>{}</td><td class=n>{}</td><td class=n>{oldest}</td></tr>",
            escape(row.state),
            row.files,
            size(row.bytes)
        );
    }
    let mut facts = String::new();
    let more = [("Rucio", status.rucio.clone()), ("ledger", status.ledger.clone())];
    for (name, value) in status.facts.iter().chain(&more) {
        let _ = writeln!(facts, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    }
    format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><title>dl0-ingest</title>\n<style>{STYLE}</style>\n\
         <h1>dl0-ingest {version}</h1>\n{health}\
         <h2>Files</h2>\n<p>As of {counted_at}</p>\n<table>\n<tr><th>State</th><th class=n>Files</th><th class=n>Size</th>\
         <th class=n>Oldest, for</th></tr>\n{rows}</table>\n\
         <h2>Settings</h2>\n<table>\n{facts}</table>\n\
         <p><a href=/metrics>metrics</a> · <a href=/healthz>health</a> · <a href=/readyz>readiness</a></p>\n",
        version = env!("CARGO_PKG_VERSION"),
        counted_at = escape(&status.counted_at),
        health = health(verdict),
    )
}

fn health(Verdict { troubles, notices }: &Verdict) -> String {
    let mut text = match troubles.as_slice() {
        [] => "<p>Everything works.</p>\n".to_owned(),
        some => format!("<p class=bad>Not everything works; files wait.</p>\n<ul class=bad>\n{}</ul>\n", items(some)),
    };
    if !notices.is_empty() {
        let _ = write!(text, "<p>To be known:</p>\n<ul>\n{}</ul>\n", items(notices));
    }
    text
}

fn items(complaints: &[Complaint]) -> String {
    let item =
        |complaint: &Complaint| format!("<li>{}: {}</li>\n", escape(&complaint.about), escape(&complaint.reason));
    complaints.iter().map(item).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_page_as_markup() {
        let reason = "<script>alert(\"1\")</script> & more".to_owned();
        let complaint = Complaint { about: "rucio".to_owned(), reason };
        let page =
            render(&StatusPage::default(), &Verdict { troubles: vec![complaint.clone()], notices: vec![complaint] });
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; more"));
    }
}
