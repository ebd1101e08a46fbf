//! What the test card looks like: a background that is drawn once, and the parts that move over it.

use std::time::Duration;

use super::canvas::{Area, Canvas, Ink, even};
use super::lettering::{Sprite, places};
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

/// A bright head that runs to the right and pulls a fading tail.
#[derive(Debug)]
struct Comet {
    area: Area,
    /// A line of the track at the moment when the head is at its right end.
    line: Vec<u8>,
}

impl Comet {
    fn new(track: Area) -> Self {
        let area = track.inset(track.height / 4);
        let line = (0..area.width)
            .map(|x| fade(PANEL.luma, WHITE.luma, x, area.width))
            .collect();
        Self { area, line }
    }

    fn draw(&self, canvas: &mut Canvas, now: u64) {
        if self.line.is_empty() {
            return;
        }
        let head = (now % COMET_MS) as usize * self.line.len() / COMET_MS as usize;
        let (tail, ahead) = self.line.split_at(self.line.len() - 1 - head);
        for y in self.area.top..self.area.bottom() {
            canvas.copy_line(self.area.left, y, ahead);
            canvas.copy_line(self.area.left + ahead.len(), y, tail);
        }
    }
}

/// A hand that sweeps around once a second, with the top at the full second, and pulls a fading tail.
#[derive(Debug)]
struct Dial {
    area: Area,
    /// For each pixel its direction from the middle, clockwise from the top in 1/1024 of a turn; `OUTSIDE` where no hand is.
    directions: Vec<u16>,
    /// The luma by how far behind the hand.
    tail: Vec<u8>,
}

impl Dial {
    const TURN: u16 = 1024;
    const OUTSIDE: u16 = u16::MAX;

    fn new(canvas: &mut Canvas, area: Area) -> Self {
        let middle = area.width as f32 / 2.0;
        let rim = (middle / 24.0).max(1.0);
        let face = middle - 3.0 * rim;
        // Twelve marks stand outside of the face, and its rim hides where the moving part ends.
        let rings = Sprite::shape(area.width, area.width, |x, y| {
            let (x, y) = (x - middle, y - middle);
            let from_middle = x.hypot(y);
            let turn = x.atan2(-y).rem_euclid(std::f32::consts::TAU / 12.0);
            let beside = turn.min(std::f32::consts::TAU / 12.0 - turn) * from_middle;
            let mark = (beside - rim / 2.0).max((from_middle - middle + rim).abs() - rim);
            mark.min((from_middle - face).abs() - rim / 2.0)
        });
        let tint = Sprite::disc(area.width / 2);
        canvas.blit_chroma(&tint, area.left / 2, area.top / 2, TEAL);
        canvas.blit(&rings, area.left, area.top, WHITE.luma);

        let directions = (0..area.width * area.height)
            .map(|at| {
                let x = (at % area.width) as f32 + 0.5 - middle;
                let y = (at / area.width) as f32 + 0.5 - middle;
                if x.hypot(y) > face - rim / 2.0 {
                    return Self::OUTSIDE;
                }
                let turn = x.atan2(-y) / std::f32::consts::TAU;
                (turn.rem_euclid(1.0) * f32::from(Self::TURN)) as u16 % Self::TURN
            })
            .collect();
        let turn = usize::from(Self::TURN);
        let tail = (0..turn)
            .map(|behind| fade(PANEL.luma, WHITE.luma, turn - 1 - behind, turn))
            .collect();
        Self {
            area,
            directions,
            tail,
        }
    }

    fn draw(&self, canvas: &mut Canvas, now: u64) {
        let hand = (now % 1000 * u64::from(Self::TURN) / 1000) as u16;
        for (line, directions) in self.directions.chunks(self.area.width.max(1)).enumerate() {
            let pixels = canvas.line(self.area.left, self.area.top + line, self.area.width);
            for (pixel, direction) in pixels.iter_mut().zip(directions) {
                if *direction != Self::OUTSIDE {
                    let behind = hand.wrapping_sub(*direction) % Self::TURN;
                    *pixel = self.tail[usize::from(behind)];
                }
            }
        }
    }
}

