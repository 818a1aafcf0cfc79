//! A plot as SVG, in the colours of the page around it.

use super::{Axis, Plot, Series};
use anyhow::anyhow;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// Label of an axis whose values are 1 / (1 - quantile).
pub const PERCENTILES: &str = "percentile";

/// Twice as large as it is shown, since coordinates are whole numbers.
const SIZE: (u32, u32) = (1600, 800);
const FONT: (&str, i32) = ("sans-serif", 26);
/// Stands for the colour of the text around the plot.
const INK: RGBColor = RGBColor(1, 2, 3);
const INK_IN_SVG: &str = "#010203";
/// Readable on white and on black.
const COLORS: [RGBColor; 8] = [
    RGBColor(0x3b, 0x82, 0xf6),
    RGBColor(0xe8, 0x71, 0x0a),
    RGBColor(0x1b, 0xa3, 0x52),
    RGBColor(0xd9, 0x46, 0x8f),
    RGBColor(0x8b, 0x6c, 0xf0),
    RGBColor(0x0d, 0x9a, 0xa8),
    RGBColor(0xb0, 0x8a, 0x12),
    RGBColor(0x80, 0x88, 0x92),
];

/// How strongly a floor is drawn.
const FLOOR: f64 = 0.45;

/// The colour of each series. A floor has that of the series before it, which it is the floor of, only
/// weaker.
fn colors(series: &[Series]) -> Vec<RGBAColor> {
    let mut used = 0;
    let color = |series: &Series| {
        let floor = used > 0 && series.name.ends_with("floor");
        used += usize::from(!floor);
        COLORS[used.saturating_sub(1) % COLORS.len()].mix(if floor { FLOOR } else { 1.0 })
    };
    series.iter().map(color).collect()
}

/// The same, as CSS has them.
pub fn css_colors(series: &[Series]) -> Vec<String> {
    colors(series).into_iter().map(|RGBAColor(r, g, b, a)| format!("rgb({r} {g} {b} / {a})")).collect()
}

/// The plot without its title and legend; `None` if it has no points.
pub fn svg(plot: &Plot) -> anyhow::Result<Option<String>> {
    let series: Vec<Vec<(f64, f64)>> =
        plot.series.iter().map(|series| placed(plot, &series.points)).collect();
    let points = || series.iter().flatten();
    let Some((x, y)) = range(points().map(|(x, _)| *x)).zip(range(points().map(|(_, y)| *y))) else {
        return Ok(None);
    };
    let x = Scale::new(&plot.x, x);
    let y = Scale::new(&plot.y, y);
    let mut svg = String::new();
    draw(plot, &series, x, y, &mut svg)
        .map_err(|error| anyhow!("cannot draw the plot `{}`: {error}", plot.title))?;
    // It takes its width from the page.
    let fixed = format!("<svg width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    Ok(Some(svg.replace(INK_IN_SVG, "currentColor").replacen(&fixed, "<svg role=\"img\"", 1)))
}

fn draw(
    plot: &Plot,
    series: &[Vec<(f64, f64)>],
    x: Scale,
    y: Scale,
    svg: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let text = FONT.into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(40)
        .x_label_area_size(90)
        .y_label_area_size(130)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .axis_style(INK.mix(0.5))
        .bold_line_style(INK.mix(0.15))
        .light_line_style(INK.mix(0.0))
        .label_style(text.clone())
        .axis_desc_style(text)
        .x_desc(plot.x.label.as_str())
        .y_desc(plot.y.label.as_str())
        .draw()?;
    for (points, color) in series.iter().zip(colors(&plot.series)) {
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(4)))?;
        // Points on a curve of many would hide it.
        if points.len() <= DOTS_MAX {
            chart.draw_series(points.iter().map(|at| Circle::new(*at, 7, color.filled())))?;
        }
    }
    area.present()?;
    Ok(())
}

const DOTS_MAX: usize = 30;

/// Where the points are on the axes; without those that have no place there.
fn placed(plot: &Plot, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let place = |axis: &Axis, value: f64| if axis.log { value.log10() } else { value };
    let placed = points.iter().map(|(x, y)| (place(&plot.x, *x), place(&plot.y, *y)));
    placed.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
}

fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    values.fold(None, |range: Option<Range<f64>>, value| {
        Some(range.map_or(value..value, |range| range.start.min(value)..range.end.max(value)))
    })
}

/// One axis, in its own coordinates: logarithms if it is logarithmic.
#[derive(Debug)]
struct Scale {
    log: bool,
    percentiles: bool,
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Scale {
    fn new(axis: &Axis, seen: Range<f64>) -> Scale {
        let percentiles = axis.label == PERCENTILES;
        let (range, ticks) = if percentiles {
            let range = seen.start.floor()..seen.end.max(seen.start.floor() + 1.0);
            let mut ticks = steps(&range, 1.0);
            ticks.insert(ticks.len().min(1), MEDIAN);
            (range, ticks)
        } else if axis.log {
            logarithmic(seen)
        } else {
            linear(seen)
        };
        Scale { log: axis.log, percentiles, range, ticks }
    }

    fn tick(&self, at: f64) -> String {
        if self.percentiles {
            return percentile(at);
        }
        number(if self.log { 10f64.powf(at) } else { at })
    }
}

/// Plotters' own logarithmic axes leave out most ticks, and have another type than its linear ones.
impl Ranged for Scale {
    type ValueType = f64;
    type FormatOption = NoDefaultFormatting;

