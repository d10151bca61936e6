// node --experimental-websocket child.mjs   (Node 20; from Node 22 on without the flag)
import { readFileSync } from "node:fs";

const { WARDROOM_URL, WARDROOM_SESSION, WARDROOM_TOKEN, WARDROOM_TOKEN_FD } = process.env;
const token = WARDROOM_TOKEN ?? readFileSync(Number(WARDROOM_TOKEN_FD), "utf8").trim();
const address = `${WARDROOM_URL.replace(/^http/, "ws")}/ws/children/${WARDROOM_SESSION}`;
const socket = new WebSocket(address, ["wardroom.plain", `bearer.${token}`]);
const say = (kind, fields) => socket.send(JSON.stringify({ kind, ...fields }));

socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data);
  if (frame.kind === "run") {
    const body = { tool_name: "greet", permission: "greet", resource: "stdout", arguments: { name: frame.assignment } };
    say("approval_request", { id: crypto.randomUUID(), body });
  } else if (frame.kind === "approval_reply") {
    const result = frame.approved ? `Hello, ${frame.arguments.name}!` : `not greeted: ${frame.decision}`;
    say("terminal", { status: "completed", result });
  } else if (frame.kind === "cancel") {
    say("terminal", { status: "cancelled" });
  } else if (frame.kind === "message") {
    say("event", { event: { type: "message_noted", text: frame.text } });
  }
};
socket.onclose = ({ code, reason }) => process.exit(code === 1000 ? 0 : (console.error(code, reason), 1));
