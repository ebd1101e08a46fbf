// Notes of every picture that reaches the screen when it was taken, when it came, and whether it differs from the one before.
// Installed once per page; it follows the page's video element when a new session brings a new one.
const canvas = new OffscreenCanvas(16, 16);
const context = canvas.getContext('2d', { willReadFrequently: true });
const DIFFERS = 48;
const pictures = [];
let watched = null, before = null;

function note(video, now, metadata) {
  const { width, height, presentedFrames, rtpTimestamp } = metadata;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  const moved = pixels.length !== before?.length || pixels.some((value, index) => Math.abs(value - before[index]) > DIFFERS);
  before = pixels;
  pictures.push({ at: now, presented: presentedFrames, taken: rtpTimestamp, moved, width, height });
  if (video === watched) video.requestVideoFrameCallback((now, metadata) => note(video, now, metadata));
}

function follow() {
  const { video } = window.rovercast;
  if (video && video !== watched) {
    watched = video;
    video.requestVideoFrameCallback((now, metadata) => note(video, now, metadata));
  }
}

async function take() {
  const stats = await window.rovercast.peer().getStats();
  const received = [...stats.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
  return { pictures: pictures.splice(0), decoded: received.framesDecoded, lost: received.packetsLost };
}

window.screenOfTheRobot = { take, count: () => pictures.length };
follow();
setInterval(follow, 10);
