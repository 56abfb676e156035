"use strict";
// Fills the parts of a page from the server, and again when the run has changed. What the server sends is its own markup, in which
// everything of the run's is escaped.
(() => {
  const { page, key, token } = document.body.dataset;
  const address = (path, more = {}) => `${path}?${new URLSearchParams({ key: key ?? "", token, ...more })}`;
  const part = (name) => document.querySelector(`[data-part="${name}"]`);
  const fill = async (name, path) => {
    const place = part(name);
    try {
      const reply = await fetch(path);
      const text = await reply.text();
      if (!reply.ok) throw new Error(text);
      if (place.dataset.was === text) return;
      place.dataset.was = text;
      const open = [...place.querySelectorAll("details[open] > summary")].map((one) => one.textContent);
      place.innerHTML = text;
      for (const summary of place.querySelectorAll("details > summary")) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
      place.dispatchEvent(new CustomEvent("filled", { bubbles: true }));
    } catch (error) {
      const told = document.createElement("p");
      told.className = "warn";
      told.textContent = error.message;
      place.replaceChildren(told);
      delete place.dataset.was;
    }
  };

  if (page === "runs") {
    const lines = () => fill("lines", address("/lines"));
    lines();
    setInterval(() => { if (!document.hidden) lines(); }, 5000);
    return;
  }

  const names = [...document.querySelectorAll("[data-part]")].map((one) => one.dataset.part).filter((name) => name !== "now");
  names.push(...names.splice(names.indexOf("checked"), 1)); // all files are read for it, so nothing waits for it
  let settled = null;
  let working = false;
  let again = null;
  const update = async (now) => {
    if (working) { again = now; return; }
    working = true;
    await fill("now", address("/part", { name: "now" }));
    if (now.settled !== settled) {
      settled = now.settled;
      for (const name of names) {
        if (name === "answers" && document.querySelector("#list details[open], #f-text:focus")) continue;
        await fill(name, address("/part", { name }));
      }
      const wanted = location.hash && document.getElementById(location.hash.slice(1));
      if (wanted && !update.once) wanted.scrollIntoView();
      update.once = true;
    }
    working = false;
    if (again !== null) { const next = again; again = null; update(next); }
  };
  const source = new EventSource(address("/events"));
  const connection = document.getElementById("connection");
  source.addEventListener("message", (event) => { connection.textContent = ""; update(JSON.parse(event.data)); });
  source.addEventListener("error", () => { connection.textContent = "The server can't be reached; what is shown may be old. Is iteralign view still running?"; });
})();
