//! The charts as compact JSON, for the page's script.

use std::fmt::Write;

use super::chart::{Chart, Series, Shape};
use super::html::{json_number, json_text};
use super::palette;
use super::thinning::Point;

/// All charts, in order.
pub fn charts(charts: &[Chart]) -> String {
    let charts: Vec<String> = charts.iter().map(chart).collect();
    format!("[{}]", charts.join(",\n"))
}

fn chart(chart: &Chart) -> String {
    let texts = |texts: &mut dyn Iterator<Item = &str>| {
        let texts: Vec<String> = texts.map(json_text).collect();
        texts.join(",")
    };
    let rows = texts(&mut chart.rows.iter().map(String::as_str));
    let xs = texts(&mut chart.xs.iter().map(|x| x.name()));
    let series: Vec<String> = chart
        .series
        .iter()
        .map(|of| self::series(chart, of))
        .collect();
    format!(
        "{{\"title\":{},\"note\":{},\"y\":{},\"rows\":[{rows}],\"xs\":[{xs}],\"series\":[{}]}}",
        json_text(&chart.title),
        json_text(&chart.note),
        json_text(&chart.y),
        series.join(",")
    )
}

fn series(chart: &Chart, series: &Series) -> String {
    let shape = match series.shape {
        Shape::Line => "line",
        Shape::Band => "band",
        Shape::Core => "core",
        Shape::Dots => "dots",
    };
    let numbers = |value: &dyn Fn(&Point) -> f64| {
        let numbers: Vec<String> = series
            .points
            .iter()
            .map(|point| json_number(value(point)))
            .collect();
        format!("[{}]", numbers.join(","))
    };
    let xs: Vec<String> = chart
        .xs
        .iter()
        .map(|x| numbers(&|point| x.of(&point.at)))
        .collect();
    let mut text = format!("{{\"name\":{}", json_text(&series.name));
    let (red, green, blue) = palette::color(series.look);
    let color = match series.is_ink() {
        true => String::from("ink"),
        false => format!("#{red:02x}{green:02x}{blue:02x}"),
    };
    let gap = palette::gap(series.look).unwrap_or(0);
    let _ = write!(
        text,
        ",\"color\":\"{color}\",\"gap\":{gap},\"shape\":\"{shape}\",\"x\":[{}],\"y\":{}}}",
        xs.join(","),
        numbers(&|point| point.y)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::chart::X;
    use super::super::thinning::Spent;
    use super::*;

    #[test]
    fn charts_are_valid_json() {
        let at = Spent::new(0.5, 3);
        let points = vec![Point { at, y: 2.0 }, Point { at, y: f64::NAN }];
        let mut chart = Chart::new("</script>", "", &[X::Steps, X::Seconds]);
        chart.rows.push(String::from("a \"row\""));
        let chart = chart.with(Series::line("<b>", 9, points));
        let text = charts(&[chart]);
        assert!(!text.contains('<'), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let series = &read[0]["series"][0];
        assert_eq!(series["x"], serde_json::json!([[3, 3], [0.5, 0.5]]));
        assert_eq!(series["y"], serde_json::json!([2, null]));
        assert_eq!(series["color"], "#d55e00");
        assert_eq!(series["gap"], 4);
    }
}
