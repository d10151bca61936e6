/* Keys on the page of one approval. They press the buttons of the page, with the page's own checks. */
(() => {
  "use strict";

  const inert = window.wardroomInert;
  const answer = document.querySelector("#ap-answer");
  const press = (selector) => {
    const button = answer && !answer.hidden && answer.querySelector(selector);
    if (button && !inert.changed("page")) button.click();
  };

  /* A page that has just come or changed takes no click: it may have been meant for the one before. */
  function shown() {
    const facts = document.querySelector("[data-approval-status]");
    if (facts) inert.measure([["page", facts, `${facts.dataset.approvalStatus} ${facts.dataset.version}`]]);
    hold(inert.changed("page"));
  }

  function hold(isHeld) {
    answer?.querySelectorAll("button").forEach((button) => (button.inert = isHeld));
    if (isHeld) window.setTimeout(() => hold(inert.changed("page")), inert.CALM_MS);
  }

  function edit() {
    const part = document.querySelector("#ap-edit");
    if (!part) return;
    part.open = true;
    part.querySelector("textarea")?.focus();
  }

  const KEYS = {
    a: () => press("button[value=approve]"),
    d: () => press("button[value=deny]"),
    c: () => press("button[value=claim]"),
    e: edit,
    n: () => document.querySelector(".ap-next a")?.click(),
    u: () => document.querySelector(".breadcrumbs a:last-of-type")?.click(),
    "?": () => document.querySelector("#ap-keys").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const act = KEYS[inert.key(event)];
    if (!act) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("live:shown", shown);
  shown();
  if (window.location.hash === "#ap-edit") edit();
})();
