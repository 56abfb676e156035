"use strict";
// Decides on one principle after another. Every decision is sent at once; what another has decided meanwhile is told.
(() => {
  const { key, token } = document.body.dataset;
  const cards = [...document.querySelectorAll(".principle-card")];
  const by = document.getElementById("by");
  by.value = localStorage.getItem("iteralign-reviewer") ?? "";
  by.addEventListener("change", () => localStorage.setItem("iteralign-reviewer", by.value.trim()));

  const count = () => {
    const left = cards.filter((card) => !card.dataset.decision).length;
    document.getElementById("left").textContent = `${left} of ${cards.length} to decide`;
    document.getElementById("all-done").hidden = left > 0 || !cards.length;
  };
  const field = (card, name) => card.querySelector(`[name="${name}"]`);
  const problem = (card, text) => {
    const place = card.querySelector(".problem");
    place.hidden = !text;
    place.textContent = text ?? "";
  };
  const press = (card, choice) => {
    for (const button of card.querySelectorAll("[data-choice]")) button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    card.dataset.choice = choice;
    card.querySelector(".editing").hidden = choice !== "edit";
    card.querySelector(".merging").hidden = choice !== "merge";
    card.querySelector(".save").hidden = !["edit", "merge"].includes(choice);
  };
  const send = async (card) => {
    const { id, seen, choice, text, other } = card.dataset;
    const edits = choice === "edit";
    const entry = {
      id,
      decision: choice,
      text: edits ? field(card, "text").value : text,
      other_wording: edits ? field(card, "other_wording").value : other,
      into: choice === "merge" ? field(card, "into").value : null,
      reason: field(card, "reason").value || null,
      by: by.value.trim() || null,
    };
    card.setAttribute("aria-busy", "true");
    try {
      const reply = await fetch(`/review?${new URLSearchParams({ key })}`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-token": token },
        body: JSON.stringify({ entry, seen }),
      });
      if (!reply.ok) {
        problem(card, (await reply.text()) + (reply.status === 409 ? " Reload the page to see it." : ""));
        return;
      }
      const told = await reply.json();
      problem(card, null);
      card.dataset.decision = choice;
      card.dataset.seen = told.seen;
      const chip = card.querySelector(".decided");
      chip.hidden = false;
      chip.textContent = choice + (entry.by ? ` by ${entry.by}` : "");
      if (told.written) document.getElementById("written").textContent = `Written to ${told.written}.`;
      count();
      next(card);
    } catch {
      problem(card, "The server can't be reached, so this decision is not kept. Is iteralign view still running? Then decide again.");
    } finally {
      card.removeAttribute("aria-busy");
    }
  };
  const choose = (card, choice) => {
    if (!card.querySelector(`[data-choice="${choice}"]`)) return;
    press(card, choice);
    if (choice === "edit") field(card, "text").focus();
    else if (choice === "merge") field(card, "into").focus();
    else send(card);
  };
  const current = () => document.activeElement?.closest(".principle-card") ?? null;
  const go = (card) => { if (card) { card.focus(); card.scrollIntoView({ block: "start" }); } };
  const next = (card) => {
    const open = cards.filter((one) => !one.dataset.decision);
    go(open.find((one) => cards.indexOf(one) > cards.indexOf(card)) ?? open[0] ?? card);
  };
  for (const card of cards) {
    for (const button of card.querySelectorAll("[data-choice]")) button.addEventListener("click", () => choose(card, button.dataset.choice));
    card.querySelector(".save").addEventListener("click", () => send(card));
    card.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      if (["edit", "merge"].includes(card.dataset.choice)) send(card);
    });
  }
  const KEYS = { a: "accept", e: "edit", m: "merge", r: "reject" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { current()?.focus(); return; }
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) return;
    const card = current();
    const place = cards.indexOf(card);
    if (event.key === "j") go(cards[Math.min(cards.length - 1, place + 1)]);
    else if (event.key === "k") go(cards[Math.max(0, place - 1)]);
    else if (event.key === "t") document.getElementById("texts").click();
    else if (card && KEYS[event.key]) choose(card, KEYS[event.key]);
    else return;
    event.preventDefault();
  });
  count();
  go(cards.find((card) => !card.dataset.decision));
})();
