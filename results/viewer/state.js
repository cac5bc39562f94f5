// Where the reader is, kept in the address so that it can be sent to someone and gone back to.

const EMPTY = {
  run: 0, e: "", compare: false, with: -1, view: "",
  show: "", flipped: false, differ: false, task: "", category: "", tool: "", q: "",
};
const FILTERS = ["show", "flipped", "differ", "task", "category", "tool", "q"];
let state = { ...EMPTY };
let onchange = () => {};

function readState(hash) {
  const given = new URLSearchParams(hash.slice(1));
  const read = { ...EMPTY };
  for (const name of ["e", "view", "show", "task", "category", "tool", "q"]) {
    read[name] = given.get(name) || "";
  }
  for (const name of ["compare", "flipped", "differ"]) read[name] = given.get(name) === "1";
  // A link that names no run means the first that has the episode.
  const first = Math.max(0, rowByAnchor.findIndex((rows) => rows.has(read.e)));
  const run = Number(given.get("run") || first);
  read.run = RUNS[run] ? run : 0;
  const other = Number(given.get("with") || (read.run === 0 ? 1 : 0));
  read.with = RUNS[other] && other !== read.run ? other : -1;
  if (read.with < 0) read.compare = false;
  return read;
}

function hashOf(wanted) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted)) {
    if (name === "with" || (value === EMPTY[name] && !(name === "run" && wanted.e))) continue;
    said.set(name, value === true ? "1" : value);
  }
  const usual = wanted.run === 0 ? 1 : 0;
  if (wanted.with >= 0 && wanted.with !== usual) said.set("with", wanted.with);
  return `#${said}`;
}

/** The address of this place with something changed. */
function link(change) {
  return hashOf({ ...state, ...change });
}

/** Go there; `replace` leaves no trace for the way back. */
function go(change, replace = false) {
  const hash = link(change);
  if (hash === hashOf(state)) return;
  try {
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
  } catch {
    // Browsers limit how often the address may change, by an error or in silence: who holds
    // a key down is shown the next episode all the same, and the address follows later.
  }
  enter(hash);
}

function arrive() {
  enter(location.hash);
}

function enter(hash) {
  const before = state;
  state = readState(hash);
  onchange(before);
}

function filtered() {
  return FILTERS.some((name) => state[name] !== EMPTY[name]);
}

const TESTS = {
  show: (row) => state.show === row.counted
    || (state.show === "unscored" && tone(row.counted) === "unscored"),
  flipped: (row) => row.flipped === true,
  differ: (row) => differs(row),
  task: (row) => ITEMS[row.item].task === state.task,
  category: (row) => ITEMS[row.item].category === state.category,
  tool: (row) => row.tools.includes(state.tool),
  q: (row) => (haystacks[row.index] || "").includes(state.q.toLowerCase()),
};

/** True if some other run counts the same episode differently. */
function differs(row) {
  return RUNS.some((_, run) => {
    const other = twin(row, run);
    return other && other.counted !== row.counted;
  });
}

/** The rows of the current run that pass the filters. */
function passing() {
  const tests = FILTERS.filter((name) => state[name] !== EMPTY[name]).map((name) => TESTS[name]);
  return rowsOfRun[state.run].filter((row) => tests.every((test) => test(row)));
}
