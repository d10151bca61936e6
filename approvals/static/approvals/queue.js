/* The queue by keyboard and in one click. Without this script the same forms answer by a page load. */
(() => {
  "use strict";

  const inert = window.wardroomInert;
  const MOST_LINES = 6;
  const NOTIFY = "wardroom:notify";
  const form = document.querySelector("#ap-batch");
  const results = document.querySelector("#ap-results");
  const rows = () => [...document.querySelectorAll("tr[data-card]")];
  const nameOf = (row) => row.dataset.liveRow;
  const rowOf = (name) => rows().find((row) => nameOf(row) === name);

  const answered = new Map(); // cards whose answer is under way or given: what they showed then
  const chosen = new Map(); // chosen cards: what they showed then
  let cursor = { name: "", at: 0, since: 0 };
  let known = null;
  let timer = null;

  /* --- what the page shows --- */
  function shown() {
    inert.measure(rows().map((row) => [nameOf(row), row, row.dataset.card]));
    rows().forEach((row) => {
      const isAnswered = answered.get(nameOf(row)) === row.dataset.card;
      row.classList.toggle("ap-sent", isAnswered);
      row.querySelectorAll("button").forEach((button) => {
        button.disabled = isAnswered;
        button.inert = inert.moved(nameOf(row));
      });
      const box = row.querySelector("input[name=items]");
      if (box) box.checked = !isAnswered && chosen.get(nameOf(row)) === row.dataset.card;
    });
    if (rows().some((row) => inert.moved(nameOf(row)))) {
      window.clearTimeout(timer);
      timer = window.setTimeout(shown, inert.CALM_MS);
    }
    follow();
    tellOnce();
    tellChosen();
    notify();
  }

  /* What the results have told already stands no second time under Just settled. */
  function tellOnce() {
    const told = new Set([...results.querySelectorAll("[data-told]")].map((line) => line.dataset.told));
    document.querySelectorAll(".ap-recent").forEach((section) => {
      const lines = [...section.querySelectorAll("[data-recent]")];
      lines.forEach((line) => (line.hidden = told.has(line.dataset.recent)));
      section.hidden = lines.every((line) => line.hidden);
    });
  }

  /* The cursor stays on its card. When the card is gone, it goes to the one in its place, and takes no key at once. */
  function follow() {
    const all = rows();
    const at = all.findIndex((row) => nameOf(row) === cursor.name);
    if (at >= 0) cursor.at = at;
    else if (cursor.name) {
      const row = all[Math.min(cursor.at, all.length - 1)];
      cursor = { name: row ? nameOf(row) : "", at: cursor.at, since: performance.now() };
    }
    all.forEach((row) => {
      const isHere = nameOf(row) === cursor.name;
      row.classList.toggle("ap-cursor", isHere);
      if (isHere) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
  }

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => nameOf(row) === cursor.name);
    const row = all[at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + step))];
    cursor = { name: nameOf(row), at: all.indexOf(row), since: -inert.CALM_MS };
    follow();
    row.querySelector(".ap-what a").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  function tellChosen() {
    if (!form) return;
    const boxes = [...document.querySelectorAll("input[name=items]:checked")];
    const slow = boxes.filter((box) => !("quick" in box.dataset)).length;
    const number = boxes.reduce((sum, box) => sum + box.value.split(" ").length, 0);
    const words = number === 1 ? "1 request is chosen." : `${number} requests are chosen.`;
    const held = slow ? ` ${slow === 1 ? "One card has" : `${slow} cards have`} to be opened before an approval.` : "";
    form.querySelector("[data-chosen]").textContent = number ? words + held : "Choose cards to answer several at once.";
    form.querySelector("[value=deny]").disabled = !number;
    form.querySelector("[value=approve]").disabled = !number || slow > 0;
  }

  /* --- answers --- */
  async function send(name, items, cards) {
    const body = new URLSearchParams({ csrfmiddlewaretoken: form.elements.csrfmiddlewaretoken.value });
    body.set("message", form.elements.message.value);
    if (name === "batch") body.set("batch", items.decision);
    (items.values || [items]).forEach((value) => body.append(name === "batch" ? "items" : name, value));
    const isClaim = name === "claim";
    if (!isClaim) cards.forEach((row) => answered.set(nameOf(row), row.dataset.card));
    shown();
    let failed = true;
    try {
      const answer = await window.fetch(form.action, {
        method: "POST",
        body,
        headers: { "X-Requested-With": "live" },
        credentials: "same-origin",
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        tell("You are signed out, or may no longer answer. Nothing was decided.");
      } else {
        const part = tellResults(await answer.text());
        failed = !answer.ok || part.querySelector(".ap-refused") !== null;
      }
    } catch {
      tell("The server did not answer. Look whether it was decided, and try again.");
    }
    // What was refused may be answered again; what was decided leaves the queue.
    if (failed) cards.forEach((row) => answered.delete(nameOf(row)));
    cards.forEach((row) => chosen.delete(nameOf(row)));
    document.dispatchEvent(new CustomEvent("live:look"));
    shown();
  }

  function tellResults(html) {
    const part = document.createElement("div");
    part.innerHTML = html;
    results.append(part);
    while (results.children.length > MOST_LINES) results.firstElementChild.remove();
    return part;
  }

  function tell(words) {
    const part = document.createElement("p");
    part.className = "wr-alarm";
    part.textContent = words;
    results.append(part);
  }

  function answer(name, at) {
    const row = rowOf(cursor.name);
    if (!form || !row || answered.get(nameOf(row)) === row.dataset.card) return;
    if (inert.changed(nameOf(row), at) || at - cursor.since < inert.CALM_MS) return;
    if (name === "approve" && !("mayApprove" in row.dataset)) open(row);
    else if (name === "claim" || row.querySelector(`button[name=${name}]`)) send(name, row.dataset.card, [row]);
  }

  const open = (row, part = "") => row && window.location.assign(row.querySelector(".ap-what a").href + part);

  /* --- keys and clicks --- */
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    o: () => open(rowOf(cursor.name)),
    x: () => rowOf(cursor.name)?.querySelector("input[name=items]")?.click(),
    a: (at) => answer("approve", at),
    d: (at) => answer("deny", at),
    e: () => open(rowOf(cursor.name), "#ap-edit"),
    c: (at) => answer("claim", at),
    "?": () => document.querySelector("#ap-keys").showModal(),
    "/": () => {
      document.querySelector("#ap-filters").open = true;
      document.querySelector("[data-search]").focus();
    },
  };

  document.addEventListener("keydown", (event) => {
    const act = KEYS[inert.key(event)];
    if (!act) return;
    event.preventDefault();
    act(event.timeStamp);
  });

  document.addEventListener("change", (event) => {
    if (event.target.name !== "items") return;
    const row = event.target.closest("tr[data-card]");
    if (event.target.checked) chosen.set(nameOf(row), row.dataset.card);
    else chosen.delete(nameOf(row));
    tellChosen();
  });

  form?.addEventListener("submit", (event) => {
    const button = event.submitter;
    event.preventDefault();
    if (!button) return;
    const row = button.closest("tr[data-card]");
    if (row) {
      send(button.name, button.value, [row]);
      return;
    }
    const cards = rows().filter((each) => each.querySelector("input[name=items]:checked"));
    const values = cards.map((each) => each.dataset.card);
    if (values.length) send("batch", { decision: button.value, values }, cards);
  });

  /* --- notifications: asked for by a click only, and sent while nobody looks at the page --- */
  const button = document.querySelector("[data-notify]");
  const isOn = () => "Notification" in window && Notification.permission === "granted" && localStorage.getItem(NOTIFY);

  function notify() {
    const now = new Set(rows().map(nameOf));
    const fresh = known ? [...now].filter((name) => !known.has(name)) : [];
    known = now;
    if (!fresh.length || !document.hidden || !isOn()) return;
    const count = document.querySelector("[data-live-count]")?.dataset.liveCount;
    const said = new Notification("A request waits for an answer", { body: `${count} in your queue`, tag: "wardroom" });
    said.addEventListener("click", () => window.focus());
  }

  function tellNotify() {
    if (!button || !("Notification" in window)) return;
    button.hidden = Notification.permission === "denied";
    button.textContent = isOn() ? "Notifications are on" : "Notify me";
    if (isOn()) document.dispatchEvent(new CustomEvent("live:background"));
  }

  button?.addEventListener("click", async () => {
    if (isOn()) localStorage.removeItem(NOTIFY);
    else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(NOTIFY, "on");
    tellNotify();
  });

  document.querySelector("[data-help]")?.addEventListener("click", () => document.querySelector("#ap-keys").showModal());
  document.addEventListener("live:shown", shown);
  new ResizeObserver(shown).observe(document.querySelector("#content-main"));
  tellNotify();
  shown();
})();
