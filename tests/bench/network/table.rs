//! What was measured, beside what is aimed at.

use std::fmt::Write;

/// One number of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) aim: Aim,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    None,
    AtLeast(f64),
    AtMost(f64),
    Between(f64, f64),
}

impl Figure {
    pub(crate) fn new(what: &'static str, unit: &'static str, value: f64) -> Self {
        Self {
            what,
            unit,
            value,
            aim: Aim::None,
        }
    }

    pub(crate) fn aim(self, aim: Aim) -> Self {
        Self { aim, ..self }
    }
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Between(least, most) => (least..=most).contains(&value),
        }
    }

    fn words(self, unit: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::AtLeast(least) => format!("≥ {}", with_unit(least, unit)),
            Self::AtMost(most) => format!("≤ {}", with_unit(most, unit)),
            Self::Between(least, most) => {
                format!(
                    "{} to {}",
                    with_unit(least, unit).trim_end_matches([' ', '%']),
                    with_unit(most, unit)
                )
            }
        }
    }
}

/// The runs of one link: for each sender the figures of every run.
pub(crate) fn print(link: &str, senders: &[&Vec<Vec<Figure>>]) {
    let Some(figures) = senders.iter().find_map(|runs| runs.first()) else {
        return;
    };
    for (index, figure) in figures.iter().enumerate() {
        let mut line = format!("| {link}: {} |", figure.what);
        for runs in senders {
            let values: Vec<f64> = runs.iter().map(|run| run[index].value).collect();
            let _ = write!(line, " {} |", spread(values, figure));
        }
        println!("{line} {} |", figure.aim.words(figure.unit));
    }
}

/// The median, and the extremes when there are any.
fn spread(mut values: Vec<f64>, figure: &Figure) -> String {
    if values.is_empty() {
        return "–".into();
    }
    values.sort_by(f64::total_cmp);
    let median = values[values.len() / 2];
    let mut text = with_unit(median, figure.unit);
    if values.len() > 1 {
        let [least, most] =
            [values[0], values[values.len() - 1]].map(|value| number(value, figure.unit));
        let _ = write!(text, " ({least} to {most})");
    }
    if !figure.aim.is_met(median) {
        text.push_str(", missed");
    }
    text
}

fn with_unit(value: f64, unit: &str) -> String {
    match value.is_finite() {
        true => format!("{} {unit}", number(value, unit)),
        // It did not happen, or could not be read from the picture.
        false => "never".into(),
    }
}

fn number(value: f64, unit: &str) -> String {
    match unit {
        "s" => format!("{value:.2}"),
        "%" => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
