//! What the test card looks like: a background that is drawn once, and the parts that move over it.

use std::time::Duration;

use super::canvas::{Area, Canvas, Ink, even};
use super::lettering::{Sprite, places};
use super::motion::{Ball, Comet, Counter, Dial};
use crate::media::Size;
use crate::media::strip::Strip;

/// A test card of one size. The planes are those of `YU12`, tightly packed, in BT.601 limited range.
///
/// From the top: the machine-readable strip, a comet that runs along its track once in two seconds, colour bars, a dial whose
/// hand is at the top at every full second, the time in UTC, a bouncing ball, and what the card is.
#[derive(Debug)]
pub(super) struct Card {
    size: Size,
    background: Vec<u8>,
    comet: Comet,
    dial: Dial,
    ball: Ball,
    clock: Counter,
    frames: Counter,
}

impl Card {
    /// `size` has even sides.
    pub(super) fn new(size: Size, interval: Duration) -> Self {
        let layout = Layout::of(size);
        let mut background = vec![NEUTRAL; bytes(size)];
        let mut canvas = Canvas::over(&mut background, size);
        canvas.fill(layout.whole, PANEL);
        canvas.fill(layout.strip, BLACK);
        draw_bars(&mut canvas, layout.bars);
        canvas.fill(layout.footer, FOOTER);

        let dial = Dial::new(&mut canvas, layout.dial);
        let ball = Ball::new(&mut canvas, layout.arena);
        let clock = draw_clock_face(&mut canvas, layout.clock);
        let frames = draw_footer(&mut canvas, layout.footer, size, interval);
        Self {
            size,
            background,
            comet: Comet::new(layout.track),
            dial,
            ball,
            clock,
            frames,
        }
    }

    /// Leaves the picture in `memory`, which is not made larger when it has room for the picture.
    pub(super) fn draw(&self, memory: &mut Vec<u8>, strip: Strip) {
        memory.clear();
        memory.extend_from_slice(&self.background);
        let mut canvas = Canvas::over(memory, self.size);

        let now = strip.captured_unix_ms;
        self.comet.draw(&mut canvas, now);
        self.dial.draw(&mut canvas, now);
        self.ball.draw(&mut canvas, now);
        let of_day = now % 86_400_000;
        let (hours, minutes) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (seconds, milliseconds) = (of_day / 1000 % 60, of_day % 1000);
        // HHMMSSmmm as one number: its digits in order are those of the clock.
        let reading = ((hours * 100 + minutes) * 100 + seconds) * 1000 + milliseconds;
        self.clock.draw(&mut canvas, reading);
        self.frames.draw(&mut canvas, u64::from(strip.frame));

        strip.draw(canvas.luma, self.size.width as usize, self.size);
    }
}

/// The bytes of a `YU12` picture with even sides.
pub(super) fn bytes(size: Size) -> usize {
    size.width as usize * size.height as usize * 3 / 2
}

/// Who is where. All corners and sides are even, so that chroma follows luma.
struct Layout {
    whole: Area,
    strip: Area,
    track: Area,
    bars: Area,
    dial: Area,
    clock: Area,
    arena: Area,
    footer: Area,
}

impl Layout {
    fn of(size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let strip = Strip::area(size).map_or(Area::new(0, 0, 0, 0), |area| {
            Area::new(0, 0, area.width as usize, area.height as usize)
        });
        let free = height - strip.height;
        let track = Area::new(0, strip.height, width, free * 4 / 100);
        let bars = Area::new(0, track.bottom(), width, free * 40 / 100);
        let footer_height = even(free * 12 / 100);
        let footer = Area::new(0, height - footer_height, width, footer_height);
        let panel_height = footer.top - bars.bottom();

        // Between the bars and the footer: the dial, the clock, and the ball's box, which is as large as the dial.
        let round = even((panel_height * 80 / 100).min(width * 20 / 100));
        let top = bars.bottom() + (panel_height - round) / 2;
        let margin = even(((panel_height - round) / 2).min(width / 32));
        let dial = Area::new(margin, top, round, round);
        let arena = Area::new(width - margin - round, top, round, round);
        let left = dial.right() + margin;
        let clock = Area::new(
            left,
            bars.bottom(),
            arena.left - margin - left,
            panel_height,
        );
        Self {
            whole: Area::new(0, 0, width, height),
            strip,
            track,
            bars,
            dial,
            clock,
            arena,
            footer,
        }
    }
}

