// `wardroom.plain` from another language.
import assert from "node:assert/strict";
import { Peer, decide, rest, script, spawn, until } from "./script.mjs";

const PLAIN = "wardroom.plain";
const BODY = { tool_name: "shell", permission: "shell", resource: "/srv", arguments: { command: "ls" } };

async function started(session) {
  const peer = new Peer(session, PLAIN);
  await peer.open;
  assert.equal(peer.socket.protocol, PLAIN);
  return { peer, run: await peer.hear("run") };
}

/** A server may say more than the dialect promises; what is promised is the reply. */
async function reply(peer) {
  if ((await until(() => peer.frames[0], "the reply")).kind === "approval_registered") peer.frames.shift();
  return peer.hear("approval_reply");
}

await script({
  "the run, events, an approval, the end": async () => {
    const session = await spawn("plain work");
    const { peer, run } = await started(session);
    assert.equal(run.assignment, "plain work");
    peer.say("event", { event: { type: "x", n: 1 } });
    peer.say("approval_request", { id: "a1", body: BODY });
    await decide(session, "edit", { arguments: { command: "ls -l" } });
    const answer = await reply(peer);
    assert.deepEqual([answer.id, answer.approved, answer.arguments.command], ["a1", true, "ls -l"]);
    peer.say("terminal", { status: "completed", result: "done" });
    assert.equal(await peer.closed, 1000);
    const { body } = await rest("GET", `sessions/${session.id}`);
    assert.deepEqual([body.status, body.result], ["completed", "done"]);
  },
  "the run again on every connection, and the answer that came in between": async () => {
    const session = await spawn();
    const first = await started(session);
    first.peer.say("approval_request", { id: "a1", body: BODY });
    const find = async () => (await rest("GET", `approvals?session=${session.id}&status=pending`)).body.results[0];
    await until(find, "the ask");
    first.peer.socket.close();
    await decide(session, "deny", { message: "no" });
    const { peer } = await started(session);
    const answer = await reply(peer);
    assert.deepEqual([answer.approved, answer.decision], [false, "denied"]);
    peer.socket.close();
  },
  "a message and a cancel": async () => {
    const session = await spawn();
    const { peer } = await started(session);
    await rest("POST", `sessions/${session.id}/messages`, { message_kind: "task", body: { text: "steer" } });
    assert.equal((await peer.hear("message")).text, "steer");
    await rest("POST", `sessions/${session.id}/cancel`, {});
    await peer.hear("cancel");
    peer.say("terminal", { status: "cancelled" });
    assert.equal(await peer.closed, 1000);
  },
  "closes: 4400 4401 4403 4404 4409 4410": async () => {
    const [one, two] = [await spawn(), await spawn()];
    const { peer } = await started(one);
    peer.say("event", { event: { type: 5 } });
    assert.equal(await peer.closed, 4400);
    assert.equal(await new Peer(one, PLAIN, "nonsense").closed, 4401);
    assert.equal(await new Peer(one, PLAIN, two.token).closed, 4403);
    assert.equal(await new Peer(one, PLAIN, one.token, one.url.replace(one.id, crypto.randomUUID())).closed, 4404);
    const older = (await started(one)).peer;
    const newer = (await started(one)).peer;
    assert.equal(await older.closed, 4409);
    newer.say("terminal", { status: "error", error: "enough" });
    assert.equal(await newer.closed, 1000);
    assert.equal(await new Peer(one, PLAIN).closed, 4410);
  },
});
