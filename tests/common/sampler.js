// Reads the strip (src/media/strip.rs) of every picture that reaches the screen. Installed once per page; it follows the page's video
// element when a new session brings a new one.
const COLUMNS = 40, ROWS = 3, SYNC = 0b101100111000;

const canvas = new OffscreenCanvas(16, 16);
const context = canvas.getContext('2d', { willReadFrequently: true });
const samples = [];
let watched = null;

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc >>> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// { frame, captured } or null when the picture carries no strip that can be read.
function readStrip(video) {
  const side = Math.floor(Math.min(video.videoWidth / COLUMNS, video.videoHeight / 6) / 8) * 8;
  if (!side) return null;
  const width = side * COLUMNS, height = side * ROWS;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(video, 0, 0, width, height, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const level = bit => {
    const left = bit % COLUMNS * side + side / 4, top = Math.floor(bit / COLUMNS) * side + side / 4;
    let sum = 0;
    for (let y = top; y < top + side / 2; y++)
      for (let x = left; x < left + side / 2; x++) sum += pixels[4 * (y * width + x) + 1];
    return sum / (side * side / 4);
  };
  const levels = Array.from({ length: COLUMNS * ROWS }, (_, bit) => level(bit));
  const mean = wanted => {
    const those = levels.slice(0, 12).filter((_, bit) => (SYNC >> 11 - bit & 1) === wanted);
    return those.reduce((sum, one) => sum + one, 0) / those.length;
  };
  const white = mean(1), black = mean(0);
  if (white - black < 64) return null;
  const bits = levels.map(one => one > (white + black) / 2 ? 1 : 0);
  // 44 bits do not fit the 32 of JavaScript's bit operators.
  const number = (from, length) => bits.slice(from, from + length).reduce((value, bit) => value * 2 + bit, 0);
  const frame = number(12, 32), captured = number(44, 44);
  const bytes = [];
  for (let byte = 3; byte >= 0; byte--) bytes.push(Math.floor(frame / 2 ** (8 * byte)) & 255);
  for (let byte = 5; byte >= 0; byte--) bytes.push(Math.floor(captured / 2 ** (8 * byte)) & 255);
  if (number(0, 12) !== SYNC || number(88, 32) !== crc32(bytes)) return null;
  return { frame, captured };
}

function sample(video, now, metadata) {
  const strip = readStrip(video);
  samples.push({
    at: now,
    presented: metadata.presentedFrames,
    width: metadata.width,
    height: metadata.height,
    frame: strip ? strip.frame : null,
    // When the picture is to be seen, not when this callback ran; in one of ten sessions Chromium expects that before it has handed the
    // picture on. The time of day is read anew: performance.timeOrigin keeps that of the page's beginning, and a machine whose clock is
    // set meanwhile would show pictures of the future.
    age: strip ? Date.now() - performance.now() + Math.max(metadata.expectedDisplayTime, metadata.presentationTime) - strip.captured : null,
  });
  if (video === watched) video.requestVideoFrameCallback((now, metadata) => sample(video, now, metadata));
}

function follow() {
  const video = window.rovercast.video;
  if (video && video !== watched) {
    watched = video;
    video.requestVideoFrameCallback((now, metadata) => sample(video, now, metadata));
  }
}

if (!window.sampler) {
  window.sampler = { take: () => samples.splice(0), count: () => samples.length };
  follow();
  setInterval(follow, 10);
}
