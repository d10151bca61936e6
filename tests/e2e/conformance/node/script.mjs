// What both scripts share: REST by fetch, a peer that hears frame by frame, and steps that say what they hold.
import assert from "node:assert/strict";

const { WARDROOM_URL, WARDROOM_KEY } = process.env;
const PATIENCE = 15_000;

export async function rest(method, path, body) {
  const headers = { Authorization: `Bearer ${WARDROOM_KEY}`, "Content-Type": "application/json" };
  const answer = await fetch(`${WARDROOM_URL}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, body: text ? JSON.parse(text) : null };
}

export async function spawn(assignment = "do it", more = {}) {
  const { status, body } = await rest("POST", "sessions", { assignment, runner: "external", ...more });
  assert.equal(status, 201, JSON.stringify(body));
  return { id: body.id, token: body.child.token, url: body.child.websocket_url };
}

export async function until(look, what) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what} never happened`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

export async function decide(session, decision, more = {}) {
  const find = async () => (await rest("GET", `approvals?session=${session.id}&status=pending`)).body.results[0];
  const { id, digest, version } = await until(find, "the ask");
  const { status } = await rest("POST", `approvals/${id}/decide`, { decision, digest, version, ...more });
  assert.equal(status, 200);
  return id;
}

/** One connection. Node's WebSocket cannot set headers: the token is the second subprotocol. */
export class Peer {
  constructor(session, dialect, token = session.token, url = session.url) {
    this.frames = [];
    this.waiting = null;
    this.socket = new WebSocket(url, [dialect, `bearer.${token}`]);
    this.open = new Promise((done) => (this.socket.onopen = done));
    this.socket.onmessage = ({ data }) => this.wake(this.frames.push(JSON.parse(data)));
    this.closed = new Promise((done) => (this.socket.onclose = ({ code }) => (done(code), this.wake())));
  }

  wake() {
    this.waiting?.();
  }

  say(kind, fields = {}) {
    this.socket.send(JSON.stringify({ kind, ...fields }));
  }

  /** The next frame, which must be of this kind. */
  async hear(kind) {
    if (!this.frames.length) {
      const late = new Promise((_, fail) => setTimeout(() => fail(new Error(`no ${kind} came`)), PATIENCE).unref());
      await Promise.race([new Promise((done) => (this.waiting = done)), late]);
    }
    const frame = this.frames.shift();
    assert.equal(frame?.kind, kind, JSON.stringify(frame));
    return frame;
  }

  async nothing(milliseconds = 500) {
    await new Promise((done) => setTimeout(done, milliseconds));
    assert.deepEqual(this.frames, []);
  }
}

export async function script(steps) {
  for (const [name, step] of Object.entries(steps)) {
    await step();
    console.log(`ok ${name}`);
  }
  process.exit(0);
}
