// The list: only the rows in view are in the document.

const ROW_HEIGHT = 64;
const MARGIN = 8;

const list = { rows: [], box: null, track: null, from: -1, to: -1 };

function makeList() {
  list.track = el("ol", { class: "rows" });
  list.box = el("nav", { class: "list", "aria-label": "Episodes", tabindex: "-1" }, list.track);
  list.box.addEventListener("scroll", () => requestAnimationFrame(drawList), { passive: true });
  new ResizeObserver(() => drawList()).observe(list.box);
  return list.box;
}

/** Show other rows. */
function fillList(rows) {
  list.rows = rows;
  list.from = list.to = -1;
  list.track.style.height = `${rows.length * ROW_HEIGHT}px`;
  drawList();
}

function drawList(force = false) {
  const top = list.box.scrollTop;
  const from = Math.max(0, Math.floor(top / ROW_HEIGHT) - MARGIN);
  const to = Math.min(
    list.rows.length,
    Math.ceil((top + list.box.clientHeight) / ROW_HEIGHT) + MARGIN,
  );
  if (force !== true && from === list.from && to === list.to) return;
  const focused = list.track.contains(document.activeElement)
    ? document.activeElement.dataset.at
    : null;
  list.from = from;
  list.to = to;
  list.track.replaceChildren(...list.rows.slice(from, to).map((row, n) => rowNode(row, from + n)));
  if (focused !== null) focusRow(Number(focused));
}

function rowNode(row, at) {
  const listed = ITEMS[row.item];
  const current = row.anchor === state.e;
  const anchor = el(
    "a",
    {
      class: "row",
      href: link({ e: row.anchor, view: "" }),
      "aria-current": current ? "true" : false,
      "data-at": at,
      title: [listed.task, listed.category, listed.format].filter(Boolean).join(" · "),
    },
    el("span", { class: "row-top" },
      outcome(row.counted),
      foreign(listed.id, { class: "row-id" }),
      el("span", { class: "row-said" }, ...saidNodes(row))),
    el("span", { class: "row-low" },
      el("span", { class: "row-order" }, orderWords(row)),
      foreign(listed.title, { class: "row-title" }),
      row.flipped ? tag("⇄ flipped", "flipped") : null,
      ...otherRuns(row)),
  );
  const node = el("li", { "aria-setsize": list.rows.length, "aria-posinset": at + 1 }, anchor);
  node.style.top = `${at * ROW_HEIGHT}px`;
  return node;
}

function saidNodes(row) {
  const said = row.said === "" ? "no verdict" : row.said;
  if (row.gold === "" || row.counted === "correct") return [said]; // its sign says the rest
  return [said, el("span", { class: "quiet" }, ` / gold ${row.gold}`)];
}

/** Order and repeat of an episode, as short as it goes. */
function orderWords(row) {
  const order = row.order.length > 1 ? row.order.join(",") : "";
  return [order, row.repeat ? `repeat ${row.repeat + 1}` : ""].filter(Boolean).join(" · ");
}

function otherRuns(row) {
  if (RUNS.length < 2) return [];
  return RUNS.map((_, run) => run)
    .filter((run) => run !== row.run && twin(row, run))
    .slice(0, 4)
    .map((run) => {
      const { counted } = twin(row, run);
      const words = `${letter(run)} ${MARKS[counted] || "–"}`;
      return el("span", { class: `outcome ${tone(counted)} small`, title: `${RUNS[run].model}: ${counted}` }, words);
    });
}

/** Bring the open episode into view and mark it. */
function markList() {
  const at = placeInList();
  if (at >= 0) {
    const top = at * ROW_HEIGHT;
    const { scrollTop, clientHeight } = list.box;
    if (top < scrollTop || top + ROW_HEIGHT > scrollTop + clientHeight) {
      list.box.scrollTop = Math.max(0, top - clientHeight / 3);
    }
  }
  drawList(true);
}

function placeInList() {
  return list.rows.findIndex((row) => row.anchor === state.e);
}

function focusRow(at) {
  const node = list.track.querySelector(`a[data-at="${at}"]`);
  if (node) node.focus({ preventScroll: true });
}
