// Choosing what the list shows.

const filters = { box: null, search: null, status: null };

function makeFilters() {
  filters.search = el("input", {
    type: "search",
    id: "search",
    placeholder: "Search all text",
    "aria-label": "Search questions, answers and the judge's text",
    autocomplete: "off",
    spellcheck: "false",
    oninput: debounce(() => go({ q: filters.search.value.trim() }, true), 150),
  });
  filters.box = el("div", { class: "filter-box" });
  filters.status = el("div", { class: "status", role: "status" });
  return el("div", { class: "filters" },
    el("div", { class: "search" }, filters.search, el("kbd", { "aria-hidden": "true" }, "/")),
    filters.box,
    filters.status);
}

function debounce(act, wait) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

function fillFilters() {
  if (document.activeElement !== filters.search) filters.search.value = state.q;
  const focused = filters.box.contains(document.activeElement)
    ? document.activeElement.dataset.filter
    : null;
  filters.box.replaceChildren(...[runTabs(), outcomeChips(), selects()].filter(Boolean));
  if (focused) {
    const again = [...filters.box.querySelectorAll("[data-filter]")];
    const node = again.find((other) => other.dataset.filter === focused);
    if (node) node.focus();
  }
}

function runTabs() {
  if (RUNS.length < 2) return null;
  const tabs = RUNS.map((head, run) => el(
    "button",
    {
      type: "button",
      class: "run-tab",
      "aria-pressed": String(run === state.run),
      "data-filter": `run ${run}`,
      title: head.name,
      onclick: () => go({ run, with: run === state.with ? state.run : state.with, show: "" }),
    },
    el("b", {}, letter(run)),
    foreign(head.model),
  ));
  return el("div", { class: "run-tabs", role: "group", "aria-label": "Run" }, ...tabs);
}

function outcomeChips() {
  const rows = rowsOfRun[state.run];
  const counts = new Map();
  for (const row of rows) counts.set(row.counted, (counts.get(row.counted) || 0) + 1);
  const unscored = UNSCORED.filter((name) => counts.has(name));
  const total = unscored.reduce((sum, name) => sum + counts.get(name), 0);
  const chips = [chip("All", rows.length, "show", "", "")];
  for (const name of ["wrong", "correct", "unlabelled"]) {
    if (counts.has(name)) chips.push(chip(name, counts.get(name), "show", name, name));
  }
  if (unscored.length > 1) chips.push(chip("unscored", total, "show", "unscored", "unscored"));
  for (const name of unscored) chips.push(chip(name, counts.get(name), "show", name, "unscored"));
  const flipped = rows.filter((row) => row.flipped).length;
  if (flipped) chips.push(chip("⇄ flipped", flipped, "flipped", true, "flipped"));
  if (RUNS.length > 1) {
    chips.push(chip("runs differ", rows.filter(differs).length, "differ", true, "flipped"));
  }
  return el("div", { class: "chips", role: "group", "aria-label": "Outcome" }, ...chips);
}

function chip(words, number, name, value, kind) {
  const on = state[name] === value;
  const away = on ? EMPTY[name] : value;
  return el(
    "button",
    {
      type: "button",
      class: `chip ${kind}`,
      "aria-pressed": String(on),
      "data-filter": `${name} ${value}`,
      title: name === "flipped" ? "Items on which the orders disagree" : MEANINGS[value] || "",
      onclick: () => go({ [name]: away }, true),
    },
    words,
    el("span", { class: "chip-count" }, count(number)),
  );
}

function selects() {
  const rows = rowsOfRun[state.run];
  const wanted = [
    ["task", "Task", rows.map((row) => ITEMS[row.item].task)],
    ["category", "Category", rows.filter(inTask).map((row) => ITEMS[row.item].category)],
    ["tool", "Tool", rows.flatMap((row) => row.tools)],
  ];
  const made = wanted.map(([name, title, values]) => select(name, title, values)).filter(Boolean);
  return made.length ? el("div", { class: "selects" }, ...made) : null;
}

function inTask(row) {
  return !state.task || ITEMS[row.item].task === state.task;
}

function select(name, title, values) {
  const counts = new Map();
  for (const value of values) if (value) counts.set(value, (counts.get(value) || 0) + 1);
  if (counts.size < 2 && !state[name]) return null;
  if (state[name] && !counts.has(state[name])) counts.set(state[name], 0);
  const options = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([value, number]) =>
    el("option", { value, selected: value === state[name] }, `${plainWords(value)} (${number})`));
  const change = (event) => {
    const category = name === "task" ? "" : state.category;
    go({ category, [name]: event.target.value }, true);
  };
  return el("select", {
    "aria-label": title, "data-filter": name, onchange: change,
    class: state[name] ? "on" : "",
  }, el("option", { value: "" }, `Any ${title.toLowerCase()}`), ...options);
}

/** Foreign text where no element can stand. */
function plainWords(text) {
  const whole = String(text);
  const nodes = foreignNodes(whole.slice(0, cutAt(whole, 80)));
  return nodes.map((node) => node.textContent).join("") + (whole.length > 80 ? "…" : "");
}

/** Filter the list anew; free text first waits until every episode has been read. */
async function refreshList() {
  const asked = state;
  if (state.q) {
    await readAll((part) => {
      filters.status.textContent = `Reading episodes: ${Math.round(part * 100)}%`;
    });
    if (asked !== state && asked.q !== state.q) return;
  }
  const rows = passing();
  fillList(rows);
  const all = rowsOfRun[state.run].length;
  const words = rows.length === all
    ? `${count(all)} episodes`
    : `${count(rows.length)} of ${count(all)} episodes`;
  const clear = filtered()
    ? el("button", { type: "button", class: "plain", onclick: clearFilters }, "Clear filters")
    : null;
  filters.status.replaceChildren(...[words, clear].filter(Boolean));
  markList();
}

function clearFilters() {
  filters.search.value = "";
  go(Object.fromEntries(FILTERS.map((name) => [name, EMPTY[name]])), true);
}
