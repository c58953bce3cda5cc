//! Times by amounts, and the straight line through them.

use serde::Serialize;

/// Times by amounts, and the straight line through them.
#[derive(Debug, Serialize)]
pub struct Curve {
    title: &'static str,
    unit: &'static str,
    points: Vec<(f64, f64)>,
    slope: f64,
    intercept: f64,
    line: String,
}

impl Curve {
    /// The line with the least relative errors: a run of a thousand counts as much as one of ten million.
    pub fn of(title: &'static str, unit: &'static str, points: Vec<(f64, f64)>) -> Self {
        let weighted = |of: fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| of(*x, *y) / (y * y)).sum()
        };
        let [one, x, y, xx, xy] = [
            weighted(|_, _| 1.0),
            weighted(|x, _| x),
            weighted(|_, y| y),
            weighted(|x, _| x * x),
            weighted(|x, y| x * y),
        ];
        let slope = (one * xy - x * y) / (one * xx - x * x);
        let intercept = (y - slope * x) / one;
        let line = format!("{:.1} ms + {:.3} µs each", intercept * 1e3, slope * 1e6);
        Self {
            title,
            unit,
            points,
            slope,
            intercept,
            line,
        }
    }

    /// Both in one sentence.
    pub fn told(&self) -> String {
        let off = |(x, y): &(f64, f64)| (y / (self.intercept + self.slope * x) - 1.0).abs();
        let most = self.points.iter().map(off).fold(0.0, f64::max);
        let points: Vec<String> = self
            .points
            .iter()
            .map(|(x, y)| format!("{x}: {y:.3} s"))
            .collect();
        format!(
            "{}: {} of the {}, at most {:.0} % off the line ({}).",
            self.title,
            self.line,
            self.unit,
            most * 100.0,
            points.join(", ")
        )
    }
}
