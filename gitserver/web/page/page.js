"use strict";
// Times in the reader's zone, and what changes without a reload. Without it the pages can be read all the same.
(() => {
  const style = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      time.title = time.textContent;
      time.textContent = style.format(new Date(time.dateTime));
    }
  };
  const live = document.getElementById("live");
  let shown = live ? live.innerHTML.trim() : ""; // as it came
  localTimes(document);
  if (!live || !window.EventSource) return;
  let loading = false, again = false;
  const linksTo = (href) => [...live.querySelectorAll("a")].filter((a) => a.getAttribute("href") === href);
  const load = () => {
    if (loading) {
      again = true;
      return;
    }
    loading = true;
    const address = new URL(location.href);
    address.searchParams.set("part", "live");
    const request = new XMLHttpRequest();
    request.open("GET", address);
    request.responseType = "document"; // the browser parses it, and runs nothing in it
    request.onload = () => {
      const part = request.response;
      if (request.status === 200 && part) {
        const now = part.body.innerHTML.trim();
        if (now === shown) return; // what a reader has selected stays so
        shown = now;
        const focused = live.contains(document.activeElement) && document.activeElement.getAttribute("href");
        const below = linksTo(focused).reverse().indexOf(document.activeElement); // what is new comes above
        localTimes(part);
        const push = part.querySelector(".push");
        const words = push ? push.textContent.trim().replace(/\s+/g, " ") : "";
        const said = document.getElementById("said"); // for who hears the page
        if (said.textContent !== words) said.textContent = words;
        live.replaceChildren(...document.importNode(part.body, true).childNodes);
        const same = linksTo(focused).reverse();
        if (focused) (same[below] ?? same[0])?.focus();
      } else if (request.status === 403 || request.status === 404) {
        location.reload(); // it says why
      }
    };
    request.onloadend = () => {
      loading = false;
      if (again) {
        again = false;
        load();
      }
    };
    request.send();
  };
  // A browser has six connections to a server without TLS, and a stream takes one: a page that nobody sees has none.
  let events = null;
  const listen = () => {
    if (events || document.hidden) return;
    events = new EventSource(live.dataset.events);
    events.addEventListener("changed", load);
    events.onopen = load; // something may have changed meanwhile
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return; // the browser opens it again
      events = null;
      load(); // which says why, to one who is signed in no more
      setTimeout(listen, 60000);
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) listen();
    else if (events) {
      events.close();
      events = null;
    }
  });
  listen();
})();
