"use strict";
// Sorts tables, and lists, searches and filters the pairs of answers: those that stand in the page, or where a server gives the
// page out (`iteralign view`) those that it finds. Texts reach the page by textContent alone, so that no markup in them lives.
(() => {
  const element = (name, className, content) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (content !== undefined) made.textContent = content;
    return made;
  };

  // A click on a column's name sorts the rows of each part of the table by it; what has no value stays last.
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].dataset.value ?? "";
    const sort = (column, up) => {
      const numeric = column > 0;
      const order = (a, b) => {
        const [left, right] = [value(a, column), value(b, column)];
        if (left === "" || right === "") return (left === "") - (right === "");
        const sign = numeric ? left - right : left.localeCompare(right);
        return up ? sign : -sign;
      };
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
        body.append(...rows.sort(order));
      }
      heads.forEach((head, at) => head.setAttribute("aria-sort", at === column ? (up ? "ascending" : "descending") : "none"));
    };
    heads.forEach((head, column) => {
      const button = element("button", "sort");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        sort(column, now === "none" || now === null ? column === 0 : now === "descending");
      });
      head.setAttribute("aria-sort", "none");
      head.append(button);
    });
  };
  const list = (within) => {
    within.querySelectorAll("table[data-sortable]").forEach(sortable);
    const place = within.querySelector("#filters");
    if (!place) return;
    const { key, token } = document.body.dataset;
    const data = key === undefined ? JSON.parse(document.getElementById("data").textContent) : null;
    const byId = (id) => document.getElementById(id);
    const sets = [...document.querySelectorAll("[data-set]")].map((one) => ({ ...one.dataset, names: [one.dataset.set] }));
    if (!sets.length) {
      byId("found").textContent = "There are no answers to compare yet.";
      return;
    }
    const measured = sets.filter((one) => one.set === "held-out" || one.set === "benign");
    if (measured.length > 1) {
      sets.unshift({ set: "measured", title: "All that were measured", names: measured.map((one) => one.set) });
    }
    const folded = new Set(sets.filter((one) => one.folded === "yes").map((one) => one.set));
    const KINDS = [
      "newly unacceptable", "newly refused", "still unacceptable", "still refused", "not judged", "mended", "no longer refused",
      "unchanged",
    ];
    const STEP = 20;
    const [choice, change, category, text] = ["f-set", "f-change", "f-category", "f-text"].map(byId);
    let shown = 0;

    const tone = (label) => ({ acceptable: "good", answered: "good", unacceptable: "bad", refused: "bad" })[label] || "none";
    const kindTone = (kind) => (/^(newly|still)/.test(kind) ? "bad" : /^(mended|no longer)/.test(kind) ? "good" : "none");
    const veils = (pair, label) => folded.has(pair.set) && label !== "acceptable";
    const options = (select, values, all) => {
      select.replaceChildren(new Option(all, ""), ...values.map((value) => new Option(value, value)));
      select.parentElement.hidden = values.length < 2;
    };
    const veiled = (target, nodes, veil) => {
      if (!veil) target.append(...nodes);
      else {
        const inside = element("span");
        inside.append(...nodes);
        const cover = element("span", "veil");
        cover.append(inside);
        target.append(cover);
      }
      return target;
    };
    const marked = (content, word) => {
      const nodes = [];
      const low = content.toLowerCase();
      let from = 0;
      if (word && low.length === content.length) {
        for (let at = low.indexOf(word); at >= 0; at = low.indexOf(word, from)) {
          nodes.push(content.slice(from, at), element("mark", "", content.slice(at, at + word.length)));
          from = at + word.length;
        }
      }
      nodes.push(content.slice(from) || (from ? "" : "(empty)"));
      return nodes;
    };
    const said = (className, content, word, veil) => {
      const made = element("p", `said ${className}`);
      made.dir = "auto";
      return veiled(made, marked(content, word), veil);
    };
    const column = (title, answer, label, reason, word, veil) => {
      const made = element("div");
      const heading = element("h3", "part", `${title} `);
      heading.append(element("span", `chip ${tone(label)}`, label || "not told yet"));
      made.append(heading, said("a", answer, word, veil));
      if (reason) {
        const why = element("p", "note");
        why.dir = "auto";
        made.append(veiled(why, [`judge: ${reason}`], veil));
      }
      return made;
    };
    const fill = (item, pair, word) => {
      const body = element("div", "body");
      const columns = element("div", "columns");
      columns.append(column("before", pair.before, pair.was, pair.reasons[0], word, veils(pair, pair.was)));
      if (pair.after !== null) columns.append(column("after", pair.after, pair.now, pair.reasons[1], word, veils(pair, pair.now)));
      body.append(said("q", pair.question, word, veils(pair)), columns);
      item.append(body);
      item.dispatchEvent(new CustomEvent("unfolded", { bubbles: true, detail: pair }));
    };
    const clip = (className, content, veil) => {
      const made = element("span", `clip ${className}`);
      made.dir = "auto";
      return veiled(made, [content.slice(0, 240) || "(empty)"], veil);
    };
    const row = (pair, word) => {
      const item = element("details", "pair");
      const summary = element("summary");
      const about = element("span", "about");
      if (pair.kind) about.append(element("span", `chip ${kindTone(pair.kind)}`, pair.kind), " ");
      about.append(element("bdi", "note", pair.category));
      if (pair.round !== null) about.append(" ", element("span", "note", `round ${pair.round}`));
      about.append(" ", element("bdi", "note id", pair.id));
      summary.append(about, clip("q", pair.question, veils(pair)),
        clip("before", pair.before, veils(pair, pair.was)));
      if (pair.after !== null) summary.append(clip("after", pair.after, veils(pair, pair.now)));
      item.append(summary);
      item.addEventListener("toggle", () => { if (item.open && item.children.length === 1) fill(item, pair, word); });
      return item;
    };
    const named = () => sets.find((one) => one.set === choice.value).names;
    const chosen = () => ({ kind: change.value, category: category.value, words: text.value.trim() });
    const inPage = ({ kind, category, words }, start) => {
      const word = words.toLowerCase();
      const pairs = named().flatMap((name) => data[name].map((pair) => ({ ...pair, set: name })))
        .sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
      const hits = pairs.filter((pair) =>
        (!kind || pair.kind === kind) &&
        (!category || pair.category === category) &&
        (!word || [pair.id, pair.question, pair.before, pair.after].some((part) => part.toLowerCase().includes(word))));
      const distinct = (values) => [...new Set(values)].filter(Boolean);
      return {
        start, total: pairs.length, fit: hits.length, rows: hits.slice(start, start + STEP),
        kinds: distinct(pairs.map((pair) => pair.kind)), categories: distinct(pairs.map((pair) => pair.category)).sort(),
      };
    };
    const atServer = async (wanted, start) => {
      const query = new URLSearchParams({ key, token, ...wanted, start, count: STEP });
      for (const name of named()) query.append("set", name);
      const reply = await fetch(`/answers?${query}`);
      if (!reply.ok) throw new Error(await reply.text());
      return reply.json();
    };
    let asked = 0;
    const find = async (start) => {
      const mine = ++asked;
      const wanted = chosen();
      byId("list").setAttribute("aria-busy", "true");
      let found = null;
      try {
        found = data ? inPage(wanted, start) : await atServer(wanted, start);
      } catch (error) {
        if (mine === asked) byId("found").textContent = `The answers can't be had now (${error.message}); those below are what was asked for before. Is iteralign view still running?`;
      }
      if (mine !== asked) return null; // something else was asked for meanwhile
      byId("list").removeAttribute("aria-busy");
      if (!found) return null;
      if (!start) byId("list").replaceChildren();
      const word = wanted.words.toLowerCase();
      byId("list").append(...found.rows.map((pair) => row(pair, word)));
      shown = found.start + found.rows.length;
      byId("more").hidden = shown >= found.fit;
      byId("found").textContent = `${found.fit} of ${found.total} fit; ${shown} shown`;
      return found;
    };
    const search = () => find(0);
    const start = async () => {
      change.value = category.value = "";
      const found = await find(0);
      if (!found) return;
      options(change, found.kinds, "all");
      options(category, found.categories, "all");
    };

    choice.replaceChildren(...sets.map((set) => new Option(set.title, set.set)));
    place.hidden = false;
    place.addEventListener("submit", (event) => event.preventDefault());
    choice.addEventListener("change", start);
    for (const control of [change, category]) control.addEventListener("change", search);
    text.addEventListener("input", search);
    byId("more").addEventListener("click", async () => {
      const first = shown;
      await find(first);
      byId("list").children[first]?.firstElementChild.focus();
    });
    start();
  };
  list(document);
  document.addEventListener("filled", (event) => list(event.target));
})();
