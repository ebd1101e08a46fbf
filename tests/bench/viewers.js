// Many viewers in one page, at the price of one: all of them take every packet, but only the first `decoding` decode. The others
// let go of each coded picture before the decoder. Speaks the dashboard's side of the relay protocol, as src/web/viewer.html does.
const [count, decoding] = arguments;

const page = await (await fetch('/')).text();
const config = JSON.parse(/id="config"[^>]*>([^<]*)</.exec(page)[1]);
const url = new URL(config.relay, location.href.replace(/^http/, 'ws'));
url.searchParams.set('type', 'dashboard');
url.searchParams.set('robot_id', config.robot);
url.searchParams.set('camera_id', config.cameras[0]);

function open(decodes) {
  const socket = new WebSocket(url);
  const peer = new RTCPeerConnection(decodes ? {} : { encodedInsertableStreams: true });
  let viewer_id;
  const send = message => socket.send(JSON.stringify({ ...message, viewer_id }));
  peer.onicecandidate = ({ candidate }) => candidate?.candidate && send({
    type: 'ice_candidate', candidate: candidate.candidate, sdp_mid: candidate.sdpMid, sdp_mline_index: candidate.sdpMLineIndex,
  });
  const early = [];
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'welcome') send({ type: 'ready' });
    if (message.type === 'offer') {
      viewer_id = message.viewer_id;
      await peer.setRemoteDescription({ type: 'offer', sdp: message.sdp });
      await peer.setLocalDescription();
      send({ type: 'answer', sdp: peer.localDescription.sdp });
      early.splice(0).forEach(candidate => peer.addIceCandidate(candidate));
    }
    if (message.type === 'ice_candidate') {
      const candidate = { candidate: message.candidate ?? '', sdpMid: message.sdp_mid, sdpMLineIndex: message.sdp_mline_index ?? 0 };
      if (peer.remoteDescription) peer.addIceCandidate(candidate); else early.push(candidate);
    }
  };
  return new Promise((resolve, reject) => {
    socket.onclose = ({ code }) => reject(new Error(`the relay closed with ${code}`));
    setTimeout(() => reject(new Error('no picture within 15 s')), 15000);
    peer.ontrack = ({ track, receiver }) => {
      if (decodes) {
        const video = document.createElement('video');
        Object.assign(video, { muted: true, autoplay: true, srcObject: new MediaStream([track]) });
        video.requestVideoFrameCallback(resolve);
        document.body.append(video);
      } else {
        const { readable } = receiver.createEncodedStreams();
        readable.pipeTo(new WritableStream({ write: () => resolve() }));
      }
    };
  });
}

window.viewers ??= 0;
while (window.viewers < count) await open(window.viewers++ < decoding);
return window.viewers;
