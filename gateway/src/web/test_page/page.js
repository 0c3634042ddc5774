// A desk in a page: takes calls over the gateway's WebSocket. `window.desk` is for the console and for tests.
import { Media, notes } from '/media.js';

// As feldakte_core::call has them.
const PULSE_EVERY_MS = 500;
const SILENT_AFTER_MS = 1500;
const REDIAL_EVERY_MS = 500;
const DIAL_WITHIN_MS = 2000;

const show = id => document.getElementById(id);
const note = what => notes.push({ at: Date.now(), what });

class Desk {
  constructor() {
    this.facts = new Map();
    this.medias = new Map();
    this.relays = new Map();
    this.intents = new Map();
    this.policy = 'all';
    this.pulse = 0;
    setInterval(() => this.beat(), PULSE_EVERY_MS);
  }

  async start({ token, capacity, policy = 'all', media = { video: true, audio: true } }) {
    Object.assign(this, { token, capacity, policy });
    this.stream = await navigator.mediaDevices.getUserMedia(media);
    show('local').srcObject = this.stream;
    this.dial();
  }

  dial() {
    clearTimeout(this.redial);
    const old = this.socket;
    const socket = this.socket = new WebSocket(`wss://${location.host}/v1/calls`);
    this.heardAt = performance.now();
    this.redial = setTimeout(() => this.dial(), DIAL_WITHIN_MS);
    if (old) { old.onclose = old.onmessage = null; old.close(); }
    socket.onopen = () => socket.send(JSON.stringify({ hello: this.token ? { token: this.token } : {} }));
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => typeof data === 'string' ? this.hear(JSON.parse(data)) : this.see(data);
    socket.onclose = ({ code }) => {
      note(`closed_${code}`);
      this.welcome = null;
      this.paint(`Closed (${code})`);
      clearTimeout(this.redial);
      // 4002 to 4004 and 4011: nothing gets better by itself.
      if (![4003, 4004, 4009, 4011].includes(code)) this.redial = setTimeout(() => this.dial(), REDIAL_EVERY_MS);
    };
  }

  say(message) {
    if (this.welcome && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // A packet of live vitals, in the format of feldakte_core::live. This page counts them; the desk draws them.
  see(packet) {
    this.vitals = (this.vitals ?? 0) + 1;
    this.vitalsBytes = packet.byteLength;
  }

  hear(told) {
    this.heardAt = performance.now();
    const [kind, value] = Object.entries(told)[0];
    switch (kind) {
      case 'welcome':
        clearTimeout(this.redial);
        this.welcome = value;
        note('welcome');
        this.say('join');
        return this.paint(`${value.role} at ${value.tenant}/${value.unit}`);
      case 'joined':
        for (const call of this.facts.keys()) if (!value.calls.includes(call)) this.drop(call);
        this.say({ duty: { capacity: this.capacity } });
        for (const intent of this.intents.values()) this.say({ intent });
        return note('joined');
      case 'fact': return this.learn(value);
      case 'reply': this.intents.delete(value.key); return note(`reply_${JSON.stringify(value.outcome)}`);
      case 'relay': return this.takeRelay(value);
      case 'signal': return this.medias.get(value.call)?.media.handle(JSON.parse(value.payload));
      case 'pulse': return;
    }
  }

  want(call, act) {
    const intent = { key: crypto.randomUUID(), call, act };
    this.intents.set(intent.key, intent);
    this.say({ intent });
  }

  learn(fact) {
    const known = this.facts.get(fact.call);
    if (known && known.seq >= fact.seq) return;
    this.facts.set(fact.call, fact);
    note(`fact_${fact.phase}`);
    if (fact.phase === 'ended' || fact.standing.out) {
      this.drop(fact.call);
      if (fact.phase === 'ended') this.want(fact.call, 'noted');
    } else if (fact.standing.leg !== undefined) {
      this.connect(fact);
    }
    this.paint();
  }

  // The physician offers; a crew that has come back in another session starts anew.
  connect({ call, legs, standing }) {
    const crew = legs.find(leg => leg.leg === 0);
    const known = this.medias.get(call);
    if (!crew || (known && known.epoch === crew.epoch)) return;
    known?.media.close();
    const media = new Media({
      isPolite: false,
      policy: this.policy,
      servers: this.relays.get(call) ?? [],
      send: signal => this.signal(call, signal),
      told: state => this.want(call, { media: { leg: 0, state } }),
      fresh: () => this.want(call, 'relay'),
    });
    media.add(this.stream);
    show('remote').srcObject = media.remote;
    this.medias.set(call, { media, epoch: crew.epoch });
    // Relays follow at once when there are any: offers name them.
    setTimeout(() => media.offer(), this.relays.has(call) ? 0 : RELAYS_WITHIN_MS);
  }

  signal(call, signal) {
    const { standing, legs } = this.facts.get(call);
    const own = legs.find(leg => leg.leg === standing.leg);
    this.say({ signal: { call, from: standing.leg, to: 0, epoch: own?.epoch ?? 0, payload: JSON.stringify(signal) } });
  }

  takeRelay({ call, urls, username, password }) {
    const servers = [{ urls, username, credential: password }];
    this.relays.set(call, servers);
    this.medias.get(call)?.media.setServers(servers);
    note('relay');
  }

  drop(call) {
    this.medias.get(call)?.media.close();
    this.medias.delete(call);
    this.relays.delete(call);
  }

  // While a call is at hand, the path has to answer twice a second.
  beat() {
    if (!this.welcome || ![...this.facts.values()].some(fact => fact.phase !== 'ended' && !fact.standing.out)) return;
    if (performance.now() - this.heardAt > SILENT_AFTER_MS) {
      note('silent');
      this.welcome = null;
      return this.dial();
    }
    this.pulse = (this.pulse + 1) >>> 0;
    this.say({ pulse: this.pulse });
  }

  paint(status) {
    if (status) show('status').textContent = status;
    show('calls').replaceChildren(...[...this.facts.values()].map(fact => this.row(fact)));
  }

  row(fact) {
    const row = document.createElement('li');
    row.textContent = `${fact.category} ${fact.phase} ${fact.use_phone ? `— telephone ${fact.phone ?? ''}` : ''} `;
    const acts = fact.standing.rung ? ['accept', 'decline'] : fact.standing.leg !== undefined ? ['hold', 'unhold', 'phoned', 'hang_up'] : [];
    for (const act of acts) {
      const button = document.createElement('button');
      button.textContent = act;
      button.onclick = () => this.want(fact.call, act);
      row.append(button);
    }
    return row;
  }
}

const RELAYS_WITHIN_MS = 150;
const desk = window.desk = new Desk();
show('sign-in').onsubmit = event => {
  event.preventDefault();
  desk.start({ token: show('token').value, capacity: Number(show('capacity').value) });
};
