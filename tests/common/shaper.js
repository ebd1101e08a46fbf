// Before the page's own script: the robot is reached at `port` of loopback, and this browser nowhere.
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  const message = JSON.parse(text);
  if (message.type === 'ice_candidate') return;
  if (message.sdp) message.sdp = message.sdp.replace(/a=candidate:.*\r\n/g, '');
  send.call(this, JSON.stringify(message));
};
const add = RTCPeerConnection.prototype.addIceCandidate;
RTCPeerConnection.prototype.addIceCandidate = function (candidate) {
  const words = (candidate?.candidate ?? '').split(' ');
  if (words[4] !== '127.0.0.1') return Promise.resolve();
  words[5] = port;
  return add.call(this, { ...candidate, candidate: words.join(' ') });
};