/// A ball that bounces in its box.
#[derive(Debug)]
struct Ball {
    /// Where the ball's top left corner may be.
    room: Area,
    disc: Sprite,
    chroma: Sprite,
}

impl Ball {
    fn new(canvas: &mut Canvas, area: Area) -> Self {
        let line = (area.width / 48).max(1);
        canvas.fill(area, WHITE);
        let inside = area.inset(line);
        canvas.fill(inside, PANEL);
        let diameter = even(area.width / 4);
        Self {
            room: Area::new(
                inside.left,
                inside.top,
                inside.width.saturating_sub(diameter),
                inside.height.saturating_sub(diameter),
            ),
            disc: Sprite::disc(diameter),
            chroma: Sprite::disc(diameter / 2),
        }
    }

    fn draw(&self, canvas: &mut Canvas, now: u64) {
        let left = self.room.left + bounce(now, BALL_ACROSS_MS, self.room.width);
        let top = self.room.top + bounce(now, BALL_DOWN_MS, self.room.height);
        canvas.blit(&self.disc, left, top, ORANGE.luma);
        canvas.blit_chroma(&self.chroma, left / 2, top / 2, ORANGE);
    }
}

/// A line of text with a number that changes in it.
#[derive(Debug)]
struct Counter {
    digits: [Sprite; 10],
    /// From the most significant digit to the least.
    places: Vec<usize>,
    top: usize,
}

impl Counter {
    /// Writes `text` and remembers where its digits are; these are to be drawn with every picture.
    fn new(canvas: &mut Canvas, text: &str, left: usize, top: usize, height: usize) -> Self {
        let mut digits = Vec::new();
        for (character, place) in text.chars().zip(places(text, height).0) {
            if character.is_ascii_digit() {
                digits.push(left + place);
            } else {
                let letter = Sprite::letter(character, height);
                canvas.blit(&letter, left + place, top, WHITE.luma);
            }
        }
        Self {
            digits: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
                .map(|digit| Sprite::letter(digit, height)),
            places: digits,
            top,
        }
    }

    fn draw(&self, canvas: &mut Canvas, number: u64) {
        let mut rest = number;
        for place in self.places.iter().rev() {
            let digit = &self.digits[(rest % 10) as usize];
            canvas.blit(digit, *place, self.top, WHITE.luma);
            rest /= 10;
        }
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

/// The luma at step `at` of a tail that gets brighter from 0 to `steps`, the steeper the nearer to its head.
fn fade(from: u8, to: u8, at: usize, steps: usize) -> u8 {
    let share = (at + 1) as f32 / steps as f32;
    (f32::from(from) + (f32::from(to) - f32::from(from)) * share.powi(3)) as u8
}

/// To and fro between 0 and `range`, one way in `one_way` milliseconds.
fn bounce(now: u64, one_way: u64, range: usize) -> usize {
    let at = now % (2 * one_way);
    (at.min(2 * one_way - at) * range as u64 / one_way) as usize
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
const WHITE: Ink = Ink::new(235, NEUTRAL, NEUTRAL);
const BLACK: Ink = Ink::new(16, NEUTRAL, NEUTRAL);
const PANEL: Ink = Ink::new(32, 132, 124);
const FOOTER: Ink = Ink::new(52, 134, 122);
const TEAL: Ink = Ink::new(32, 140, 104);
const ORANGE: Ink = Ink::new(160, 50, 178);

const COMET_MS: u64 = 2000;
/// Without a common divisor, so that the ball takes a minute to come by the same way again.
const BALL_ACROSS_MS: u64 = 1300;
const BALL_DOWN_MS: u64 = 1100;

const REFERENCE_HEIGHT: usize = 100;
/// Smaller letters are no letters.
const MIN_LETTERS: usize = 6;
