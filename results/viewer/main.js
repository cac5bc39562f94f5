// The frame of the page, and what changes when the reader goes somewhere.

const main = el("main", { id: "main", tabindex: "-1" });
let shownAt = null;

function frame() {
  const theme = el("button", {
    type: "button", class: "plain", title: "Light or dark", onclick: switchTheme,
  }, "Theme");
  return [
    el("a", { class: "skip", href: "#main", onclick: skip }, "Skip to the episode"),
    el("header", { class: "top" },
      el("a", { class: "brand", href: "#" }, "armbench"),
      el("span", { class: "top-title" }, ...RUNS.slice(0, 3).flatMap((head, n) => [n ? " · " : "", foreign(head.model)])),
      el("button", { type: "button", class: "plain go-list", onclick: () => go({ e: "", view: "" }) }, "List"),
      el("button", { type: "button", class: "plain", onclick: () => go({ e: "", view: "run" }) },
        RUNS.length > 1 ? "Runs" : "Run"),
      theme,
      el("button", { type: "button", class: "plain", title: "Keys (?)", "aria-label": "Keys", onclick: showHelp }, "?")),
    el("div", { class: "body" }, el("aside", { class: "side" }, makeFilters(), makeList()), main),
  ];
}

function skip(event) {
  event.preventDefault();
  main.focus();
}

function switchTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

async function render(before) {
  const same = (names) => before !== null && names.every((name) => before[name] === state[name]);
  document.body.dataset.view = state.e ? "episode" : state.view === "run" ? "run" : "list";
  fillFilters();
  if (!same(["run", ...FILTERS])) await refreshList();
  else markList();
  if (!same(["run", "e", "compare", "with"]) || shownAt === null) await showMain(before);
  else retitle();
}

async function showMain(before) {
  const row = state.e ? rowByAnchor[state.run].get(state.e) : null;
  if (row) await showEpisode(main, row);
  else if (state.e) main.replaceChildren(el("p", { class: "card empty" }, "This page does not hold that episode: it was left out, or it is of another run."));
  else showOverview(main);
  if (shownAt !== state.e) scrollTo(0, 0);
  // A reader who came by the list or by a link goes on in the episode; one who walks stays put.
  if (state.e && before && !before.e && !list.box.contains(document.activeElement)) main.focus({ preventScroll: true });
  shownAt = state.e;
  retitle();
}

/** Place in the list can change while the episode stays. */
function retitle() {
  const row = rowByAnchor[state.run].get(state.e);
  const name = row ? ITEMS[row.item].id : RUNS.map((head) => head.model).join(", ");
  document.title = `${plainWords(name)} · armbench`;
}

/** What went wrong is said, not left to the console: an old browser cannot inflate, say. */
function confess(event) {
  main.replaceChildren(el("p", { class: "card empty" }, `This page could not be read: ${event.reason}`));
}

document.getElementById("app").replaceChildren(...frame());
onchange = render;
addEventListener("unhandledrejection", confess);
addEventListener("hashchange", arrive);
addEventListener("keydown", onKey);
state = readState(location.hash);
render(null).then(() => {
  document.documentElement.dataset.ready = "1";
});
