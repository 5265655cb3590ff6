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
  localTimes(document);

  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  let loading = false, again = false, shown = "";
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
        if (part.body.innerHTML === shown) return; // what a reader has selected stays so
        shown = part.body.innerHTML;
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
  let opened = false;
  const events = new EventSource(live.dataset.events);
  events.addEventListener("changed", load);
  events.onopen = () => {
    if (opened) load(); // something may have changed meanwhile
    opened = true;
  };
})();
