/* Pages that update by themselves.
 *
 * <div data-live-src="/admin/..." data-live-topics="approvals session:<id>" data-live-every="15"> is fetched again when
 * one of its topics changed, and every so many seconds in any case. The server's word is only "this changed": what is
 * shown always comes from the page's own address, with the reader's own rights. Nothing here is trusted with data.
 */
(() => {
  "use strict";

  const FEED = "/admin/live/feed";
  const GAP_MS = 300; // between two fetches of one fragment, however busy its topics are
  const MOST_GAP_MS = 2000;
  const RETRY_MS = 3000;
  const DEFAULT_EVERY_SECS = 60;

  class Fragment {
    constructor(element) {
      this.element = element;
      this.topics = new Set((element.dataset.liveTopics || "").split(/\s+/).filter(Boolean));
      this.shown = null;
      this.last = 0;
      this.took = 0;
      this.timer = null;
      this.busy = false;
      this.again = false;
      const every = Number(element.dataset.liveEvery) || DEFAULT_EVERY_SECS;
      window.setInterval(() => isAsleep() || this.refresh(), every * 1000);
    }

    wants(changed) {
      return changed.some((topic) => this.topics.has(topic));
    }

    refresh() {
      if (this.timer !== null) return;
      // A server that takes long over the answer is asked less often.
      const pause = Math.max(0, this.last + Math.min(Math.max(GAP_MS, this.took), MOST_GAP_MS) - Date.now());
      this.timer = window.setTimeout(() => {
        this.timer = null;
        this.load();
      }, pause);
    }

    async load() {
      if (this.busy) {
        this.again = true;
        return;
      }
      this.busy = true;
      const began = Date.now();
      try {
        await this.fetch();
      } catch {
        // The server is away; the feed's reconnect or the next tick asks again.
      }
      this.last = Date.now();
      this.took = this.last - began;
      this.busy = false;
      if (this.again) {
        this.again = false;
        this.refresh();
      }
    }

    async fetch() {
      const answer = await window.fetch(this.element.dataset.liveSrc, {
        headers: { "X-Requested-With": "live" },
        credentials: "same-origin",
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        tellSignedOut();
        return;
      }
      signedInAgain(answer.headers.get("X-CSRFToken"));
      noteClock(answer.headers.get("Date"));
      if (answer.ok) this.show(await answer.text());
    }

    show(html) {
      if (html === this.shown || this.isInUse()) return;
      const open = [...this.element.querySelectorAll("details[id][open]")].map((details) => details.id);
      const known = new Set([...this.element.querySelectorAll("[data-live-row]")].map((row) => row.dataset.liveRow));
      const first = this.shown === null;
      const focused = this.element.contains(document.activeElement) ? document.activeElement.id : "";
      const scrolled = [...this.element.querySelectorAll("[id]")].filter((part) => part.scrollTop || part.scrollLeft);
      const places = scrolled.map((part) => [part.id, part.scrollTop, part.scrollLeft]);
      this.element.innerHTML = html;
      this.shown = html;
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
      open.forEach((id) => this.element.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", ""));
      places.forEach(([id, top, left]) => this.element.querySelector(`#${CSS.escape(id)}`)?.scrollTo(left, top));
      if (!first || known.size) {
        this.element.querySelectorAll("[data-live-row]").forEach((row) => {
          if (!known.has(row.dataset.liveRow)) row.classList.add("wr-fresh");
        });
      }
      tellAges();
      tellCount();
      labelCells();
      this.element.dispatchEvent(new CustomEvent("live:shown", { bubbles: true }));
    }

    /* Nobody's typing or selecting is disturbed; the next change or tick shows what is new. */
    isInUse() {
      const selection = document.getSelection();
      if (selection && !selection.isCollapsed && this.element.contains(selection.anchorNode)) return true;
      const active = document.activeElement;
      return active && this.element.contains(active) && active.matches("input:not([type=checkbox]), textarea, select");
    }
  }

  /* Signed out, or no longer allowed. The page itself says so when it is loaded again, which would throw away what
   * somebody is typing: then it stays, and says how to go on.
   */
  function tellSignedOut() {
    if (!isTypedIn()) {
      window.location.reload();
      return;
    }
    if (document.querySelector("[data-signed-out]")) return;
    const notice = document.createElement("p");
    notice.className = "wr-alarm wr-signed-out";
    notice.dataset.signedOut = "";
    notice.setAttribute("role", "alert");
    const again = document.createElement("a");
    again.href = "/admin/login/?next=/admin/";
    again.target = "_blank";
    again.rel = "noopener";
    again.textContent = "Sign in in another tab";
    notice.append("You are signed out. What you typed is still here. ", again, ", then go on in this one.");
    document.body.prepend(notice);
  }

  function isTypedIn() {
    const fields = [...document.querySelectorAll("form[method=post] textarea, form[method=post] input[type=text]")];
    return fields.some((field) => field.value !== field.defaultValue);
  }

  /* A new login has a new CSRF token: forms that were drawn before it would be refused. */
  function signedInAgain(token) {
    document.querySelector("[data-signed-out]")?.remove();
    if (!token) return;
    document.querySelectorAll("input[name=csrfmiddlewaretoken]").forEach((field) => {
      field.value = token;
    });
  }

  /* The reader's clock may be wrong, and may be set while the page is open: times are told by the server's, counted on
   * by a clock that nobody sets. The `Date` of an answer has whole seconds only, so that it corrects larger errors alone.
   */
  const CLOCK_ERROR_MS = 1500;
  let clock = { server: serverNow(), at: performance.now() };
  function serverNow() {
    const said = Date.parse(document.querySelector("meta[name=wr-now]")?.content);
    return Number.isNaN(said) ? Date.now() : said;
  }
  function nowMs() {
    return clock.server + performance.now() - clock.at;
  }
  function noteClock(date) {
    const said = Date.parse(date);
    if (Math.abs(said - nowMs()) > CLOCK_ERROR_MS) clock = { server: said, at: performance.now() };
  }

  /* <time datetime="..." data-age> shows how long ago that was, and counts on; data-until counts down. */
  function tellAges() {
    document.querySelectorAll("time[data-age], time[data-until]").forEach((element) => {
      const at = Date.parse(element.getAttribute("datetime"));
      if (Number.isNaN(at)) return;
      const secs = Math.round((nowMs() - at) / 1000);
      if ("until" in element.dataset) element.dataset.tier = tier(-secs);
      const text = "age" in element.dataset ? `${duration(Math.max(0, secs))} ago` : left(-secs);
      if (element.textContent !== text) element.textContent = text;
    });
  }

  /* How near a deadline is, for the colours. */
  function tier(secs) {
    if (secs < 60) return "now";
    return secs < 300 ? "soon" : "later";
  }

  function left(secs) {
    return secs > 0 ? `in ${duration(secs)}` : "due now";
  }

  function duration(secs) {
    if (secs < 60) return `${secs} s`;
    if (secs < 3600) return `${Math.floor(secs / 60)} min ${secs % 60} s`;
    if (secs < 86400) return `${Math.floor(secs / 3600)} h ${Math.floor((secs % 3600) / 60)} min`;
    return `${Math.floor(secs / 86400)} d ${Math.floor((secs % 86400) / 3600)} h`;
  }

  /* On a phone the stock lists stand as blocks without their headings: each cell then says its own. */
  function labelCells() {
    const heads = [...document.querySelectorAll("#result_list thead th")].map((head) => head.textContent.trim());
    document.querySelectorAll("#result_list tbody tr").forEach((row) => {
      [...row.children].forEach((cell, at) => (cell.dataset.label = heads[at] || ""));
    });
  }

  /* An element with data-live-count puts its number before the title, so that a background tab says it too. */
  const title = document.title;
  function tellCount() {
    const element = document.querySelector("[data-live-count]");
    if (!element) return;
    const count = Number(element.dataset.liveCount);
    document.title = count > 0 ? `(${count}) ${title}` : title;
  }

  function tellState(state, words) {
    document.querySelectorAll("[data-live-state]").forEach((element) => {
      element.dataset.liveState = state;
      element.textContent = words;
    });
  }

  /* A hidden page sleeps. One of them may stay awake when it is asked to tell its reader of news: the one that holds the
   * lock, because a browser grants a site only six connections.
   */
  let isBackground = false;
  const isAsleep = () => document.hidden && !isBackground;
  document.addEventListener("live:background", () => {
    if (isBackground || !navigator.locks) return;
    navigator.locks.request("wardroom-background", () => {
      isBackground = true;
      document.dispatchEvent(new Event("visibilitychange"));
      return new Promise(() => {});
    });
  }, { once: true });

  /* One event stream a page, and none while the page sleeps. */
  class Feed {
    constructor(fragments) {
      this.fragments = fragments;
      this.source = null;
      this.timer = null;
      document.addEventListener("visibilitychange", () => (isAsleep() ? this.close() : this.open()));
      document.addEventListener("live:look", () => this.fragments.forEach((fragment) => fragment.refresh()));
      window.addEventListener("pagehide", () => this.close());
      window.addEventListener("pageshow", () => isAsleep() || this.open());
      if (!isAsleep()) this.open();
    }

    open() {
      if (this.source) return;
      const topics = [...new Set(this.fragments.flatMap((fragment) => [...fragment.topics]))];
      this.source = new EventSource(`${FEED}?topics=${encodeURIComponent(topics.join(","))}`);
      this.source.addEventListener("open", () => {
        tellState("live", "updates by itself");
        this.fragments.forEach((fragment) => fragment.refresh()); // whatever changed while nobody listened
      });
      this.source.addEventListener("change", (event) => this.changed(event.data));
      this.source.addEventListener("error", () => this.lost());
    }

    changed(data) {
      const topics = data.split(" ");
      this.fragments.filter((fragment) => fragment.wants(topics)).forEach((fragment) => fragment.refresh());
    }

    lost() {
      tellState("waiting", "reconnecting; still looking now and then");
      if (!this.source || this.source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      this.source = null;
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => isAsleep() || this.open(), RETRY_MS);
    }

    close() {
      window.clearTimeout(this.timer);
      this.source?.close();
      this.source = null;
    }
  }

  function start() {
    const fragments = [...document.querySelectorAll("[data-live-src]")].map((element) => new Fragment(element));
    tellAges();
    tellCount();
    labelCells();
    window.setInterval(tellAges, 1000);
    if (fragments.length) new Feed(fragments);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
