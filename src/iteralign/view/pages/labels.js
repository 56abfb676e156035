"use strict";
// A person's label beside the judge's: what is said of an unfolded answer is sent at once; what another has said meanwhile is told.
(() => {
  const { key, token } = document.body.dataset;
  const LABELS = { acceptable: "Acceptable", unacceptable: "Unacceptable", undetermined: "Can't tell" };
  const element = (name, className, content) => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = content;
    return made;
  };
  const by = () => document.getElementById("by");
  document.addEventListener("filled", () => { if (by()) by().value = localStorage.getItem("iteralign-reviewer") ?? ""; });
  document.addEventListener("change", (event) => {
    if (event.target === by()) localStorage.setItem("iteralign-reviewer", by().value.trim());
  });
  const tone = (label) => ({ acceptable: "good", unacceptable: "bad" })[label] || "none";

  // The next answer that chance draws, unfolded, with its first button under the finger.
  const next = (item) => {
    const after = item.nextElementSibling;
    if (!after) { document.getElementById("more").focus(); return; }
    // At the document, where the buttons are made just before.
    document.addEventListener("unfolded", () => after.querySelector(".labels button")?.focus(), { once: true });
    after.open = true;
    after.scrollIntoView({ block: "nearest" });
  };
  const controls = (item, column, pair, side) => {
    const group = element("div", "labels", "");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "What you say of this answer");
    const said = element("span", "note", "");
    const problem = element("p", "warn problem", "");
    problem.setAttribute("role", "alert");
    const show = () => {
      const given = pair.labels[side];
      said.textContent = given ? `${given.by || "Somebody"} says ${LABELS[given.label].toLowerCase()}` : "";
      for (const button of group.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.label === given?.label));
      problem.hidden = !problem.textContent;
    };
    const send = async (label) => {
      const seen = pair.labels[side]?.label ?? null;
      const wanted = label === seen ? null : label; // the same again takes it back
      const name = by()?.value.trim() ?? "";
      try {
        const reply = await fetch(`/label?${new URLSearchParams({ key })}`, {
          method: "POST",
          headers: { "content-type": "application/json", "x-token": token },
          body: JSON.stringify({ place: pair.places[side], label: wanted, seen, by: name }),
        });
        if (!reply.ok) throw new Error((await reply.text()) + (reply.status === 409 ? " Reload the page to see it." : ""));
        const { judged, reason } = await reply.json();
        pair.labels[side] = wanted && { label: wanted, by: name };
        problem.textContent = "";
        if (pair.set === "drawn") {
          const chip = column.querySelector(".chip");
          chip.className = `chip ${tone(judged)}`;
          chip.textContent = `judge: ${judged}`;
          chip.title = reason;
          if (wanted) next(item);
        }
      } catch (error) {
        problem.textContent = error instanceof TypeError ? "The server can't be reached, so this label is not kept. Is iteralign view still running?" : error.message;
      }
      show();
    };
    if (token) {
      for (const [label, shown] of Object.entries(LABELS)) {
        const button = element("button", "", shown);
        button.type = "button";
        button.dataset.label = label;
        button.addEventListener("click", () => send(label));
        group.append(button);
      }
    }
    group.append(said);
    column.append(group, problem);
    show();
  };
  document.addEventListener("unfolded", (event) => {
    const pair = event.detail;
    [...event.target.querySelectorAll(".columns > div")].forEach((column, side) => {
      if (pair.places?.[side]) controls(event.target, column, pair, side);
    });
  });
})();
