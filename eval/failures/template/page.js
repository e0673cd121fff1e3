"use strict";
// Filters, sorting, and the reader's own tags, which stay in this browser until they are exported.
(() => {
  const form = document.querySelector(".filters");
  if (!form) return;
  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const all = [...document.querySelectorAll(".error")].map((article) => {
    const text = article.querySelector(".text").textContent;
    const choices = article.querySelector(".choices")?.textContent || "";
    return { article, data: article.dataset, text, plain: plain(text + choices), slices: article.dataset.slices.split("\t") };
  });
  const element = (id) => document.getElementById(id);
  const list = element("list"), count = element("count"), chosen = form.elements;
  const fields = [...form.querySelectorAll("select")].map((e) => e.name).filter((name) => !["slice", "tag", "order"].includes(name));
  const key = "tezukuri:" + document.body.dataset.run;
  let errors = all; // in the order shown
  let tags = {};
  try { tags = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* said where a tag cannot be kept */ }

  const tagsOf = ({ article }) => [...new Set((tags[article.id] || "").split(/[,、]/).map((tag) => tag.trim()).filter(Boolean))];

  function show() {
    const wanted = Object.fromEntries(new FormData(form)), words = plain(wanted.words);
    let shown = 0;
    for (const error of all) {
      const fits = fields.every((name) => !wanted[name] || error.data[name] === wanted[name] || error.data[name].split("\t").includes(wanted[name]))
        && (!wanted.slice || error.slices.includes(wanted.slice))
        && (!wanted.tag || tagsOf(error).includes(wanted.tag))
        && error.plain.includes(words);
      error.article.hidden = !fits;
      shown += fits;
    }
    count.textContent = count.dataset.text.replace("{shown}", shown).replace("{all}", all.length);
  }

  function sort() {
    const [name, direction] = chosen.order.value.split(" ");
    const value = ({ data }) => name === "split" ? ["test", "dev", "train"].indexOf(data.split) : Number(data[name]);
    errors = [...all].sort((a, b) => (value(a) - value(b)) * (direction === "down" ? -1 : 1));
    list.append(...errors.map((error) => error.article));
  }

  function clear() {
    form.reset();
    sort();
    show();
  }

  function countTags() {
    const counts = new Map();
    for (const error of all) {
      if (tags[error.article.id]) for (const tag of tagsOf(error)) counts.set(tag, (counts.get(tag) || 0) + 1);
    }
    const ordered = [...counts].sort((a, b) => b[1] - a[1]), before = chosen.tag.value;
    chosen.tag.replaceChildren(chosen.tag.options[0], ...ordered.map(([tag, n]) => new Option(`${tag} (${n})`, tag)));
    chosen.tag.value = counts.has(before) ? before : "";
    element("known-tags").replaceChildren(...ordered.map(([tag]) => new Option(tag)));
    element("tag-counts").replaceChildren(...ordered.flatMap(([tag, n]) => {
      const name = document.createElement("bdi");
      name.textContent = tag;
      return [" · ", name, ` ${n}`];
    }));
    if (chosen.tag.value !== before) show();
  }

  list.addEventListener("input", ({ target }) => {
    const id = target.closest(".error").id;
    if (target.value.trim()) tags[id] = target.value; else delete tags[id];
    try { localStorage.setItem(key, JSON.stringify(tags)); } catch { element("unsaved").hidden = false; }
    countTags();
  });
  for (const { article } of all) article.querySelector("input").value = tags[article.id] || "";

  form.addEventListener("input", ({ target }) => { if (target === chosen.order) sort(); else show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  element("all").addEventListener("click", clear);

  for (const cell of document.querySelectorAll("button.cell")) cell.addEventListener("click", () => {
    for (const name of ["slice", "tag", "words"]) chosen[name].value = "";
    for (const name of fields) {
      const wanted = cell.dataset[name] || "";
      chosen[name].value = wanted;
      if (chosen[name].value !== wanted) chosen[name].append(new Option(`${wanted} (0)`, wanted, true, true));
    }
    show();
    element("errors").scrollIntoView();
    errors.find((error) => !error.article.hidden)?.article.focus({ preventScroll: true });
  });

  // #e12 in the address opens that error.
  function openAddressed() {
    const error = element(location.hash.slice(1));
    if (!error?.matches(".error")) return;
    if (error.hidden) clear();
    error.querySelector("details").open = true;
    error.scrollIntoView();
    error.focus({ preventScroll: true });
  }
  addEventListener("hashchange", openAddressed);

  element("export").addEventListener("click", () => {
    // What a spreadsheet would take for a formula gets an apostrophe before it; numbers stay.
    const cell = (text) => `"${text.replace(/^(?![+-]?\d+(\.\d+)?$)[=+\-@＝＋－＠\t\r\n]/, "'$&").replaceAll('"', '""')}"`;
    const rows = all.filter((error) => tagsOf(error).length).map((error) =>
      [error.data.split, error.data.id, error.data.gold, error.data.predicted, tagsOf(error).join(", "), error.text]);
    const lines = [["split", "id", "gold", "predicted", "tags", "text"], ...rows].map((row) => row.map(cell).join(",") + "\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", ...lines], { type: "text/csv" }));
    link.download = "tags.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });

  // j and k go to the next and the last error, t into its box for tags; Escape leaves the box.
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const inside = document.activeElement?.closest(".error");
    if (event.key === "Escape" && inside) inside.focus();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "j" || event.key === "k") {
      const visible = errors.filter((error) => !error.article.hidden).map((error) => error.article);
      const at = visible.indexOf(inside) + (event.key === "j" ? 1 : -1);
      visible[Math.max(0, Math.min(visible.length - 1, at))]?.focus();
      event.preventDefault();
    } else if (event.key === "t" && inside) {
      inside.querySelector("input").focus();
      event.preventDefault();
    }
  });

  sort();
  countTags();
  show();
  openAddressed();
})();
// On paper all is open that can be opened, and shut again afterwards.
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const part of opened) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
})();
