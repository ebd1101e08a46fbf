//! What the test card looks like: a background that is drawn once, and the parts that move over it.

use std::time::Duration;

use super::lettering::{Sprite, places};
use crate::media::Size;
use crate::media::strip::Strip;

/// A test card of one size. The planes are those of `YU12`, tightly packed, in BT.601 limited range.
///
/// From the top: the machine-readable strip, colour bars, a comet that runs along its track once in two seconds, a dial whose
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
        draw_bars(&mut canvas, layout.bars);
        canvas.fill(layout.track, PANEL);
        canvas.fill(layout.panel, PANEL);
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
    bars: Area,
    track: Area,
    panel: Area,
    dial: Area,
    clock: Area,
    arena: Area,
    footer: Area,
}

impl Layout {
    fn of(size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let strip = Strip::area(size).map_or(0, |area| area.height as usize);
        let free = height - strip;
        let bars = Area::new(0, strip, width, free * 40 / 100);
        let track = Area::new(0, bars.bottom(), width, free * 4 / 100);
        let footer_height = even(free * 12 / 100);
        let footer = Area::new(0, height - footer_height, width, footer_height);
        let panel_height = footer.top - track.bottom();
        let panel = Area::new(0, track.bottom(), width, panel_height);

        // The round parts are squares at both ends of the panel, and the clock has what is between them.
        let round = even((panel_height * 80 / 100).min(width * 20 / 100));
        let top = panel.top + (panel_height - round) / 2;
        let margin = even((panel_height - round) / 2);
        let dial = Area::new(margin, top, round, round);
        let arena = Area::new(width - margin - round, top, round, round);
        let left = dial.right() + margin;
        let clock = Area::new(left, panel.top, arena.left - margin - left, panel_height);
        Self {
            bars,
            track,
            panel,
            dial,
            clock,
            arena,
            footer,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Area {
    fn new(left: usize, top: usize, width: usize, height: usize) -> Self {
        Self {
            left: even(left),
            top: even(top),
            width: even(width),
            height: even(height),
        }
    }

    fn right(&self) -> usize {
        self.left + self.width
    }

    fn bottom(&self) -> usize {
        self.top + self.height
    }

    fn inset(&self, by: usize) -> Self {
        let by = even(by);
        Self::new(
            self.left + by,
            self.top + by,
            self.width.saturating_sub(2 * by),
            self.height.saturating_sub(2 * by),
        )
    }
}
