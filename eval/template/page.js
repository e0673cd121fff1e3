"use strict";
// Filters, sorting, and the reader's own tags, which stay in this browser until they are exported.
(() => {
  const errors = [...document.querySelectorAll(".error")];
  const form = document.querySelector(".filters");
  if (!form) return;
  const list = document.querySelector("#list"), count = document.querySelector("#count");
  const key = "tezukuri:" + document.body.dataset.run;
  let tags = {};
  try { tags = JSON.parse(localStorage.getItem(key)) || {}; } catch { /* no storage: tags live as long as the page */ }

  const tagsOf = (error) => (tags[error.id] || "").split(/[,、]/).map((tag) => tag.trim()).filter(Boolean);

  function show() {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0;
    for (const error of errors) {
      const data = error.dataset;
      const fits = ["split", "gold", "predicted"].every((name) => !wanted[name] || data[name] === wanted[name])
        && (!wanted.slice || data.slices.split("\t").includes(wanted.slice))
        && (!wanted.tag || tagsOf(error).includes(wanted.tag))
        && (!wanted.words || error.querySelector(".text").textContent.includes(wanted.words));
      error.hidden = !fits;
      shown += fits;
    }
    count.textContent = count.dataset.text.replace("{shown}", shown).replace("{all}", errors.length);
  }

  function sort() {
    const [name, direction] = form.elements.order.value.split(" ");
    const value = (error) => name === "split" ? ["test", "dev", "train"].indexOf(error.dataset.split)
      : Number(error.dataset[name]);
    errors.sort((a, b) => (value(a) - value(b)) * (direction === "down" ? -1 : 1));
    list.append(...errors);
  }

  function countTags() {
    const counts = new Map();
    for (const error of errors) for (const tag of tagsOf(error)) counts.set(tag, (counts.get(tag) || 0) + 1);
    const ordered = [...counts].sort((a, b) => b[1] - a[1]);
    const chosen = form.elements.tag.value;
    form.elements.tag.replaceChildren(form.elements.tag.options[0], ...ordered.map(([tag, n]) => new Option(`${tag} (${n})`, tag)));
    form.elements.tag.value = counts.has(chosen) ? chosen : "";
    document.querySelector("#known-tags").replaceChildren(...ordered.map(([tag]) => new Option(tag)));
    document.querySelector("#tag-counts").textContent = ordered.map(([tag, n]) => `${tag} ${n}`).join(" · ");
  }

  for (const error of errors) {
    const box = error.querySelector("input");
    box.value = tags[error.id] || "";
    box.addEventListener("input", () => {
      if (box.value.trim()) tags[error.id] = box.value; else delete tags[error.id];
      try { localStorage.setItem(key, JSON.stringify(tags)); } catch { /* see above */ }
      countTags();
    });
  }
  form.addEventListener("input", (event) => { if (event.target.name === "order") sort(); else show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { sort(); show(); }));

  for (const cell of document.querySelectorAll("button.cell")) cell.addEventListener("click", () => {
    for (const name of ["split", "gold", "predicted"]) form.elements[name].value = cell.dataset[name];
    show();
    document.querySelector("#errors").scrollIntoView();
    list.querySelector(".error:not([hidden])")?.focus({ preventScroll: true });
  });

  document.querySelector("#export").addEventListener("click", () => {
    const cell = (text) => `"${text.replaceAll('"', '""')}"`;
    const rows = [["split", "id", "gold", "predicted", "tags", "text"]];
    for (const error of errors) if (tagsOf(error).length) rows.push([error.dataset.split, error.dataset.id,
      error.dataset.gold, error.dataset.predicted, tagsOf(error).join(";"), error.querySelector(".text").textContent.trim()]);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n"],
      { type: "text/csv" }));
    link.download = "tags.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  // j and k go to the next and the last error, t into its box for tags; Escape leaves the box.
  document.addEventListener("keydown", (event) => {
    const inside = document.activeElement?.closest(".error");
    if (event.key === "Escape" && inside) { inside.focus(); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
    const visible = errors.filter((error) => !error.hidden);
    if (event.key === "j" || event.key === "k") {
      const at = visible.indexOf(inside) + (event.key === "j" ? 1 : -1);
      visible[Math.max(0, Math.min(visible.length - 1, at))]?.focus();
      event.preventDefault();
    } else if (event.key === "t" && inside) {
      inside.querySelector("input").focus();
      event.preventDefault();
    }
  });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  sort(); countTags(); show();
})();
