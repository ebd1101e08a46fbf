//! The parts of the test card that move. Where they are depends on nothing but the time.

use super::canvas::{Area, Canvas, Ink, even};
use super::card::{PANEL, WHITE};
use super::lettering::{Sprite, places};

/// A bright head that runs to the right and pulls a fading tail.
#[derive(Debug)]
pub(super) struct Comet {
    area: Area,
    /// A line of the track at the moment when the head is at its right end.
    line: Vec<u8>,
}

impl Comet {
    pub(super) fn new(track: Area) -> Self {
        let area = track.inset(track.height / 4);
        let line = (0..area.width)
            .map(|x| fade(PANEL.luma, WHITE.luma, x, area.width))
            .collect();
        Self { area, line }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, now: u64) {
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
pub(super) struct Dial {
    area: Area,
    /// For each pixel its direction from the middle, clockwise from the top in 1/1024 of a turn; `OUTSIDE` where no hand is.
    directions: Vec<u16>,
    /// The luma by how far behind the hand.
    tail: Vec<u8>,
}

impl Dial {
    const TURN: u16 = 1024;
    const OUTSIDE: u16 = u16::MAX;

    pub(super) fn new(canvas: &mut Canvas, area: Area) -> Self {
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

    pub(super) fn draw(&self, canvas: &mut Canvas, now: u64) {
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
pub(super) struct Ball {
    /// Where the ball's top left corner may be.
    room: Area,
    disc: Sprite,
    chroma: Sprite,
}

impl Ball {
    pub(super) fn new(canvas: &mut Canvas, area: Area) -> Self {
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

    pub(super) fn draw(&self, canvas: &mut Canvas, now: u64) {
        let left = self.room.left + bounce(now, BALL_ACROSS_MS, self.room.width);
        let top = self.room.top + bounce(now, BALL_DOWN_MS, self.room.height);
        canvas.blit(&self.disc, left, top, ORANGE.luma);
        canvas.blit_chroma(&self.chroma, left / 2, top / 2, ORANGE);
    }
}

/// A line of text with a number that changes in it.
#[derive(Debug)]
pub(super) struct Counter {
    digits: [Sprite; 10],
    /// From the most significant digit to the least.
    places: Vec<usize>,
    top: usize,
}

impl Counter {
    /// Writes `text` and remembers where its digits are; these are to be drawn with every picture.
    pub(super) fn new(
        canvas: &mut Canvas,
        text: &str,
        left: usize,
        top: usize,
        height: usize,
    ) -> Self {
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

    pub(super) fn draw(&self, canvas: &mut Canvas, number: u64) {
        let mut rest = number;
        for place in self.places.iter().rev() {
            let digit = &self.digits[(rest % 10) as usize];
            canvas.blit(digit, *place, self.top, WHITE.luma);
            rest /= 10;
        }
    }
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

const ORANGE: Ink = Ink::new(160, 50, 178);
const TEAL: Ink = Ink::new(32, 140, 104);
const COMET_MS: u64 = 2000;
/// Unequal, so that the ball takes half a minute to come by the same way again.
const BALL_ACROSS_MS: u64 = 1300;
const BALL_DOWN_MS: u64 = 1100;
