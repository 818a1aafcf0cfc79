//! The report as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere.

use super::{Plot, Report, Table, plot};
use std::fmt::Write;

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2024; --soft: #667079; --line: #d9dde1; --back: #ffffff; --box: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #98a2ab; --line: #363c42; --back: #15181b; --box: #1e2226; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.5rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 0 0 .6rem; }
pre { background: var(--box); border-radius: .4rem; padding: .7rem 1rem; overflow-x: auto; margin: 0 0 1.5rem; }
code, pre { font: .88rem/1.5 ui-monospace, monospace; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 0 0 1.5rem; font-size: .92rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul.notes { margin: 0 0 2rem; padding-left: 1.2rem; font-size: .92rem; }
section { margin: 2.5rem 0 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; min-width: 14rem; }
td.missed { color: #d6453d; font-weight: 600; }
td.met { color: #1f9d55; font-weight: 600; }
svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
ul.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; list-style: none; margin: 0 0 .4rem; padding: 0;
  font-size: .9rem; }
ul.legend i { display: inline-block; width: 1.1rem; height: .28rem; border-radius: .14rem; margin-right: .45rem;
  vertical-align: middle; }
p.soft { color: var(--soft); margin: -.4rem 0 .6rem; font-size: .9rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
";

/// The page.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let mut page = String::new();
    let title = escape(&report.title);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str(&format!("<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    page.push_str(&format!("<h1>{title}</h1>\n<pre>{}</pre>\n<dl>\n", escape(&report.command)));
    for (name, value) in report.machine.lines() {
        page.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escape(&name), escape(&value)));
    }
    page.push_str("</dl>\n");
    if !report.notes.is_empty() {
        page.push_str("<ul class=\"notes\">\n");
        for note in &report.notes {
            page.push_str(&format!("<li>{}</li>\n", with_code(note)));
        }
        page.push_str("</ul>\n");
    }
    for table in &report.tables {
        push_table(&mut page, table);
    }
    for plot in &report.plots {
        push_plot(&mut page, plot)?;
    }
    page.push_str("<footer>The figures are in the JSON file of the same name.</footer>\n</body>\n</html>\n");
    Ok(page)
}

fn push_table(page: &mut String, table: &Table) {
    page.push_str("<section>\n");
    if !table.caption.is_empty() {
        // What is before the colon is a name, what is behind it explains.
        let (name, about) = table.caption.split_once(": ").unwrap_or((&table.caption, ""));
        page.push_str(&format!("<h2>{}</h2>\n", escape(name)));
        if !about.is_empty() {
            page.push_str(&format!("<p class=\"soft\">{}</p>\n", escape(about)));
        }
    }
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for name in &table.head {
        page.push_str(&format!("<th>{}</th>", escape(name)));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for cell in row {
            let class = match cell.to_ascii_lowercase().as_str() {
                "missed" => " class=\"missed\"",
                "met" => " class=\"met\"",
                _ => "",
            };
            page.push_str(&format!("<td{class}>{}</td>", escape(cell)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n</section>\n");
}

fn push_plot(page: &mut String, plot: &Plot) -> anyhow::Result<()> {
    page.push_str(&format!("<section>\n<h2>{}</h2>\n", escape(&plot.title)));
    match plot::svg(plot)? {
        None => page.push_str("<p class=\"soft\">Nothing was measured for this plot.</p>\n"),
        Some(svg) => {
            page.push_str("<ul class=\"legend\">\n");
            for (series, color) in plot.series.iter().zip(plot::css_colors(&plot.series)) {
                // Writing to a string does not fail.
                let _ =
                    writeln!(page, "<li><i style=\"background:{color}\"></i>{}</li>", escape(&series.name));
            }
            page.push_str("</ul>\n");
            page.push_str(&svg);
        }
    }
    page.push_str("</section>\n");
    Ok(())
}

/// Text as HTML, with what stands between backquotes as code.
fn with_code(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split('`').enumerate() {
        let part = escape(part);
        out.push_str(&if n % 2 == 1 { format!("<code>{part}</code>") } else { part });
    }
    out
}

/// Text as HTML, wherever it stands.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
