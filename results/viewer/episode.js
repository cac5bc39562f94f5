// One episode, or two of the same item side by side.

async function showEpisode(main, row) {
  const other = state.compare ? twin(row, state.with) : null;
  const asked = state;
  const views = await Promise.all([row, other].filter(Boolean).map(viewOf));
  if (asked !== state) return; // the reader has gone on while this was read
  const [view] = views;
  const comparing = state.compare;
  const shared = [questionCard(view, !comparing), candidatesCard(views)].filter(Boolean);
  const columns = views.map((each) => el("div", { class: "column" },
    ...(comparing ? [columnHead(each), lookedAt(each)] : []),
    section("What happened", [timeline(each)], "story"),
    costs(each),
    more(each)));
  if (comparing && !other) columns.push(el("div", { class: "column" }, el("p", { class: "card empty" }, absentWords(row))));
  main.replaceChildren(el("div", { class: `episode ${comparing ? "two" : ""}` },
    episodeHead(row, views), ...shared, el("div", { class: "columns" }, ...columns)));
}

async function viewOf(row) {
  return { ...(await episodeOf(row)), ties: makeTies() };
}

function absentWords(row) {
  const words = rowsOfItem[row.item].some((other) => other.run === state.with)
    ? "judged this item in other orders only"
    : "has no episode of this item, or it was left out of this page";
  return `${letter(state.with)} ${words}.`;
}

function episodeHead(row, views) {
  const [view] = views;
  const at = placeInList();
  const place = at >= 0 ? `${count(at + 1)} of ${count(list.rows.length)}` : "not in the list as filtered";
  return el("header", { class: "episode-head" },
    el("div", { class: "crumbs" },
      el("a", { href: link({ e: "", compare: false }), class: "back" }, "← Back"),
      el("span", { class: "quiet" }, place),
      stepButton(-1, "Previous (k)", "↑"), stepButton(1, "Next (j)", "↓"),
      RUNS.length > 1 ? compareControls() : null),
    el("div", { class: "title-line" },
      el("h2", {}, foreign(view.listed.id)),
      state.compare ? null : outcome(row.counted),
      row.flipped ? tag("⇄ orders disagree", "flipped") : null),
    el("p", { class: "facts" },
      foreign(view.listed.task), ...[...new Set([view.listed.category, view.listed.format])].filter(Boolean).map((words) => foreign(words)),
      RUNS.length > 1 && !state.compare ? el("span", {}, `run ${letter(row.run)}: `, foreign(RUNS[row.run].model)) : null),
    siblingTabs(row),
    verdictLine(views));
}

function stepButton(by, title, words) {
  return el("button", { type: "button", class: "plain square", title, "aria-label": title, onclick: () => walk(by) }, words);
}

function compareControls() {
  const toggle = el("button", {
    type: "button", class: "plain", "aria-pressed": String(state.compare), title: "Compare (c)",
    onclick: () => go({ compare: !state.compare }),
  }, "Compare");
  if (RUNS.length < 3) return toggle;
  const options = RUNS.map((head, run) => run).filter((run) => run !== state.run).map((run) =>
    el("option", { value: run, selected: run === state.with }, `with ${letter(run)} ${plainWords(RUNS[run].model)}`));
  const pick = el("select", {
    "aria-label": "Compare with", onchange: (event) => go({ with: Number(event.target.value), compare: true }),
  }, ...options);
  return el("span", { class: "pair-of" }, toggle, pick);
}

/** The item's other orders and repeats. */
function siblingTabs(row) {
  const all = siblings(row);
  if (all.length < 2) return null;
  const tabs = all.map((other) => el("a", {
    class: "sibling", href: link({ e: other.anchor }), "aria-current": other === row ? "true" : false,
  }, `order ${orderWords(other) || "1"}`, el("span", { class: `outcome ${tone(other.counted)} small` }, `${MARKS[other.counted] || "–"} ${other.counted}`)));
  return el("nav", { class: "siblings", "aria-label": "Orders and repeats of this item" }, ...tabs);
}

