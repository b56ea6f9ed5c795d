// Sorting of tables, and the choice between light and dark.
(() => {
  "use strict";

  const root = document.documentElement;

  // A file that is opened from disk may have no storage: the choice then lasts as long as the page.
  const remembered = {
    get() { try { return localStorage.getItem("actbench-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("actbench-theme", theme); } catch { /* forgotten */ } },
  };

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function paint(theme) {
    if (theme) root.dataset.theme = theme;
    document.dispatchEvent(new Event("repaint"));
  }

  // "−0.021 [−0.031, −0.011]" is -0.021, "1,363,000" and "12.3 M" are what they say; words are words, a dash is nothing.
  const UNITS = { K: 1e3, M: 1e6, B: 1e9, s: 1, min: 60, h: 3600, d: 86400 };
  function value(text) {
    const match = /^(<|>)?\s*([+−-]?[\d,]*\.?\d+)(?:\s+(K|M|B|s|min|h|d)\b)?/.exec(text);
    if (!match) return text === "–" || text === "" ? null : text;
    const number = Number(match[2].replaceAll(",", "").replace("−", "-")) * (UNITS[match[3]] ?? 1);
    return match[1] === "<" ? number - 1e-9 : number;
  }

  // Nothing comes last either way; numbers come before words.
  function order(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -sign : sign;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  }

  // Ascending, descending, then as the report had it.
  function sort(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") ?? "none"];
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    if (next !== "none") head.setAttribute("aria-sort", next);
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.forEach((row, place) => { row.dataset.place ??= place; });
    const numeric = head.classList.contains("number");
    const keys = new Map(rows.map((row) => {
      const text = row.cells[column].textContent.trim();
      return [row, next === "none" ? Number(row.dataset.place) : numeric ? value(text) : text];
    }));
    const sign = next === "descending" ? -1 : 1;
    rows.sort((a, b) => order(keys.get(a), keys.get(b), sign) || a.dataset.place - b.dataset.place);
    body.append(...rows);
  }

  for (const table of document.querySelectorAll("table")) {
    for (const button of table.querySelectorAll("th button")) {
      button.addEventListener("click", () => sort(table, button.parentElement.cellIndex));
    }
  }

  paint(remembered.get());
  document.getElementById("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    remembered.set(theme);
    paint(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());

  // Paper is white, and no wider than it is.
  addEventListener("beforeprint", () => {
    root.dataset.printing = root.dataset.theme ?? "auto";
    paint("light");
  });
  addEventListener("afterprint", () => {
    const theme = root.dataset.printing;
    delete root.dataset.printing;
    if (theme === "auto") delete root.dataset.theme;
    paint(theme === "auto" ? null : theme);
  });
})();
