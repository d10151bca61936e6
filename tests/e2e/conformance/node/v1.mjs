// `wardroom.v1` from another language.
import assert from "node:assert/strict";
import { Peer, decide, rest, script, spawn, until } from "./script.mjs";

const V1 = "wardroom.v1";
const BODY = { tool_name: "shell", permission: "shell", resource: "/srv", arguments: { command: "ls" } };

async function begin(session, hello = {}) {
  const peer = new Peer(session, V1);
  await peer.open;
  assert.equal(peer.socket.protocol, V1);
  peer.say("hello", { attempt: 1, client: "node", ...hello });
  const welcome = await peer.hear("welcome");
  return { peer, welcome };
}

async function started(session, hello) {
  const { peer } = await begin(session, hello);
  const run = await peer.hear("run");
  peer.say("run_ack");
  return { peer, run };
}

async function finish(peer) {
  peer.say("terminal", { status: "completed", result: "done" });
  await peer.hear("terminal_ack");
  assert.equal(await peer.closed, 1000);
}

await script({
  "the first seconds": async () => {
    const session = await spawn("the work");
    const { peer, run } = await started(session);
    assert.equal(run.assignment, "the work");
    assert.equal(run.session.session_id, session.id);
    await finish(peer);
  },
  "1: a gated tool": async () => {
    const session = await spawn();
    const { peer } = await started(session);
    peer.say("approval_request", { id: "a1", body: BODY });
    await peer.hear("approval_registered");
    await decide(session, "approve");
    const reply = await peer.hear("approval_reply");
    assert.equal(reply.approved, true);
    assert.deepEqual(reply.arguments, { command: "ls" });
    peer.say("approval_ack", { id: "a1", state: "received" });
    peer.say("approval_ack", { id: "a1", state: "consumed", digest: reply.digest, claim: "c" });
    await peer.hear("approval_consumed");
    peer.say("event", { seq: 1, event: { type: "tool_finished", tool_name: "shell", ok: true } });
    assert.equal((await peer.hear("event_ack")).seq, 1);
    await finish(peer);
    assert.equal((await rest("GET", `sessions/${session.id}`)).body.status, "completed");
  },
  "2: the answer that came while the connection was down": async () => {
    const session = await spawn();
    const first = await started(session);
    first.peer.say("approval_request", { id: "a1", body: BODY });
    await first.peer.hear("approval_registered");
    first.peer.socket.close();
    await decide(session, "deny", { message: "no" });
    const { peer } = await begin(session);
    const reply = await peer.hear("approval_reply");
    assert.equal(reply.decision, "denied");
    assert.equal(reply.message, "no");
    peer.say("approval_ack", { id: "a1", state: "received" });
    await finish(peer);
  },
  "3: the answer that came before the wait": async () => {
    const session = await spawn();
    const first = await started(session);
    first.peer.say("approval_request", { id: "a1", body: BODY });
    await first.peer.hear("approval_registered");
    await decide(session, "approve");
    await first.peer.hear("approval_reply");
    first.peer.socket.close();
    const { peer } = await started(session, { need_run: true });
    assert.equal((await peer.hear("approval_reply")).approved, true);
    peer.socket.close();
  },
  "4: a second answer is refused and nothing more is written": async () => {
    const session = await spawn();
    const { peer } = await started(session);
    peer.say("approval_request", { id: "a1", body: BODY });
    await peer.hear("approval_registered");
    const id = await decide(session, "approve");
    await peer.hear("approval_reply");
    const { body } = await rest("GET", `approvals/${id}`);
    const again = { decision: "deny", digest: body.digest, version: body.version };
    assert.equal((await rest("POST", `approvals/${id}/decide`, again)).status, 409);
    await peer.nothing();
    peer.socket.close();
  },
  "5: nobody answers": async () => {
    const session = await spawn();
    const { peer } = await started(session);
    peer.say("approval_request", { id: "a1", body: { ...BODY, expires_in_secs: 1 } });
    await peer.hear("approval_registered");
    const reply = await peer.hear("approval_reply");
    assert.deepEqual([reply.approved, reply.decision], [false, "expired"]);
    peer.socket.close();
  },
  "6: steering": async () => {
    const session = await spawn();
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    await rest("POST", `sessions/${session.id}/messages`, { message_kind: "task", body: "early", id: one });
    const { peer } = await started(session);
    assert.equal((await peer.hear("message")).text, "early");
    await rest("POST", `sessions/${session.id}/messages`, { message_kind: "task", body: { text: "live" }, id: two });
    assert.equal((await peer.hear("message")).text, "live");
    peer.say("message_admitted", { ids: [one] });
    peer.say("event", { seq: 1, event: { type: "x" } });
    await peer.hear("event_ack");
    peer.socket.close();
    const again = await begin(session);
    assert.equal((await again.peer.hear("message")).id, two);
    await again.peer.nothing();
    again.peer.socket.close();
  },
  "closes: 4400 4401 4403 4404 4408 4409 4410 4413": async () => {
    const [one, two] = [await spawn(), await spawn()];
    const { peer } = await started(one);
    peer.say("event", { seq: "one", event: { type: "x" } });
    assert.equal(await peer.closed, 4400);
    assert.equal(await new Peer(one, V1, "nonsense").closed, 4401);
    assert.equal(await new Peer(one, V1, two.token).closed, 4403);
    const nowhere = one.url.replace(one.id, crypto.randomUUID());
    assert.equal(await new Peer(one, V1, one.token, nowhere).closed, 4404);
    assert.equal(await new Peer(one, V1).closed, 4408);
    const older = (await started(one, { need_run: true })).peer;
    const newer = (await started(one, { need_run: true })).peer;
    assert.equal(await older.closed, 4409);
    newer.say("event", { seq: 1, event: { type: "x", pad: "x".repeat(1024 * 1024) } });
    assert.equal(await newer.closed, 4413);
    await finish((await started(one, { need_run: true })).peer);
    assert.equal(await new Peer(one, V1).closed, 4410);
  },
  "a cancel": async () => {
    const session = await spawn();
    const { peer } = await started(session);
    await rest("POST", `sessions/${session.id}/cancel`, { reason: "enough" });
    assert.equal((await peer.hear("cancel")).reason, "enough");
    peer.say("terminal", { status: "cancelled" });
    await peer.hear("terminal_ack");
    const look = async () => (await rest("GET", `sessions/${session.id}`)).body.status === "cancelled";
    await until(look, "the end");
  },
});
