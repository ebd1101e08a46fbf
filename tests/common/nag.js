// Asks for a key frame 200 times a second, for as long as the page is open. A transform that changes nothing is what may ask.
const script = `
  onrtctransform = ({ transformer }) => {
    transformer.readable.pipeTo(transformer.writable);
    let asked = 0;
    setInterval(() => {
      // Timers are late on a busy machine; what is due is made up for.
      for (const due = (performance.now() - start) / 5; asked < due; asked++) transformer.sendKeyFrameRequest().catch(() => {});
      postMessage(asked);
    }, 5);
    const start = performance.now();
  };
`;
const worker = new Worker(URL.createObjectURL(new Blob([script])));
worker.onmessage = ({ data }) => { window.nagged = data; };
worker.onerror = ({ message }) => console.error('nagging', message);
window.rovercast.peer().getReceivers()[0].transform = new RTCRtpScriptTransform(worker);
