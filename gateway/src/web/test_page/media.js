// Media of one call with one other leg. Signals go through `send`; how it is, is told through `told`.
//
// Browsers say late that a path is gone (`disconnected` after 7 s, `failed` after 17 s): what is watched here is whether
// frames are decoded. When they stop, or the network says that it has changed, ICE restarts at once.

const LOOK_EVERY_MS = 100;
// Noticed within 2 s, with the time between two looks and a busy machine.
const STALLED_AFTER_MS = 1200;
// A restart has so long before the next: an offer may have been lost, which nobody stores.
const RESTART_EVERY_MS = 2000;
// From the first offer to the first frame.
const FIRST_FRAME_WITHIN_MS = 5000;

export class Media {
  // `isPolite`: gives way when both offer at once. `policy`: "all", or "relay" for TURN servers alone.
  constructor({ isPolite, servers = [], policy = 'all', send, told, fresh = () => {} }) {
    Object.assign(this, { isPolite, send, told, fresh });
    this.pc = new RTCPeerConnection({ iceServers: servers, iceTransportPolicy: policy });
    this.remote = new MediaStream();
    this.isOffering = false;
    this.isIgnoring = false;
    this.chain = Promise.resolve();
    this.progress = 0;
    this.grewAt = 0;
    this.restartedAt = 0;
    this.startedAt = performance.now();
    this.state = 'checking';
    const { pc } = this;
    pc.onicecandidate = ({ candidate }) => candidate && send({ candidate });
    pc.oniceconnectionstatechange = () => this.note(`ice_${pc.iceConnectionState}`);
    pc.ontrack = ({ track }) => this.remote.addTrack(track);
    this.onNetwork = () => this.grewAt && this.restart('network');
    navigator.connection?.addEventListener('change', this.onNetwork);
    window.addEventListener('online', this.onNetwork);
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  add(stream) {
    for (const track of stream.getTracks()) this.pc.addTrack(track, stream);
  }

  // Credentials for TURN servers; for the next path that is looked for.
  setServers(servers) {
    this.pc.setConfiguration({ ...this.pc.getConfiguration(), iceServers: servers });
  }

  async offer(options = {}) {
    this.isOffering = true;
    try {
      const offer = await this.pc.createOffer(options);
      if (this.pc.signalingState === 'have-remote-offer') return;
      await this.pc.setLocalDescription(offer);
      this.send({ description: this.pc.localDescription });
    } finally {
      this.isOffering = false;
    }
  }

  // One after the other, in the order in which they came.
  handle(signal) {
    this.chain = this.chain.then(() => this.take(signal)).catch(() => this.note('signal_refused'));
    return this.chain;
  }

  async take({ description, candidate }) {
    const { pc } = this;
    if (candidate) {
      // Of an offer that was not taken: nobody misses it.
      return pc.addIceCandidate(candidate).catch(error => { if (!this.isIgnoring) throw error; });
    }
    const collides = description.type === 'offer' && (this.isOffering || pc.signalingState !== 'stable');
    this.isIgnoring = collides && !this.isPolite;
    if (this.isIgnoring || (description.type === 'answer' && pc.signalingState !== 'have-local-offer')) return;
    await pc.setRemoteDescription(description);
    if (description.type === 'offer') {
      // The other side has begun anew: doing so as well would only throw away what it has begun.
      this.restartedAt = performance.now();
      await pc.setLocalDescription();
      this.send({ description: pc.localDescription });
    }
  }

  async look() {
    const now = performance.now();
    const progress = await this.decoded();
    // Fewer than before are frames too: offers that collide may begin the count anew.
    if (progress !== this.progress && progress > 0) {
      this.progress = progress;
      this.grewAt = now;
      this.become('connected');
      return;
    }
    const silent = this.grewAt ? now - this.grewAt >= STALLED_AFTER_MS : now - this.startedAt >= FIRST_FRAME_WITHIN_MS;
    if (!silent) return;
    if (this.state === 'connected') this.become('stalled');
    if (now - this.restartedAt >= RESTART_EVERY_MS) this.restart('frames');
  }

  // Decoded frames; of a call without video, packets of its voice.
  async decoded() {
    let video = 0, audio = 0;
    (await this.pc.getStats()).forEach(s => {
      if (s.type !== 'inbound-rtp') return;
      if (s.kind === 'video') video += s.framesDecoded ?? 0; else audio += s.packetsReceived ?? 0;
    });
    return this.pc.getReceivers().some(receiver => receiver.track.kind === 'video') ? video : audio;
  }

  restart(why) {
    const now = performance.now();
    if (this.pc.signalingState === 'closed' || now - this.restartedAt < RESTART_EVERY_MS) return;
    this.restartedAt = now;
    this.note(`restart_${why}`);
    this.become('restarting');
    // The credentials at hand are good for ten minutes; fresh ones are there for the time after.
    this.fresh();
    this.offer({ iceRestart: true }).catch(() => this.note('restart_failed'));
  }

  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.note(state);
    this.told(state);
  }

  note(what) {
    notes.push({ at: Date.now(), what });
    if (notes.length > 500) notes.shift();
  }

  close() {
    clearInterval(this.timer);
    navigator.connection?.removeEventListener('change', this.onNetwork);
    window.removeEventListener('online', this.onNetwork);
    this.pc.close();
  }
}

// What happened when, for whoever looks for a fault: words, never content.
export const notes = window.notes = [];
