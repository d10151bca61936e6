/* Nothing is answered by accident: a button is inert for half a second after it came or moved, and a key that is held
 * counts once. The server checks every answer again.
 */
window.wardroomInert = (() => {
  "use strict";

  const CALM_MS = 500;
  const MOVED_PX = 2;
  const seen = new Map(); // by the name of a card: what it shows, where, and since when

  /* Note which cards came, changed or moved. `cards` are pairs of a name, an element and what it shows. */
  function measure(cards) {
    const now = performance.now();
    const names = new Set();
    cards.forEach(([name, element, shows]) => {
      names.add(name);
      const top = element.getBoundingClientRect().top + window.scrollY;
      const before = seen.get(name);
      const isNew = !before || before.shows !== shows;
      const moved = isNew || Math.abs(before.top - top) > MOVED_PX;
      seen.set(name, { shows, top, since: isNew ? now : before.since, still: moved ? now : before.still });
    });
    [...seen.keys()].forEach((name) => names.has(name) || seen.delete(name));
  }

  const isOver = (moment, at = performance.now()) => moment === undefined || at - moment < CALM_MS;

  const FIELDS = "input:not([type=checkbox]), textarea, select, [contenteditable]";
  /* Escape leaves a field, so that the keys of the page work again. What was typed stays. */
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || !event.target.matches(FIELDS)) return;
    event.preventDefault();
    event.target.blur();
  });

  return {
    CALM_MS,
    measure,
    /* For a pointer: the card under it may have come there in this moment. */
    moved: (name) => isOver(seen.get(name)?.still),
    /* For a key: it means the marked card, wherever that is. `at`: the time of the key, which a busy page sees late. */
    changed: (name, at) => isOver(seen.get(name)?.since, at),
    /* Return the key that a page may act on, or an empty text: not while it repeats, and not while somebody types. */
    key(event) {
      if (event.repeat || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return "";
      if (event.isComposing || document.querySelector("dialog[open]")) return "";
      if (event.target.closest(FIELDS)) return "";
      return event.key;
    },
  };
})();
