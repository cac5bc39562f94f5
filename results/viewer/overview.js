// The runs: figures, configuration, and what this page does not hold.

function showOverview(main) {
  main.replaceChildren(el("div", { class: "overview" }, leftOut(), ...RUNS.map((head, run) => runCard(head, run))));
}

function leftOut() {
  const { left, problems, pictures } = PAGE;
  const lines = [];
  if (left.items) {
    const why = left.why === "limit"
      ? `--limit ${left.limit} episodes`
      : `a size of ${left.maxMb} MB`;
    lines.push(el("p", {}, el("b", {}, `${count(left.items)} items were left out to keep to ${why}. `),
      "Kept first: items with an unscored episode, then items with a wrong one, then the rest; "
      + `within each group drawn at random with seed ${left.seed}. `
      + "An item is kept whole: all its orders, repeats and runs. The figures below are of the whole runs."));
  }
  const kinds = Object.values(problems);
  const missing = kinds.filter((kind) => kind === "missing").length;
  const broken = kinds.length - missing;
  if (missing) lines.push(el("p", {}, el("b", {}, missing === 1 ? "1 picture file is missing" : `${count(missing)} picture files are missing`), " from the run directory; a placeholder stands for each."));
  if (broken) lines.push(el("p", {}, el("b", {}, `${broken === 1 ? "1 picture" : `${count(broken)} pictures`} cannot be decoded`), "; a placeholder stands for each."));
  const size = `Pictures are thumbnails of at most ${(pictures.pixels / 1e6).toFixed(2)} megapixels and ${count(pictures.longSide)} pixels a side.`;
  return el("div", { class: `notice ${lines.length ? "warn" : ""}` }, ...lines, el("p", { class: "quiet" }, size));
}

function runCard(head, run) {
  const tasks = Object.values(head.report.tasks);
  const kept = head.shown === head.episodes
    ? `${count(head.episodes)} episodes, all on this page`
    : `${count(head.shown)} of ${count(head.episodes)} episodes on this page`;
  return el("section", { class: "card run-card" },
    el("header", { class: "run-head" },
      RUNS.length > 1 ? el("b", { class: "run-letter" }, letter(run)) : null,
      el("div", {}, el("h2", {}, foreign(head.judge)), el("p", { class: "quiet" }, foreign(head.name, { class: "code" })))),
    el("p", { class: "facts" },
      el("span", {}, kept),
      el("span", {}, `${count(head.tokens[1])} tokens written, ${count(head.tokens[0])} read`),
      el("span", {}, `${seconds(head.seconds)} of episodes`)),
    head.bad_rows ? badRows(head) : null,
    el("div", { class: "tasks" }, ...tasks.map((task) => taskNode(task, run))),
    tasks.length > 1 ? el("p", { class: "facts" },
      el("span", {}, label("Mean of tasks"), el("b", {}, share(head.report.macro))),
      el("span", {}, label("All episodes"), el("b", {}, share(head.report.micro)))) : null,
    el("p", { class: "quiet small-print" }, "Accuracy with 95% Wilson interval; episodes on one picture, document or item are a cluster."),
    details("By format and category", () => [breakdown(tasks)]),
    details("Configuration", () => [jsonBlock(head.config, 20000)]),
    details("Versions", () => [jsonBlock(head.versions)]));
}

function badRows(head) {
  return details(`${count(head.bad_rows)} rows of the data could not be judged`, () => [
    el("ul", {}, ...head.bad_messages.map((message) => el("li", {}, textBlock(message, 1000))))], { class: "bad-text" });
}

const POLICIES = { wrong: "unscored episodes count as wrong", exclude: "unscored episodes are left out" };

function taskNode(task, run) {
  const { overall, counts, position } = task;
  const pieces = Object.entries(counts).map(([name, number]) => el("a", {
    class: `outcome ${tone(name)}`, href: link({ run, e: "", view: "", show: name, task: task.task, compare: false }),
    title: MEANINGS[name],
  }, `${MARKS[name] || "–"} ${count(number)} ${name}`));
  const facts = [
    `${count(overall.items)} items`, `${count(overall.episodes)} episodes`,
    position.consistency === null ? null : `${share(position.consistency)} judged alike in every order`,
    position.first_rate === null ? null : `first place ${share(position.first_rate)} (even: ${share(position.first_expected)})`,
    task.calls === null ? null : `${(task.calls / Math.max(1, overall.episodes)).toFixed(2)} calls an episode`,
    POLICIES[task.policy],
  ].filter(Boolean).map((words) => el("span", {}, words));
  return el("div", { class: "task" },
    el("div", { class: "task-head" }, el("h3", {}, foreign(task.task)), interval(overall)),
    el("div", { class: "task-counts" }, ...pieces),
    el("p", { class: "facts" }, ...facts));
}

/** Accuracy on a line from 0 to 1: interval, point, chance. */
function interval(cell) {
  const known = cell.accuracy !== null && cell.low !== null;
  const words = known ? `${share(cell.accuracy)} [${share(cell.low)}, ${share(cell.high)}]` : "n/a";
  const line = el("span", { class: "interval", "aria-hidden": "true" });
  if (known) {
    const range = el("span", { class: "range" });
    range.style.left = `${cell.low * 100}%`;
    range.style.width = `${(cell.high - cell.low) * 100}%`;
    const point = el("span", { class: "point" });
    point.style.left = `${cell.accuracy * 100}%`;
    line.append(range, point);
  }
  if (cell.chance !== null) {
    const chance = el("span", { class: "chance", title: `chance ${share(cell.chance)}` });
    chance.style.left = `${cell.chance * 100}%`;
    line.append(chance);
  }
  return el("span", { class: "accuracy" }, el("b", {}, words), line,
    el("span", { class: "quiet" }, cell.chance === null ? "" : `chance ${share(cell.chance)}`));
}

function breakdown(tasks) {
  const rows = tasks.flatMap((task) => [...Object.entries(task.formats), ...Object.entries(task.categories)].map(([name, cell]) =>
    el("tr", {}, el("td", {}, foreign(task.task)), el("td", {}, foreign(name)),
      el("td", { class: "number" }, count(cell.episodes)), el("td", {}, interval(cell)))));
  const head = ["task", "format or category", "episodes", "accuracy [95%]"];
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((words) => el("th", { scope: "col" }, words)))),
    el("tbody", {}, ...rows)));
}
