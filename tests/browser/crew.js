// An ambulance's media in a page. Its signals go out by `emit` and come in by `crew.hear`: the SDK beside it carries them.
import { Media, notes } from '/media.js';

const crew = window.crew = {
  notes,
  async start({ servers, policy, media }) {
    const stream = await navigator.mediaDevices.getUserMedia(media ?? { video: { width: 320, height: 240, frameRate: 15 }, audio: true });
    crew.media = new Media({
      isPolite: true,
      servers,
      policy,
      send: signal => emit({ signal: JSON.stringify(signal) }),
      told: state => emit({ media: state }),
      fresh: () => emit({ relay: true }),
    });
    crew.media.add(stream);
    document.getElementById('remote').srcObject = crew.media.remote;
  },
  hear: payload => crew.media.handle(JSON.parse(payload)),
  setServers: servers => crew.media.setServers(servers),
};