    fn map(&self, at: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (at - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, at: &f64) -> String {
        self.tick(*at)
    }
}

/// All decades; between them 2 and 5 if there are few.
fn logarithmic(seen: Range<f64>) -> (Range<f64>, Vec<f64>) {
    let small = |decade: f64| [0.0, 2f64.log10(), 5f64.log10()].map(|step| decade + step);
    let all: Vec<f64> = (seen.start.floor() as i32..=seen.end.ceil() as i32 + 1)
        .flat_map(|decade| small(decade.into()))
        .collect();
    // A hair of tolerance, so that 10 is found in log10(10).
    let start = all.iter().rfind(|at| **at <= seen.start + 1e-9).copied().unwrap_or(seen.start);
    let end = all.iter().find(|at| **at >= seen.end - 1e-9).copied().unwrap_or(seen.end);
    let range = start..if end > start { end } else { start + 1.0 };
    let dense = range.end - range.start <= 3.0;
    let step = ((range.end - range.start) / 10.0).ceil().max(1.0);
    let ticks = if dense {
        all.into_iter().filter(|at| range.start - 1e-9 <= *at && *at <= range.end + 1e-9).collect()
    } else {
        steps(&range, step)
    };
    (range, ticks)
}

/// From 0 if that is not far away, in steps of 1, 2 or 5 times a power of ten.
fn linear(seen: Range<f64>) -> (Range<f64>, Vec<f64>) {
    let start = if seen.start > 0.0 && seen.start < seen.end * 0.7 { 0.0 } else { seen.start };
    let width = if seen.end > start { seen.end - start } else { start.abs().max(1.0) };
    let decade = 10f64.powf((width / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0].map(|n| n * decade).into_iter().find(|step| width / step <= 7.0);
    let step = step.unwrap_or(10.0 * decade);
    let range = (start / step).floor() * step..((start + width) / step).ceil() * step;
    let ticks = steps(&range, step);
    (range, ticks)
}

/// Multiples of `step` in `range`.
fn steps(range: &Range<f64>, step: f64) -> Vec<f64> {
    let (first, last) = ((range.start / step).ceil() as i64, (range.end / step + 1e-9).floor() as i64);
    (first..=last).take(100).map(|n| n as f64 * step).collect()
}

/// Where the median is on an axis of percentiles.
const MEDIAN: f64 = std::f64::consts::LOG10_2;

/// `nines` is the logarithm of 1 / (1 - quantile).
fn percentile(nines: f64) -> String {
    if nines == MEDIAN {
        return "50 %".to_owned();
    }
    match nines.round() as usize {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        n => format!("99.{} %", "9".repeat(n - 2)),
    }
}

/// A number with few digits and a letter for its thousands.
fn number(value: f64) -> String {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (scale, letter) =
        steps.into_iter().find(|(scale, _)| value.abs() >= scale * 0.9999).unwrap_or((1.0, ""));
    let text = format!("{:.3}", value / scale);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "0" | "-0" if value.abs() > 1e-9 => format!("{value:.0e}"),
        "-0" => "0".to_owned(),
        _ => format!("{text}{letter}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        let ticks = |log, seen| {
            let scale = Scale::new(&Axis { label: "x".to_owned(), log }, seen);
            scale.ticks.iter().map(|at| scale.tick(*at)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ticks(false, 1.0..6.3), "0 1 2 3 4 5 6 7");
        assert_eq!(ticks(false, 950.0..1000.0), "950 960 970 980 990 1k");
        assert_eq!(ticks(false, 5.0..5.0), "5 6 7 8 9 10");
        assert_eq!(ticks(true, 1.1..2.9), "10 20 50 100 200 500 1k");
        assert_eq!(ticks(true, -3.0..6.0), "0.001 0.01 0.1 1 10 100 1k 10k 100k 1M");
        assert_eq!(ticks(true, 2.0..2.0), "100 200 500 1k");
        let scale = Scale::new(&Axis::percentiles(), 0.0..4.4);
        let ticks: Vec<_> = scale.ticks.iter().map(|at| scale.tick(*at)).collect();
        assert_eq!(ticks, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn a_floor_looks_like_what_it_is_the_floor_of() {
        let series = ["floor", "a", "a, floor", "b", "b, floor"];
        let series = series.map(|name| Series { name: name.to_owned(), points: Vec::new() });
        let [first, a, a_floor, b, b_floor] = colors(&series)[..] else { panic!("one each") };
        assert_eq!((a.rgb(), b.rgb()), (a_floor.rgb(), b_floor.rgb()));
        assert!(a.rgb() != b.rgb() && first.rgb() != a.rgb());
        assert!(a_floor.alpha() < a.alpha() && first.alpha() == 1.0);
    }

    #[test]
    fn huge_and_tiny_ranges_have_few_ticks() {
        for seen in [-1e300..1e300, 0.0..1e-300, 0.0..f64::MAX / 4.0, 1e15..1e15 + 1.0] {
            assert!(linear(seen.clone()).1.len() <= 20, "{seen:?}");
        }
        assert!(logarithmic(-300.0..300.0).1.len() <= 20);
    }
}