fn draw_bars(canvas: &mut Canvas, area: Area) {
    let count = COLOUR_BARS.len();
    for (bar, ink) in COLOUR_BARS.iter().enumerate() {
        let left = even(area.left + bar * area.width / count);
        let right = even(area.left + (bar + 1) * area.width / count);
        canvas.fill(Area::new(left, area.top, right - left, area.height), *ink);
    }
}

fn draw_clock_face(canvas: &mut Canvas, area: Area) -> Counter {
    let text = "00:00:00.000";
    let height = fitting_height(text, area.width, area.height / 3);
    let left = area.left + area.width.saturating_sub(places(text, height).1) / 2;
    // The digits, a gap and the zone below them stand in the middle together.
    let small = (height / 4).max(MIN_LETTERS);
    let top = area.top + area.height.saturating_sub(height + 2 * small) / 2;
    let zone = "UTC";
    let zone_left = area.left + area.width.saturating_sub(places(zone, small).1) / 2;
    print(canvas, zone, zone_left, top + height + small, small);
    Counter::new(canvas, text, left, top, height)
}

fn draw_footer(canvas: &mut Canvas, area: Area, size: Size, interval: Duration) -> Counter {
    let name = "ROVERCAST TEST CARD";
    let frames = "FRAME 0000000";
    let rate = format!("{:.2}", 1.0 / interval.as_secs_f64());
    let rate = rate.trim_end_matches('0').trim_end_matches('.');
    let what = format!("{size} {rate} FPS");

    let all = format!("{name}      {frames}      {what}");
    let margin = area.width / 32;
    let height = fitting_height(&all, area.width - 2 * margin, area.height * 2 / 5);
    let top = area.top + area.height.saturating_sub(height) / 2;
    let width_of = |text| places(text, height).1;
    print(canvas, name, margin, top, height);
    let right = area.width.saturating_sub(margin + width_of(&what));
    print(canvas, &what, right, top, height);
    // In the middle between its neighbours, which are not equally long.
    let left = (margin + width_of(name) + right).saturating_sub(width_of(frames)) / 2;
    Counter::new(canvas, frames, left, top, height)
}

fn print(canvas: &mut Canvas, text: &str, left: usize, top: usize, height: usize) {
    for (character, place) in text.chars().zip(places(text, height).0) {
        let letter = Sprite::letter(character, height);
        canvas.blit(&letter, left + place, top, WHITE.luma);
    }
}

/// The height at which a line of text is as wide as `width`, `highest` at most.
fn fitting_height(text: &str, width: usize, highest: usize) -> usize {
    let wide = places(text, REFERENCE_HEIGHT).1.max(1);
    (width * REFERENCE_HEIGHT / wide).clamp(MIN_LETTERS, highest.max(MIN_LETTERS))
}

/// EBU 100/0/75/0: a full white, the colours at three quarters, black.
const COLOUR_BARS: [Ink; 8] = [
    WHITE,
    Ink::new(162, 44, 142),
    Ink::new(131, 156, 44),
    Ink::new(112, 72, 58),
    Ink::new(84, 184, 198),
    Ink::new(65, 100, 212),
    Ink::new(35, 212, 114),
    BLACK,
];

const NEUTRAL: u8 = 128;
pub(super) const WHITE: Ink = Ink::new(235, NEUTRAL, NEUTRAL);
const BLACK: Ink = Ink::new(16, NEUTRAL, NEUTRAL);
pub(super) const PANEL: Ink = Ink::new(32, 132, 124);
const FOOTER: Ink = Ink::new(52, 134, 122);

const REFERENCE_HEIGHT: usize = 100;
/// Smaller letters are no letters.
const MIN_LETTERS: usize = 6;