function columnHead(view) {
  const { run, counted } = view.row;
  return el("header", { class: "column-head" },
    el("b", { class: "run-letter" }, letter(run)), foreign(RUNS[run].model), outcome(counted));
}

/** In a comparison the pictures stand in each column, with that run's boxes and evidence seen. */
function lookedAt(view) {
  const pictures = view.item.question.filter((part) => part.sha).map((part) => questionPicture(view, part));
  const line = evidenceLine(view);
  return pictures.length || line ? section("Where it looked", [...pictures, line]) : null;
}

/** Tokens by turn and time by what it was spent on. */
function costs(view) {
  const { usage, events, timing } = view.episode;
  const turns = events.filter((event) => event.kind === "model");
  const written = turns.map((event, n) => ({ words: `turn ${n + 1}`, value: event.usage[1] }));
  return section("Tokens and time", [
    bar("Written", written, (value) => `${count(value)}`, `${count(usage[1])} tokens`),
    el("p", { class: "line quiet" }, `Read: ${count(usage[0])} tokens${usage[2] ? `, ${count(usage[2])} of them cached` : ""}, summed over the turns.`),
    bar("Time", spans(view), seconds, seconds(timing.seconds)),
  ]);
}

/** What the time went into: each wait where the log has it, else the sums. */
function spans(view) {
  const { timing, events } = view.episode;
  const rest = { words: "other", value: Math.max(0, timing.seconds - timing.model_seconds - timing.tool_seconds) };
  if (!events.some((event) => event.seconds)) {
    return [{ words: "judge", value: timing.model_seconds }, { words: "tools", value: timing.tool_seconds }, rest];
  }
  const met = { model: 0, tool: 0 };
  const waits = events.map((event) => {
    const name = { model: "turn", tool: "call" }[event.kind];
    if (name) met[event.kind] += 1;
    return { words: name ? `${name} ${met[event.kind]}` : event.kind, value: event.seconds || 0 };
  });
  return [...waits, rest];
}

function bar(title, parts, form, total) {
  const shown = parts.filter((part) => part.value > 0);
  const sum = shown.reduce((all, part) => all + part.value, 0);
  const strip = el("div", { class: "bar", "aria-hidden": "true" }, ...shown.map((part) => {
    const piece = el("span", { title: `${part.words}: ${form(part.value)}` });
    piece.style.flexGrow = String((part.value / sum) * 100); // under 1 in all would not fill the bar
    return piece;
  }));
  const words = shown.map((part) => el("span", {}, `${part.words} ${form(part.value)}`));
  return el("div", { class: "bar-row" }, label(title), strip, el("b", {}, total), el("div", { class: "bar-words quiet" }, ...words));
}

function more(view) {
  const { episode, item, listed, row } = view;
  const facts = {
    task: listed.task, format: listed.format, category: listed.category, cluster: item.cluster,
    "item hash": item.hash, order: row.order, repeat: row.repeat, seed: episode.seed,
    judge: episode.model, dialect: episode.dialect, scores: episode.judgement.scores, link: `#e=${row.anchor}`,
  };
  return section("More", [
    details("Prompt as sent", () => [promptNode(episode)]),
    details(`Tools offered (${episode.tools.length})`, () => [toolsNode(episode)]),
    details("Episode", () => [jsonBlock(facts)]),
    details("Item's data", () => [jsonBlock(item.meta)]),
  ]);
}

function promptNode(episode) {
  const box = el("div", { class: "prompt" });
  load("shared").then((shared) => box.replaceChildren(...episode.messages.map((message) => labelled(message.role,
    message.shared ? textBlock(shared[message.shared], 8000)
      : el("div", {}, ...message.parts.map((part) => (part.sha
        ? el("p", { class: "quiet" }, "[picture ", foreign(part.name), `, ${part.w}×${part.h}]`)
        : textBlock(part.text, 8000)))), "text"))));
  return box;
}

function toolsNode(episode) {
  const box = el("div", {});
  load("shared").then((shared) => box.replaceChildren(...episode.tools.map((key) =>
    details(plainWords(shared[key].name), () => [textBlock(shared[key].description), jsonBlock(shared[key].parameters)]))));
  return box;
}
