// The item: what was asked, the answers with the marks of gold and verdict, the evidence.

function questionCard(view, pictures) {
  const { item } = view;
  const parts = item.question.map((part) => (part.sha
    ? (pictures ? questionPicture(view, part) : null)
    : textBlock(part.text, 6000, { class: "question" })));
  const lists = [];
  if (item.documents.length) {
    lists.push(el("p", { class: "line" }, label("Documents"), ...item.documents.map((name) => foreign(name, { class: "code file" }))));
  }
  if (item.constraints.length) {
    lists.push(label("Instructions the answer has to keep"),
      el("ol", { class: "constraints" }, ...item.constraints.map((rule) => el("li", {}, textBlock(rule, 2000)))));
  }
  const asked = el("div", { class: "asked" }, ...parts.filter((node) => node && !node.matches(".picture")), ...lists);
  const shown = parts.filter((node) => node && node.matches(".picture"));
  return section("Question", [
    el("div", { class: shown.length ? "question-grid" : "" }, asked,
      shown.length ? el("div", { class: "pictures" }, ...shown) : null),
    pictures ? evidenceLine(view) : null,
  ]);
}

function section(title, content, kind = "") {
  return el("section", { class: `card ${kind}` }, el("h3", {}, title), ...content.filter(Boolean));
}

function label(words) {
  return el("span", { class: "label" }, words);
}

/** The question's picture with every box that was cut from it, crops of crops included. */
function questionPicture(view, part) {
  const { item, ties } = view;
  const first = item.question.find((other) => other.sha);
  const boxes = calls(view)
    .filter(({ event }) => event.sight && event.sight.box && event.sight.picture === part.name)
    .map(({ event, number }) => mark(view, number, event.sight.box, true));
  return picture(part, { boxes, region: part === first ? item.evidence.region : null, ties });
}

function mark(view, number, box, home) {
  return {
    call: number, box, home, words: String(number),
    title: `Call ${number}: go to what it showed`,
    jump: () => view.ties.jump(number, "card"),
  };
}

/** The calls of an episode with their numbers. */
function calls(view) {
  return view.episode.events.filter((event) => event.kind === "tool")
    .map((event, n) => ({ event, number: n + 1 }));
}

function callLinks(view, numbers) {
  return numbers.map((number) => el("button", {
    type: "button", class: "call-link", onclick: () => view.ties.jump(number, "card"),
  }, `call ${number}`));
}

/** Where the answer can be found, and whether the judge looked there. */
function evidenceLine(view) {
  const { evidence } = view.item;
  if (evidence.region) return regionLine(view);
  if (evidence.pages.length) return pagesLine(view, evidence.pages);
  if (evidence.checks.length) return checksList(view, evidence.checks);
  return null;
}

const MISSED = [" no crop was taken", " the one crop does not hold the region"];

function regionLine(view) {
  const crops = calls(view).filter(({ event }) => event.sight && event.sight.coverage !== undefined);
  const hits = crops.filter(({ event }) => event.sight.hit).map(({ number }) => number);
  const words = hits.length
    ? [tag("✓ hit", "good"), " the region was shown by ", ...callLinks(view, hits)]
    : [tag("✗ missed", "bad"), MISSED[crops.length] || ` none of ${crops.length} crops holds the region`];
  return el("p", { class: "evidence-line" }, label("Evidence"), el("span", { class: "key" }, "region on the picture"), ...words);
}

function pagesLine(view, pages) {
  const shownBy = (page) => calls(view)
    .filter(({ event }) => event.sight && (event.sight.pages || []).includes(page))
    .map(({ number }) => number);
  const chips = pages.map((page) => {
    const by = shownBy(page);
    return el("span", { class: "page-line" },
      pageChip(page, true, by.length > 0),
      ...(by.length ? [" shown by ", ...callLinks(view, by)] : [" never shown"]));
  });
  return el("p", { class: "evidence-line" }, label("Evidence"), ...chips);
}

/** A page number; evidence pages are named as such, and whether they were met. */
function pageChip(page, evidence, met = true) {
  const words = evidence ? `p. ${page} ${met ? "✓" : "✗"} evidence` : `p. ${page}`;
  return el("span", { class: `page-chip ${evidence ? (met ? "good" : "bad") : ""}` }, words);
}

function checksList(view, checks) {
  const rows = checks.map((check, n) => {
    const by = calls(view).filter(({ event }) => event.sight && event.sight.check === n);
    return el("li", {},
      foreign(check.tool, { class: "code" }), " ",
      foreign(JSON.stringify(check.arguments), { class: "code quiet" }), " ",
      ...(by.length ? [tag("✓ run", "good"), " ", ...callLinks(view, by.map(({ number }) => number))] : [tag("✗ not run", "bad")]));
  });
  return el("div", { class: "evidence-line" }, label("Evidence: the checks that settle it"), el("ol", { class: "checks" }, ...rows));
}

/** The answers side by side; with several views (runs), each one's choice is marked. */
function candidatesCard(views) {
  const [view] = views;
  if (!view.episode.candidates.length) return null;
  const cards = view.episode.candidates.map((candidate, n) => {
    const marks = [];
    if (candidate.gold) marks.push(tag("★ gold", "gold"));
    for (const other of views) {
      const theirs = other.episode.candidates[n];
      if (theirs && theirs.chosen) marks.push(choiceTag(other, views.length > 1));
    }
    const single = view.episode.candidates.length === 1;
    const place = single ? "text_0" : `no. ${candidate.number} in the data set · text_${n}`;
    const kind = `${candidate.gold ? "is-gold" : ""} ${marks.length > (candidate.gold ? 1 : 0) ? "is-chosen" : ""}`;
    return el("article", { class: `candidate ${kind}` },
      el("header", {}, single ? null : el("h4", {}, `Answer ${candidate.shown}`), marks.length ? el("span", { class: "marks" }, ...marks) : null, el("span", { class: "quiet" }, place)),
      textBlock(candidate.text, 4000));
  });
  const title = cards.length > 1 ? "Answers, in the order shown" : "Answer";
  const more = view.item.texts.map((text, n) => details(`Further text: text_${cards.length + n}`, () => [textBlock(text)]));
  return section(title, [
    el("div", { class: `candidates of-${Math.min(4, cards.length)}` }, ...cards),
    ...more,
  ]);
}

function choiceTag(view, named) {
  const kind = tone(view.row.counted);
  const sign = MARKS[view.row.counted] || "–";
  return tag(named ? `${sign} verdict of ${letter(view.row.run)}` : `${sign} verdict`, `verdict ${kind}`);
}

/** Verdict and gold in words. */
function verdictLine(views) {
  const [view] = views;
  const said = views.map((each) => el("span", { class: "said" },
    label(views.length > 1 ? `Verdict of ${letter(each.row.run)}` : "Verdict"),
    foreign(each.episode.said), views.length > 1 ? outcome(each.row.counted) : ""));
  const { scale } = view.item;
  return el("p", { class: "verdict-line" },
    ...said,
    el("span", { class: "said" }, label("Gold"), foreign(view.episode.gold)),
    scale ? el("span", { class: "said" }, label("Scale"), `${scale[0]} to ${scale[1]}`) : null);
}
