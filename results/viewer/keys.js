// The keyboard.

const HELP = [
  ["j  →", "next episode of the list"],
  ["k  ←", "previous episode"],
  ["o", "other order or repeat of the item"],
  ["c", "compare with another run"],
  ["/", "search"],
  ["Esc", "back: dialog, comparison, episode, filters"],
  ["?", "this help"],
];

const KEYS = {
  j: () => walk(1),
  ArrowRight: () => walk(1),
  k: () => walk(-1),
  ArrowLeft: () => walk(-1),
  o: otherOrder,
  c: () => RUNS.length > 1 && state.e && go({ compare: !state.compare }),
  "/": () => {
    if (state.e || state.view === "run") go({ e: narrow() ? "" : state.e, view: "" });
    filters.search.focus();
    filters.search.select();
  },
  "?": showHelp,
  Escape: goBack,
};

function narrow() {
  return matchMedia("(max-width: 899px)").matches;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const inList = list.box.contains(event.target);
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (inList && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    event.preventDefault();
    walk(event.key === "ArrowDown" ? 1 : -1);
    return;
  }
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!act) return;
  event.preventDefault();
  act();
}

/** Open the episode `by` places further on in the list; from nowhere, the first or the last. */
function walk(by) {
  if (!list.rows.length) return;
  const at = placeInList();
  const start = by > 0 ? 0 : list.rows.length - 1;
  const next = at < 0 ? start : Math.min(list.rows.length - 1, Math.max(0, at + by));
  const inList = list.track.contains(document.activeElement);
  go({ e: list.rows[next].anchor, view: "" }, Boolean(state.e));
  if (inList) focusRow(next);
}

function otherOrder() {
  const row = rowByAnchor[state.run].get(state.e);
  if (!row) return;
  const all = siblings(row);
  go({ e: all[(all.indexOf(row) + 1) % all.length].anchor }, true);
}

function goBack() {
  if (state.compare) go({ compare: false });
  else if (state.e || state.view) go({ e: "", view: "" });
  else if (filtered()) clearFilters();
}

function showHelp() {
  const rows = HELP.map(([key, words]) => el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, words)));
  openDialog("Keys", [el("table", { class: "help" }, el("tbody", {}, ...rows))]);
}
