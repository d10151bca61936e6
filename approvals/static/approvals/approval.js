/* The page of an approval. The server checks everything again: this script only avoids refusals and keeps typed text. */
(() => {
  "use strict";

  const sides = document.querySelector(".ap-sides");
  const place = `wardroom:typed:${sides.dataset.approval}`;
  const fields = () => [...document.querySelectorAll("#ap-answer textarea")];

  /* Hide the forms when somebody else has answered. */
  function settle() {
    if (!document.querySelector("[data-settled]")) return;
    sides.classList.add("ap-settled");
    document.querySelectorAll("[data-while-pending]").forEach((element) => {
      element.hidden = true;
    });
    sessionStorage.removeItem(place);
  }

  /* Tick the "seen" box when the end of a long action was on the screen. Staff can also tick it by hand. */
  const watcher = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    document.querySelectorAll("[data-seen]").forEach((box) => {
      box.checked = true;
    });
  });

  function watchTheEnd() {
    watcher.disconnect();
    document.querySelectorAll("[data-end-of-action]").forEach((end) => watcher.observe(end));
  }

  /* An expired login replaces the page. Keep the typed text in this tab until the approval is settled. */
  function keep() {
    const typed = Object.fromEntries(
      fields()
        .filter((field) => field.value !== field.defaultValue)
        .map((field) => [field.id, field.value]),
    );
    store(typed);
  }

  function store(typed) {
    if (Object.keys(typed).length) sessionStorage.setItem(place, JSON.stringify(typed));
    else sessionStorage.removeItem(place);
  }

  /* What was sent and taken is no draft any more. A refusal, or a login in between, keeps it. */
  function forgetSent() {
    const sent = JSON.parse(sessionStorage.getItem(`${place}:sent`) || "[]");
    sessionStorage.removeItem(`${place}:sent`);
    if (!document.querySelector(".messagelist .success")) return;
    const typed = JSON.parse(sessionStorage.getItem(place) || "{}");
    sent.forEach((id) => delete typed[id]);
    store(typed);
  }

  function restore() {
    forgetSent();
    const typed = JSON.parse(sessionStorage.getItem(place) || "{}");
    fields().forEach((field) => {
      if (!(field.id in typed)) return;
      field.value = typed[field.id];
      field.closest("details")?.setAttribute("open", "");
    });
  }

  document.addEventListener("live:shown", () => {
    settle();
    watchTheEnd();
  });
  restore();
  settle();
  watchTheEnd();
  document.querySelector("#ap-answer")?.addEventListener("input", keep);
  document.querySelector("#ap-answer")?.addEventListener("submit", (event) => {
    const ids = [...event.target.querySelectorAll("textarea")].map((field) => field.id);
    sessionStorage.setItem(`${place}:sent`, JSON.stringify(ids));
  });
})();
