//! Shapes with smooth edges, and the letters of the test card, drawn once at any size.

/// How much of each pixel a shape covers, 0 to 255.
#[derive(Debug)]
pub(super) struct Sprite {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) coverage: Vec<u8>,
}

impl Sprite {
    /// `distance` tells how far outside of the shape's edge a point is, in pixels; inside it is negative.
    pub(super) fn shape(
        width: usize,
        height: usize,
        distance: impl Fn(f32, f32) -> f32,
    ) -> Self {
        let coverage = (0..width * height)
            .map(|at| {
                let (x, y) = ((at % width) as f32 + 0.5, (at / width) as f32 + 0.5);
                ((0.5 - distance(x, y)).clamp(0.0, 1.0) * 255.0) as u8
            })
            .collect();
        Self {
            width,
            height,
            coverage,
        }
    }

    pub(super) fn disc(diameter: usize) -> Self {
        let radius = diameter as f32 / 2.0;
        Self::shape(diameter, diameter, |x, y| {
            (x - radius).hypot(y - radius) - radius
        })
    }

    /// A line of text whose capitals are `height` pixels high. Characters that have no strokes leave a gap.
    pub(super) fn text(text: &str, height: usize) -> Self {
        let pen = Pen::of_height(height);
        let mut segments = Vec::new();
        let mut left = pen.radius;
        for character in text.chars() {
            for stroke in strokes(character).split(' ') {
                let points: Vec<_> = points(stroke)
                    .map(|(x, y)| (left + x * pen.unit, pen.radius + y * pen.unit))
                    .collect();
                segments.extend(points.windows(2).map(|ends| (ends[0], ends[1])));
            }
            left += pen.advance(character);
        }
        let width = (left - pen.gap() + pen.radius).ceil().max(1.0) as usize;
        Self::shape(width, height, |x, y| {
            let nearest = segments
                .iter()
                .map(|(from, to)| distance_to_segment((x, y), *from, *to))
                .fold(f32::INFINITY, f32::min);
            nearest - pen.radius
        })
    }
}

/// Where each character of a text begins, in pixels from the left, and the width of all.
pub(super) fn places(text: &str, height: usize) -> (Vec<usize>, usize) {
    let pen = Pen::of_height(height);
    let mut left = 0.0;
    let places = text
        .chars()
        .map(|character| {
            let place = left as usize;
            left += pen.advance(character);
            place
        })
        .collect();
    (places, (left - pen.gap() + 2.0 * pen.radius).max(0.0) as usize)
}

/// A round pen that draws on a grid of 4 by 6 units.
struct Pen {
    unit: f32,
    radius: f32,
}

impl Pen {
    fn of_height(height: usize) -> Self {
        // Six units between the centres of the outermost strokes, and a pen's radius beyond each.
        let unit = height as f32 / (6.0 + 2.0 * PEN_RADIUS);
        Self {
            unit,
            radius: unit * PEN_RADIUS,
        }
    }

    fn gap(&self) -> f32 {
        self.unit * LETTER_GAP
    }

    fn advance(&self, character: char) -> f32 {
        let width = match character {
            ' ' => 1.0,
            // All digits are as wide as the widest, so that a running clock stands still.
            '0'..='9' => 4.0,
            _ => strokes(character)
                .split(' ')
                .flat_map(points)
                .map(|(x, _)| x)
                .fold(0.0, f32::max),
        };
        width * self.unit + self.gap()
    }
}

fn points(stroke: &str) -> impl Iterator<Item = (f32, f32)> {
    stroke
        .as_bytes()
        .chunks_exact(2)
        .map(|point| (f32::from(point[0] - b'0'), f32::from(point[1] - b'0')))
}

fn distance_to_segment(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let along = (to.0 - from.0, to.1 - from.1);
    let offset = (point.0 - from.0, point.1 - from.1);
    let length_squared = along.0 * along.0 + along.1 * along.1;
    let share = if length_squared > 0.0 {
        ((offset.0 * along.0 + offset.1 * along.1) / length_squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (offset.0 - share * along.0).hypot(offset.1 - share * along.1)
}

/// The strokes of a character: each a chain of points, each point its column (0 to 4) and row (0 to 6, from the top).
fn strokes(character: char) -> &'static str {
    match character {
        '0' => "103041453616050110",
        '1' => "112026 1636",
        '2' => "01103041420646",
        '3' => "01103041423313 334445361605",
        '4' => "36300444",
        '5' => "400002324345361605",
        '6' => "413010010516364544331304",
        '7' => "004016",
        '8' => "13020110304142331304051636454433",
        '9' => "051636454130100102133342",
        ':' => "0202 0505",
        '.' => "0606",
        'x' => "0246 4206",
        'A' => "060110304146 0444",
        'C' => "4130100105163645",
        'D' => "00304145360600",
        'E' => "40000646 0333",
        'F' => "400006 0333",
        'M' => "0600234046",
        'O' => "103041453616050110",
        'P' => "06003041423303",
        'R' => "06003041423303 2346",
        'S' => "413010010213334445361605",
        'T' => "0040 2026",
        'U' => "000516364540",
        'V' => "002640",
        _ => "",
    }
}

/// The pen's radius in units of the grid.
const PEN_RADIUS: f32 = 0.5;

/// The way from the rightmost point of a letter to the leftmost of the next, in units of the grid.
const LETTER_GAP: f32 = 1.9;
