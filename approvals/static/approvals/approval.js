/* An approval's page. The server decides everything again: this only spares staff a refusal, and keeps what they typed. */
(() => {
  "use strict";

  const sides = document.querySelector(".ap-sides");
  const place = `wardroom:typed:${sides.dataset.approval}`;
  const fields = () => [...document.querySelectorAll("#ap-answer textarea")];

  /* When somebody else answered, the forms are of no use any more. */
  function settle() {
    if (!document.querySelector("[data-settled]")) return;
    sides.classList.add("ap-settled");
    document.querySelectorAll("[data-while-pending]").forEach((element) => {
      element.hidden = true;
    });
    sessionStorage.removeItem(place);
  }

  /* What is long is approved by somebody whose screen has shown its end, or who ticks that they have seen it. */
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

  /* A login that lapsed takes the page away: what was typed stays in this tab until the approval is settled. */
  function keep() {
    const typed = Object.fromEntries(
      fields()
        .filter((field) => field.value !== field.defaultValue)
        .map((field) => [field.id, field.value]),
    );
    if (Object.keys(typed).length) sessionStorage.setItem(place, JSON.stringify(typed));
    else sessionStorage.removeItem(place);
  }

  function bringBack() {
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
  settle();
  bringBack();
  watchTheEnd();
  document.querySelector("#ap-answer")?.addEventListener("input", keep);
})();
